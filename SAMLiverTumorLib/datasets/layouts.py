"""How public sets and people lay out their cases in folders, and which patient a file's name says.

Known are: pairs side by side or in two folders; a folder for each patient; LiTS (`volume-N.nii`, `segmentation-N.nii`,
in one folder or in its batches); the Medical Segmentation Decathlon (`imagesTr/liver_N.nii.gz`, `labelsTr/` with the
same names, the folder above both); nnU-Net, of whose channels the first is the CT; TotalSegmentator's folder of masks
for each patient, and its data set; DICOM SEG files as labels; 3D-IRCADb as it is delivered; several centers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from SAMLiverTumorLib.datasets.folder_content import (
    ENDINGS,
    holds_images,
    holds_series,
    image_files,
    may_hold_dicom,
    stem,
    visible,
    without_voxels,
)
from SAMLiverTumorLib.datasets.patient_names import IMAGE_WORDS, is_label_name, is_only_image_words, patient_of
from SAMLiverTumorLib.datasets.same_names import told_apart, without_copies
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.seg_reader import find_segs
from SAMLiverTumorLib.io.ircadb.cases import find_ircadb, is_ircadb
from SAMLiverTumorLib.io.labels.organ_folder import is_organ_name, organ_files
from SAMLiverTumorLib.listed import listed

__all__ = ["ENDINGS", "IMAGE_WORDS", "Found", "by_patient", "holds_series", "patient_of"]

_MSD_IMAGES, _MSD_LABELS = "imagesTr", "labelsTr"
_DEEPEST = 4
"""Folders within folders that cases are looked for in."""


class Found(dict[str, Path]):
    """Files by patient; `notes` say what was left out."""

    notes: tuple[str, ...] = ()


def by_patient(folder: Path, kinds: set[bool], labels: bool = False, taken: Collection[Path] = ()) -> Found:
    """Files and DICOM folders by patient, in natural order.

    Patients of the same name in several folders, of two centers say, get the folder's name before theirs.

    :param folder: of cases; or one file, one DICOM folder, one case of 3D-IRCADb, one folder of masks.
    :param kinds: whether files named as labels count, and whether the others do. A case of 3D-IRCADb is both.
    :param labels: whether labels are looked for, where folders rather than names tell.
    :param taken: files that are images already, and so no labels.
    :raises InputError: nothing is found, or two files of one patient.
    """
    folder = Path(folder)
    notes: list[str] = []
    if is_ircadb(folder):
        paths = [(patient_of(case.name), case.path) for case in find_ircadb(folder)]
    elif folder.is_file():
        paths = [(patient_of(folder), without_voxels(folder))]
    elif not folder.is_dir():
        raise InputError(f"Folder '{folder}' does not exist; check the path.")
    elif labels and organ_files(folder):
        paths = [(patient_of(folder), folder)]
    elif labels and holds_series(folder) and (segs := find_segs(folder)):
        paths = [(patient_of(path), path) for path in segs]
    elif holds_series(folder):
        paths = [(patient_of(folder), folder)]
    else:
        images = {path.resolve() for path in taken}
        entries = [path for path in _entries(folder, kinds, labels) if path.resolve() not in images]
        entries, channels = _first_channels(entries)
        if channels:
            notes.append(f"Further channels were left out, as of nnU-Net: {listed(channels, 3)}.")
        paths = [(patient_of(path), path) for path in entries]
    found = Found()
    doubled: list[str] = []
    grouped: dict[str, list[Path]] = {}
    for patient, path in paths:
        grouped.setdefault(patient, []).append(path)
    for patient, given in grouped.items():
        same, copies = without_copies(given)
        doubled += copies
        for name, path in zip(told_apart(patient, same, folder), same, strict=True):
            found[name] = path
    if doubled:
        notes.append(f"The same as the .nii beside it, and so left out: {listed(doubled)}.")
    if not found:
        raise InputError(f"There are no {'label' if labels else 'image'} files ({', '.join(ENDINGS)}) in '{folder}'.")
    ordered = Found(sorted(found.items(), key=lambda item: _natural(item[0])))
    ordered.notes = tuple(notes)
    return ordered


def label_of(name: str, labels: Mapping[str, Path]) -> str | None:
    """The name that a patient has among the labels, however its letters are spelled; None if none, or several."""
    if name in labels:
        return name
    same = [each for each in labels if each.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def _entries(folder: Path, kinds: set[bool], labels: bool, depth: int = 0) -> Iterator[Path]:
    """What in a folder is an image or label of a case."""
    entries = visible(folder)
    if any(path.name == _MSD_IMAGES and path.is_dir() for path in entries):
        # files in both have the same names; imagesTs has no labels
        wanted = folder / (_MSD_LABELS if labels else _MSD_IMAGES)
        yield from image_files(wanted) if wanted.is_dir() else ()
        return
    # one folder of images, one of labels: patients are the folders in them
    shelves = any(path.is_dir() and is_label_name(path.name) for path in entries)
    for path in entries:
        if not path.is_dir():
            if path.name.lower().endswith(ENDINGS) and is_label_name(path.name) in kinds:
                yield path
        elif masks := _masks(path):
            if not labels:
                yield from _beside_masks(path)
            elif is_label_name(masks.name) in kinds or True in kinds:
                yield masks
        elif inside := image_files(path):
            yield from (file for file in inside if _is_wanted(file, path, inside, kinds, labels))
        elif shelves and is_only_image_words(path) and not any(each.is_file() for each in visible(path)):
            yield from _entries(path, kinds, labels, depth + 1)
        elif is_label_name(path.name) in kinds and may_hold_dicom(path):
            yield path
        elif depth < _DEEPEST and holds_images(path, _DEEPEST - depth):
            yield from _entries(path, kinds, labels, depth + 1)


def _masks(folder: Path) -> Path | None:
    """The folder of masks of a patient's folder: itself, or one in it, beside the CT."""
    if organ_files(folder):
        return folder
    return next((path for path in visible(folder) if path.is_dir() and organ_files(path)), None)


def _beside_masks(folder: Path) -> list[Path]:
    """The CT in a patient's folder with masks."""
    others = [file for file in image_files(folder) if not is_organ_name(file.name) and not is_label_name(file.name)]
    return [file for file in others if is_only_image_words(file)] or others


def _is_wanted(file: Path, folder: Path, inside: list[Path], kinds: set[bool], labels: bool) -> bool:
    """Whether a file in a patient's folder, or a folder of one kind, is of the kinds looked for."""
    if labels and len(inside) > 1 and is_only_image_words(file) and any(is_label_name(each.name) for each in inside):
        return False  # the CT beside its label
    return (is_label_name(file.name) or is_label_name(folder.name)) in kinds


def _first_channels(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """The paths without case_0001.nii.gz where there is case_0000.nii.gz beside it, and the names of those."""
    first = {(path.parent, stem(path.name)[:-5]) for path in paths if stem(path.name).endswith("_0000")}
    further = [
        path
        for path in paths
        if re.search(r"_(?!0000)\d{4}$", stem(path.name)) and (path.parent, stem(path.name)[:-5]) in first
    ]
    return [path for path in paths if path not in further], [path.name for path in further]


def _natural(name: str) -> list:
    """Sorts 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
