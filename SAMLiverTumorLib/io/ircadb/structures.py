"""What the folders of 3D-IRCADb's MASKS_DICOM hold: names as its authors spelled them, colors, and coded terms.

Spellings differ from patient to patient (livertumor01, livertumors; liverkyst, livercyst; leftsurretumor). Colors and
codes are those of 3D Slicer's terminologies "General Anatomy" and "DICOM master list", where these have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from SAMLiverTumorLib.io.labels import terminology
from SAMLiverTumorLib.io.labels.terminology import (
    ALTERED_CODE,
    ANATOMY_CODE,
    GENERAL_ANATOMY,
    LIVER_CODE,
    MASS_CODE,
    MASTER_LIST,
    TISSUE_CODE,
    Terminology,
    snomed,
)

LICENSE = (
    "3D-IRCADb (IRCAD, Strasbourg) is licensed CC BY-NC-ND 3.0: use it for non-commercial research, with attribution, "
    "and pass on neither it nor what was made of it."
)

LIVER_TUMOR = "liver tumor"
LIVER = "liver"

PATIENTS_WITHOUT_LIVER_TUMOR = (5, 7, 11, 14, 20)
"""Of patients 1 to 20, by the table on IRCAD's page; patient 7's "tumor" is in the adrenal gland."""

_OBJECT = snomed("260787004", "Physical object")
_CYST = snomed("367643001", "Cyst")
_ADRENAL = snomed("23451007", "Adrenal gland")
_SIDES = {
    "left": snomed("7771000", "Left"),
    "right": snomed("24028007", "Right"),
    "both": snomed("51440002", "Right and left"),
}


@dataclass(frozen=True)
class Structure:
    """A structure of a patient.

    :param folder: its folder in MASKS_DICOM.
    :param name: of its segment.
    :param color: RGB, 0 to 1; None for tumors, which take the next color of the program's own palette.
    :param is_liver_tumor: whether it is a tumor in the liver; cysts and tumors of the adrenal glands are not.
    """

    folder: str
    name: str
    term: Terminology
    color: tuple[float, float, float] | None
    is_liver_tumor: bool = False


def structure_of(folder: str) -> Structure:
    """What a folder of MASKS_DICOM holds; unknown ones keep their name and count as tissue.

    >>> structure_of("livertumor01").is_liver_tumor, structure_of("leftsurretumor").is_liver_tumor
    (True, False)
    >>> structure_of("portalvein1").name
    'portal vein 1'
    """
    key = re.sub(r"[^a-z0-9]", "", folder.lower())
    base = key.rstrip("0123456789")
    number = key[len(base) :]
    if re.fullmatch(r"livertum(ou?r|eur)s?", base):
        return Structure(folder, folder, terminology.LIVER_TUMOR, None, True)
    side = next((side for side in ("left", "right") if base.startswith(side)), "")
    paired = _PAIRED.get(base.removeprefix(side).removesuffix("s"))
    if paired:
        name, kind, color, where = paired
        modifier = _SIDES[side or "both"]
        if kind == MASS_CODE:
            term = Terminology(ALTERED_CODE, MASS_CODE, where, region_modifier=modifier)
        else:
            list_name = GENERAL_ANATOMY if side else MASTER_LIST
            term = Terminology(ANATOMY_CODE, kind, type_modifier=modifier, list_name=list_name)
        name = f"{side} {name}" if side else f"{name}s"
    elif base in _SINGLE:
        name, term, color = _SINGLE[base]
    else:
        name, term, color, number = folder, terminology.TISSUE, (128, 174, 128), ""
    red, green, blue = (round(part / 255, 4) for part in color)
    return Structure(folder, f"{name} {number}".strip(), term, (red, green, blue))


_PAIRED = {
    "kidney": ("kidney", snomed("64033007", "Kidney"), (185, 102, 83), None),
    "lung": ("lung", snomed("39607008", "Lung"), (197, 165, 145), None),
    "surrenalgland": ("adrenal gland", _ADRENAL, (249, 186, 150), None),
    "surretumor": ("adrenal tumor", MASS_CODE, (144, 238, 144), _ADRENAL),
    "surrenaltumor": ("adrenal tumor", MASS_CODE, (144, 238, 144), _ADRENAL),
    "ovary": ("ovary", snomed("15497006", "Ovary"), (213, 141, 113), None),
}


def _organ(code: str, meaning: str, list_name: str = GENERAL_ANATOMY) -> Terminology:
    return Terminology(ANATOMY_CODE, snomed(code, meaning), list_name=list_name)


_CYST_OF_LIVER = ("liver cyst", Terminology(ALTERED_CODE, _CYST, LIVER_CODE), (205, 205, 100))
_SMALL_INTESTINE = ("small intestine", _organ("30315005", "Small Intestine"), (205, 167, 142))
_SINGLE = {
    "liver": (LIVER, terminology.LIVER, (221, 130, 101)),
    "livercyst": _CYST_OF_LIVER,
    "livercysts": _CYST_OF_LIVER,
    "liverkyst": _CYST_OF_LIVER,
    "liverkyste": _CYST_OF_LIVER,
    "portalvein": ("portal vein", _organ("32764006", "Portal vein", MASTER_LIST), (85, 110, 210)),
    "venacava": ("vena cava", _organ("64131007", "Inferior vena cava", MASTER_LIST), (0, 151, 206)),
    "venoussystem": ("venous system", Terminology(TISSUE_CODE, snomed("29092000", "Vein")), (0, 151, 206)),
    "artery": ("artery", Terminology(TISSUE_CODE, snomed("51114001", "Artery")), (216, 101, 79)),
    "aorta": ("aorta", _organ("15825003", "Aorta"), (224, 97, 76)),
    "biliarysystem": ("biliary system", _organ("28273000", "Bile duct", MASTER_LIST), (0, 145, 30)),
    "gallbladder": ("gallbladder", _organ("28231008", "Gallbladder"), (139, 150, 98)),
    "stones": ("stones", Terminology(ALTERED_CODE, snomed("56381008", "Calculus")), (220, 220, 220)),
    "spleen": ("spleen", _organ("78961009", "Spleen"), (157, 108, 162)),
    "pancreas": ("pancreas", _organ("15776009", "Pancreas"), (249, 180, 111)),
    "stomach": ("stomach", _organ("69695003", "Stomach"), (216, 132, 105)),
    "stomachoesophage": ("stomach and esophagus", _organ("69695003", "Stomach"), (216, 132, 105)),
    "duodenum": ("duodenum", _organ("38848004", "Duodenum"), (255, 253, 229)),
    "smallintestin": _SMALL_INTESTINE,
    "smallintestine": _SMALL_INTESTINE,
    "colon": ("colon", _organ("71854001", "Colon"), (204, 168, 143)),
    "sigmoid": ("sigmoid colon", _organ("60184004", "Sigmoid colon", MASTER_LIST), (204, 168, 143)),
    "bladder": ("bladder", _organ("89837001", "Bladder"), (222, 154, 132)),
    "uterus": ("uterus", _organ("35039007", "Uterus"), (255, 181, 158)),
    "heart": ("heart", _organ("80891009", "Heart"), (206, 110, 84)),
    "bone": ("bone", Terminology(TISSUE_CODE, snomed("272673000", "Bone")), (241, 214, 145)),
    "skin": ("skin", Terminology(TISSUE_CODE, snomed("39937001", "Skin")), (177, 122, 101)),
    "lymphnodes": ("lymph nodes", Terminology(TISSUE_CODE, snomed("59441001", "Lymph node")), (68, 172, 100)),
    "metal": ("metal", Terminology(_OBJECT, snomed("19227008", "Foreign body")), (220, 245, 20)),
    # where a metastasis was cut out: a scar, no tumor
    "metastasectomie": ("metastasectomy", terminology.TISSUE, (128, 174, 128)),
    "hyperplasie": ("hyperplasia", Terminology(ALTERED_CODE, MASS_CODE), (144, 238, 144)),
    "tumor": ("tumor outside the liver", Terminology(ALTERED_CODE, MASS_CODE), (144, 238, 144)),
}
