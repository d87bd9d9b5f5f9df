"""Which patient a file's name says, and whether it says image or label."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from SAMLiverTumorLib.datasets.folder_content import stem

LABEL_WORDS = {
    *("label", "labels", "labelmap", "seg", "segs", "segmentation", "segmentations", "mask", "masks", "gt"),
    *("groundtruth", "annotation", "annotations", "maske", "segmentierung", "masque", "mascara"),
    *("标签", "标注", "分割", "掩膜", "掩码", "金标准", "標籤", "標註", "ラベル", "マスク"),
}
IMAGE_WORDS = {
    *("dicom", "ct", "ct8", "img", "imgs", "image", "images", "volume", "volumes", "scan", "scans", "0000"),
    *("影像", "图像", "原图", "圖像", "画像"),
}
_BETWEEN = re.compile("([_\\-. ()\\[\\]\uff08\uff09\u3010\u3011]+)")


def patient_of(path: str | Path) -> str:
    """The patient that a file's name says: without ending, and without the words for image and label.

    Where nothing else is in the name, as in patient7/ct.nii.gz, the folder names the patient.

    >>> patient_of("liver_7_ct8.nii.gz"), patient_of("liver_7_label.nii.gz"), patient_of("segmentation-12.nii")
    ('liver_7', 'liver_7', '12')
    """
    kept = [word for word in _words(Path(path).name) if word.lower() not in LABEL_WORDS | IMAGE_WORDS]
    # macOS writes letters with accents in two parts
    return unicodedata.normalize("NFC", "_".join(kept) or Path(os.path.abspath(path)).parent.name)  # noqa: PTH100 -- links stay


def is_label_name(name: str) -> bool:
    """Whether a file or folder is named as labels are."""
    return name.lower().endswith(".seg.nrrd") or any(word.lower() in LABEL_WORDS for word in _words(name))


def is_only_image_words(path: Path) -> bool:
    """Whether a file's name says image and nothing else, as ct.nii.gz does in a patient's folder."""
    words = [word.lower() for word in _words(path.name)]
    return bool(words) and all(word in IMAGE_WORDS for word in words)


def _words(name: str) -> list[str]:
    return [word for word in _BETWEEN.split(unicodedata.normalize("NFC", stem(name)))[::2] if word]
