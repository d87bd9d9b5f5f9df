"""What the folders of 3D-IRCADb's MASKS_DICOM hold: names as its authors spelled them, colors, and coded terms.

Spellings differ from patient to patient (livertumor01, livertumors; liverkyst, livercyst; leftsurretumor). Colors and
codes are those of 3D Slicer's terminologies "General Anatomy" and "DICOM master list", where these have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LICENSE = (
    "3D-IRCADb (IRCAD, Strasbourg) is licensed CC BY-NC-ND 3.0: use it for non-commercial research, with attribution, "
    "and pass on neither it nor what was made of it."
)

LIVER_TUMOR = "liver tumor"
LIVER = "liver"

PATIENTS_WITHOUT_LIVER_TUMOR = (5, 7, 11, 14, 20)
"""Of patients 1 to 20, by the table on IRCAD's page; patient 7's "tumor" is in the adrenal gland."""

_GENERAL = "Segmentation category and type - 3D Slicer General Anatomy list"
_MASTER = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"
_ANATOMY = ("123037004", "Anatomical Structure")
_TISSUE = ("85756007", "Tissue")
_ALTERED = ("49755003", "Morphologically Altered Structure")
_OBJECT = ("260787004", "Physical object")
_MASS, _CYST = ("4147007", "Mass"), ("367643001", "Cyst")
_LIVER, _ADRENAL = ("10200004", "Liver"), ("23451007", "Adrenal gland")
_SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right"), "both": ("51440002", "Right and left")}

Code = tuple[str, str]
"""SNOMED CT (code, meaning)."""


@dataclass(frozen=True)
class Term:
    """What a segment is, coded as in DICOM and in Slicer.

    :param list_name: Slicer's terminology that has it.
    """

    category: Code
    type: Code
    modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None
    list_name: str = _GENERAL

    @property
    def entry(self) -> str:
        """As Slicer writes it into a segment's tag."""
        codes = [self.category, self.type, self.modifier], [self.region, self.region_modifier]
        first, second = ("~".join(_coded(code) for code in part) for part in codes)
        return "~".join((self.list_name, first, _REGIONS, second))


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
    term: Term
    color: tuple[float, float, float] | None
    is_liver_tumor: bool = False


LIVER_TUMOR_TERM = Term(_ALTERED, _MASS, None, _LIVER)


def structure_of(folder: str) -> Structure:
    """What a folder of MASKS_DICOM holds; unknown ones keep their name and count as tissue.

    >>> structure_of("livertumor01").is_liver_tumor, structure_of("leftsurretumor").is_liver_tumor
    (True, False)
    >>> structure_of("portalvein1").name
    'portal vein 1'
    """
    key = re.sub(r"[^a-z0-9]", "", folder.lower())
    base, number = re.fullmatch(r"(.*?)(\d*)", key).groups()
    if re.fullmatch(r"livertum(ou?r|eur)s?", base):
        return Structure(folder, folder, LIVER_TUMOR_TERM, None, True)
    side = next((side for side in ("left", "right") if base.startswith(side)), "")
    paired = _PAIRED.get(base.removeprefix(side).removesuffix("s"))
    if paired:
        name, kind, color, where = paired
        modifier = _SIDES[side or "both"]
        if kind == _MASS:
            term = Term(_ALTERED, _MASS, None, where, modifier)
        else:
            term = Term(_ANATOMY, kind, modifier, list_name=_GENERAL if side else _MASTER)
        name = f"{side} {name}" if side else f"{name}s"
    elif base in _SINGLE:
        name, term, color = _SINGLE[base]
    else:
        name, term, color, number = folder, Term(_TISSUE, _TISSUE), (128, 174, 128), ""
    return Structure(folder, f"{name} {number}".strip(), term, tuple(round(part / 255, 4) for part in color))


def _coded(code: Code | None) -> str:
    return f"SCT^{code[0]}^{code[1]}" if code else "^^"


