"""A folder with one mask file an organ, as TotalSegmentator writes it: liver.nii.gz, spleen.nii.gz and so on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.safe_archive import is_junk
from SAMLiverTumorLib.listed import listed

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
_LIVER = "liver"
_TUMOR = re.compile(r"(liver|hepatic)[_\- ]?(tumou?rs?|lesions?|cancer|metastas[ei]s)|tumou?rs?|lesions?")
# the beginnings of TotalSegmentator's other names
_ORGAN = re.compile(
    r"(spleen|kidney|gallbladder|stomach|pancreas|adrenal|lung|esophagus|trachea|thyroid|small_bowel|duodenum|colon|"
    r"urinary|prostate|vertebra|rib|heart|aorta|inferior_vena|superior_vena|portal|pulmonary|iliac|humerus|scapula|"
    r"clavicula|femur|hip|sacrum|gluteus|autochthon|iliopsoas|brain|skull|body|costal|sternum|brachiocephalic|"
    r"subclavian|common_carotid|atrial|spinal|liver|hepatic|tumou?r|lesion)"
)


def is_organ_name(name: str) -> bool:
    """Whether a file is named as the mask of an organ."""
    return _ORGAN.match(name.lower()) is not None


def organ_files(folder: Path) -> dict[str, Path]:
    """The liver's mask in such a folder and those of its tumors, by name; empty where it is no such folder."""
    try:
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and not is_junk(path.name)]
    except OSError:
        return {}
    found: dict[str, Path] = {}
    for path in files:
        ending = next((each for each in _ENDINGS if path.name.lower().endswith(each)), None)
        name = path.name[: -len(ending)].lower() if ending else ""
        if name == _LIVER or _TUMOR.fullmatch(name):
            found.setdefault(name, path)
    return found if _LIVER in found else {}


def read_organ_folder(folder: Path, read: Callable[[Path], LabelFile]) -> LabelFile:
    """Liver and tumors as segments named "liver" and "liver tumor"; the other organs are left out.

    :param read: reads one of the files.
    :raises InputError: one cannot be read, or they lie on different voxels.
    """
    layers: list[np.ndarray] = []
    first: LabelFile | None = None
    notes: dict[str, None] = {}
    tumor: np.ndarray | None = None
    files = organ_files(folder)
    for name, path in files.items():
        labels = read(path)
        if first is None:
            first = labels
        elif labels.dimensions != first.dimensions or not np.allclose(labels.ijk_to_ras, first.ijk_to_ras, atol=1e-3):
            raise InputError(
                f"'{path}' lies on other voxels than the masks beside it; write all of them for one CT, or name one "
                "file."
            )
        notes |= dict.fromkeys(labels.notes)
        mask = np.any([layer > 0 for layer in labels.layers], axis=0)
        if name == _LIVER:
            layers.insert(0, mask.astype(np.uint8))
        else:
            tumor = mask if tumor is None else tumor | mask
    assert first is not None, "there is a liver"
    entries = {"liver": (0, 1)}
    if tumor is not None:
        layers.append(tumor.astype(np.uint8))
        entries["liver tumor"] = (1, 1)
    shown = printable(folder.name)
    said = f"Taken from folder '{shown}': {listed(printable(path.name) for path in files.values())}."
    return LabelFile(shown, tuple(layers), entries, first.ijk_to_ras, True, {}, (said, *notes))
