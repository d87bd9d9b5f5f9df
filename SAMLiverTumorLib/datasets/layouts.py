"""How public sets and people lay out their cases in folders, and which patient a file's name says.

Known are: pairs side by side or in two folders; a folder for each patient; LiTS (`volume-N.nii`, `segmentation-N.nii`,
in one folder or in its batches); the Medical Segmentation Decathlon (`imagesTr/liver_N.nii.gz`, `labelsTr/` with the
same names, the folder above both); DICOM SEG files as labels; 3D-IRCADb as it is delivered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.dicom.seg_reader import find_segs
from SAMLiverTumorLib.io.ircadb.cases import find_ircadb, is_ircadb

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_LABEL_WORDS = {"label", "labels", "seg", "segmentation", "mask", "masks", "gt"}
_IMAGE_WORDS = {"dicom", "ct", "ct8", "img", "image", "images", "volume", "scan", "0000"}
_MSD_IMAGES, _MSD_LABELS = "imagesTr", "labelsTr"


def patient_of(path: str | Path) -> str:
    """The patient that a file's name says: without ending, and without the words for image and label.

    Where nothing else is in the name, as in patient7/ct.nii.gz, the folder names the patient.

    >>> patient_of("liver_7_ct8.nii.gz"), patient_of("liver_7_label.nii.gz"), patient_of("segmentation-12.nii")
    ('liver_7', 'liver_7', '12')
    """
    words = re.split(r"([_\-. ]+)", _stem(Path(path).name))
    kept = [words[n] for n in range(0, len(words), 2) if words[n].lower() not in _LABEL_WORDS | _IMAGE_WORDS]
    # a name that any report, table and scene can hold
    return printable("_".join(word for word in kept if word) or Path(path).resolve().parent.name)


def by_patient(folder: Path, kinds: set[bool], labels: bool = False) -> dict[str, Path]:
    """Files and DICOM folders by patient, in natural order.

    :param folder: of cases; or one file, one DICOM folder, one case of 3D-IRCADb.
    :param kinds: whether files named as labels count, and whether the others do. A case of 3D-IRCADb is both.
    :param labels: whether labels are looked for, where folders rather than names tell.
    :raises InputError: nothing is found, or two files of one patient.
    """
    folder = Path(folder)
    if is_ircadb(folder):
        paths = [(patient_of(case.name), case.path) for case in find_ircadb(folder)]
    elif folder.is_file():
        paths = [(patient_of(folder), folder)]
    elif not folder.is_dir():
        raise InputError(f"Folder '{folder}' does not exist; check the path.")
    elif labels and holds_series(folder) and (segs := find_segs(folder)):
        paths = [(patient_of(path), path) for path in segs]
    elif holds_series(folder):
        paths = [(patient_of(folder), folder)]
    else:
        paths = [(patient_of(path), path) for path in _entries(folder, kinds, labels)]
    found: dict[str, Path] = {}
    for patient, path in paths:
        if patient in found:
            raise InputError(
                f"'{found[patient].name}' and '{path.name}' in '{folder}' look like the same patient, '{patient}'; "
                "leave one of them."
            )
        found[patient] = path
    if not found:
        raise InputError(f"There are no image files ({', '.join(ENDINGS)}) in '{folder}'.")
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def holds_series(folder: Path) -> bool:
    """Whether the folder is one DICOM series rather than a folder of cases."""
    if not folder.is_dir():
        return False
    files = [path for path in _visible(folder) if path.is_file()]
    # 1.nrrd is an image of its own, 1.001 a slice
    return bool(files) and all(
        path.suffix.lower() in ("", ".dcm", ".ima") or (path.stem.isdecimal() and path.suffix.lower() not in ENDINGS)
        for path in files
    )


def _entries(folder: Path, kinds: set[bool], labels: bool) -> Iterator[Path]:
    """What in a folder is an image or label of a case."""
    visible = _visible(folder)
    if any(path.name == _MSD_IMAGES and path.is_dir() for path in visible):
        # files in both have the same names; imagesTs has no labels
        wanted = folder / (_MSD_LABELS if labels else _MSD_IMAGES)
        yield from _image_files(wanted) if wanted.is_dir() else ()
        return
    for path in visible:
        if not path.is_dir():
            if path.name.lower().endswith(ENDINGS) and _is_label(path) in kinds:
                yield path
        elif inside := _image_files(path):
            yield from (file for file in inside if (_is_label(file) or _is_label(path)) in kinds)
        elif _is_label(path) in kinds:
            yield path


def _image_files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_file() and path.name.lower().endswith(ENDINGS)]


def _visible(folder: Path) -> list[Path]:
    """Entries without hidden ones: the Decathlon's archive has a ._liver_N.nii.gz beside each liver_N.nii.gz."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _stem(name: str) -> str:
    for ending in (*ENDINGS, ".dcm"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _is_label(path: Path) -> bool:
    return path.name.lower().endswith(".seg.nrrd") or bool(
        _LABEL_WORDS & set(re.split(r"[_\-. ]+", _stem(path.name).lower()))
    )


def _natural(name: str) -> list:
    """Sorts 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