_PAIRED = {
    "kidney": ("kidney", ("64033007", "Kidney"), (185, 102, 83), None),
    "lung": ("lung", ("39607008", "Lung"), (197, 165, 145), None),
    "surrenalgland": ("adrenal gland", _ADRENAL, (249, 186, 150), None),
    "surretumor": ("adrenal tumor", _MASS, (144, 238, 144), _ADRENAL),
    "surrenaltumor": ("adrenal tumor", _MASS, (144, 238, 144), _ADRENAL),
    "ovary": ("ovary", ("15497006", "Ovary"), (213, 141, 113), None),
}


def _organ(code: str, meaning: str) -> Term:
    return Term(_ANATOMY, (code, meaning))


_CYST_OF_LIVER = ("liver cyst", Term(_ALTERED, _CYST, None, _LIVER), (205, 205, 100))
_SMALL_INTESTINE = ("small intestine", _organ("30315005", "Small Intestine"), (205, 167, 142))
_SINGLE = {
    "liver": (LIVER, _organ(*_LIVER), (221, 130, 101)),
    "livercyst": _CYST_OF_LIVER,
    "livercysts": _CYST_OF_LIVER,
    "liverkyst": _CYST_OF_LIVER,
    "liverkyste": _CYST_OF_LIVER,
    "portalvein": (
        "portal vein",
        Term(_ANATOMY, ("32764006", "Portal vein"), list_name=_MASTER),
        (85, 110, 210),
    ),
    "venacava": (
        "vena cava",
        Term(_ANATOMY, ("64131007", "Inferior vena cava"), list_name=_MASTER),
        (0, 151, 206),
    ),
    "venoussystem": ("venous system", Term(_TISSUE, ("29092000", "Vein")), (0, 151, 206)),
    "artery": ("artery", Term(_TISSUE, ("51114001", "Artery")), (216, 101, 79)),
    "aorta": ("aorta", _organ("15825003", "Aorta"), (224, 97, 76)),
    "biliarysystem": (
        "biliary system",
        Term(_ANATOMY, ("28273000", "Bile duct"), list_name=_MASTER),
        (0, 145, 30),
    ),
    "gallbladder": ("gallbladder", _organ("28231008", "Gallbladder"), (139, 150, 98)),
    "stones": ("stones", Term(_ALTERED, ("56381008", "Calculus")), (220, 220, 220)),
    "spleen": ("spleen", _organ("78961009", "Spleen"), (157, 108, 162)),
    "pancreas": ("pancreas", _organ("15776009", "Pancreas"), (249, 180, 111)),
    "stomach": ("stomach", _organ("69695003", "Stomach"), (216, 132, 105)),
    "stomachoesophage": ("stomach and esophagus", _organ("69695003", "Stomach"), (216, 132, 105)),
    "duodenum": ("duodenum", _organ("38848004", "Duodenum"), (255, 253, 229)),
    "smallintestin": _SMALL_INTESTINE,
    "smallintestine": _SMALL_INTESTINE,
    "colon": ("colon", _organ("71854001", "Colon"), (204, 168, 143)),
    "sigmoid": ("sigmoid colon", Term(_ANATOMY, ("60184004", "Sigmoid colon"), list_name=_MASTER), (204, 168, 143)),
    "bladder": ("bladder", _organ("89837001", "Bladder"), (222, 154, 132)),
    "uterus": ("uterus", _organ("35039007", "Uterus"), (255, 181, 158)),
    "heart": ("heart", _organ("80891009", "Heart"), (206, 110, 84)),
    "bone": ("bone", Term(_TISSUE, ("272673000", "Bone")), (241, 214, 145)),
    "skin": ("skin", Term(_TISSUE, ("39937001", "Skin")), (177, 122, 101)),
    "lymphnodes": ("lymph nodes", Term(_TISSUE, ("59441001", "Lymph node")), (68, 172, 100)),
    "metal": ("metal", Term(_OBJECT, ("19227008", "Foreign body")), (220, 245, 20)),
    # where a metastasis was cut out: a scar, no tumor
    "metastasectomie": ("metastasectomy", Term(_TISSUE, _TISSUE), (128, 174, 128)),
    "hyperplasie": ("hyperplasia", Term(_ALTERED, _MASS), (144, 238, 144)),
    "tumor": ("tumor outside the liver", Term(_ALTERED, _MASS), (144, 238, 144)),
}
