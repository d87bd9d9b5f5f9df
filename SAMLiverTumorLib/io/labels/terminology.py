"""What a segment stands for, in the codes that Slicer and DICOM share (SNOMED CT)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

GENERAL_ANATOMY = "Segmentation category and type - 3D Slicer General Anatomy list"
MASTER_LIST = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Code:
    """A concept of a coding scheme.

    :param value: such as "10200004".
    :param scheme: "SCT" for SNOMED CT, "SRT" for its codes in old files, "DCM" for DICOM's own.
    :param meaning: for readers.
    """

    value: str
    scheme: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class Terminology:
    """What a segment stands for.

    :param category: such as "Morphologically Altered Structure".
    :param type: such as "Mass".
    :param region: where in the body; None where the type says that.
    :param type_modifier: such as "Left".
    :param region_modifier: the same of the region.
    :param list_name: Slicer's list that has these codes; no part of what they mean.

    >>> str(LIVER).split("~")[2]
    'SCT^10200004^Liver'
    >>> Terminology.parse(str(LIVER_TUMOR)) == LIVER_TUMOR
    True
    """

    category: Code
    type: Code
    region: Code | None = None
    type_modifier: Code | None = None
    region_modifier: Code | None = None
    list_name: str = field(default=GENERAL_ANATOMY, compare=False)

    def __str__(self) -> str:
        """The text of Slicer's segment tag "TerminologyEntry"."""
        codes = (self.category, self.type, self.type_modifier), (self.region, self.region_modifier)
        first, second = ("~".join(str(code or "^^") for code in group) for group in codes)
        return f"{self.list_name}~{first}~{_REGIONS}~{second}"

    @classmethod
    def parse(cls, text: str) -> Terminology | None:
        """The reverse; None for a text that names no category and type."""
        parts = [*text.split("~"), *[""] * 7][:7]
        category, kind, modifier, region, region_modifier = (_code(parts[n]) for n in (1, 2, 3, 5, 6))
        if category is None or kind is None:
            return None
        return cls(category, kind, region, modifier, region_modifier, parts[0] or GENERAL_ANATOMY)


def snomed(value: str, meaning: str) -> Code:
    """A concept of SNOMED CT."""
    return Code(value, "SCT", meaning)


ANATOMY_CODE = snomed("123037004", "Anatomical Structure")
ALTERED_CODE = snomed("49755003", "Morphologically Altered Structure")
TISSUE_CODE = snomed("85756007", "Tissue")
LIVER_CODE = snomed("10200004", "Liver")
MASS_CODE = snomed("4147007", "Mass")

LIVER = Terminology(ANATOMY_CODE, LIVER_CODE)
# A mass in the liver. Whether it is a neoplasm, and which, no segmentation can say.
LIVER_TUMOR = Terminology(ALTERED_CODE, MASS_CODE, LIVER_CODE)
TISSUE = Terminology(TISSUE_CODE, TISSUE_CODE)

_TUMOR_WORDS = r"tumou?rs?|lesions?|mass(es)?|metastas[ei]s|hcc|cancer|carcinomas?|neoplasms?"
_FOREIGN_ORGANS = r"kidney|renal|adrenal|surrenal\w*|lung|pancrea\w*|spleen|colon\w*|bowel|bone|brain"


def terminology_of_name(name: str) -> Terminology:
    """What a segment without codes stands for, by its name: liver, a mass in it, or some tissue.

    >>> terminology_of_name("Liver tumor 2") is LIVER_TUMOR, terminology_of_name("liver") is LIVER
    (True, True)
    >>> terminology_of_name("Adrenal tumor").type.meaning
    'Tissue'
    """
    words = re.sub(r"[_\-./]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower()
    if re.search(rf"\b({_FOREIGN_ORGANS})\b", words):
        return TISSUE
    if re.search(rf"\b(liver)?({_TUMOR_WORDS})(\b|\d)", words):
        return LIVER_TUMOR
    return LIVER if re.fullmatch(r"(the )?(whole )?liver( mask| segmentation| \d+)?", words.strip()) else TISSUE


def _code(text: str) -> Code | None:
    scheme, value, meaning = [*text.split("^", 2), "", ""][:3]
    return Code(value, scheme, meaning) if scheme and value else None
