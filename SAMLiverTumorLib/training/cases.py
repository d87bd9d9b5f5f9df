"""Labeled cases to train and evaluate on: pairs of image and label files, split by patient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels import read_labels
from SAMLiverTumorLib.volume import Volume

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_LABEL_WORDS = {"label", "labels", "seg", "segmentation", "mask", "masks", "gt"}
_IMAGE_WORDS = {"dicom", "ct", "ct8", "img", "image", "images", "volume", "scan", "0000"}

TUMOR, LIVER, IGNORE = "tumor", "liver", "ignore"
LITS_VALUES = {"1": LIVER, "2": TUMOR}
"""What the label values of LiTS and the Medical Segmentation Decathlon mean."""


@dataclass(frozen=True, eq=False)
class Case:
    """One labeled scan of a patient.

    :param name: the patient, as its files are named.
    :param volume: the scan.
    :param tumor: bool (k, j, i).
    :param liver: bool (k, j, i), tumors included; None where the labels have no liver.
    """

    name: str
    volume: Volume
    tumor: np.ndarray
    liver: np.ndarray | None


@dataclass(frozen=True)
class CaseFiles:
    """Where a case lies; volumes are read one at a time, since all at once may not fit in memory.

    :param name: the patient.
    :param image: file or DICOM folder.
    :param label: label map or Slicer segmentation on the same voxels; None for an unlabeled scan.
    :param window: how to show it, as `parse_window`; empty where the setting for all holds.
    """

    name: str
    image: Path
    label: Path | None
    window: str = ""


def find_cases(images: Path, labels: Path | None, hold_out: frozenset[str] = frozenset()) -> list[CaseFiles]:
    """Pairs of image and label files that belong to the same patient, in order of the names.

    Names are compared without their ending and without words such as "ct", "image", "volume", "0000", "label" and
    "segmentation", so `volume-7.nii` and `segmentation-7.nii` belong together. Both folders may be the same. One image
    and one label belong together whatever their names.

    :param images: a folder of .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd files, or of DICOM folders; or one file, or one
        DICOM folder.
    :param labels: the same of label files; None for unlabeled scans.
    :param hold_out: names of patients that may not be used.
    :raises InputError: nothing found, an image without label or the reverse, two files of one patient, or a patient
        that is held out.
    """
    if labels is not None and Path(labels).is_file() and (Path(images).is_file() or _holds_series(Path(images))):
        refuse_held_out([patient_of(images)], hold_out)
        return [CaseFiles(patient_of(images), Path(images), Path(labels))]
    found_images = _by_patient(images, {False} if labels is None or _same(images, labels) else {False, True})
    if labels is None:
        cases = [CaseFiles(name, path, None) for name, path in found_images.items()]
    else:
        found_labels = _by_patient(labels, {True} if _same(images, labels) else {False, True})
        for one, other, what, where in (
            (found_images, found_labels, "label", labels),
            (found_labels, found_images, "image", images),
        ):
            if missing := [str(path.name) for name, path in one.items() if name not in other]:
                more = " ..." if len(missing) > 3 else ""
                raise InputError(
                    f"There is no {what} in '{where}' for {', '.join(missing[:3])}{more}; "
                    "name both files of a patient alike, such as patient7_ct.nii.gz and patient7_label.nii.gz."
                )
        cases = [CaseFiles(name, path, found_labels[name]) for name, path in found_images.items()]
    refuse_held_out([case.name for case in cases], hold_out)
    return cases


def refuse_held_out(names: Sequence[str], hold_out: frozenset[str]) -> None:
    """Refuse patients that a model will be judged on.

    :raises InputError: naming them.
    """
    held = {patient_of(name) for name in hold_out}
    if refused := [name for name in names if patient_of(name) in held]:
        raise InputError(
            f"{', '.join(refused)} {'is' if len(refused) == 1 else 'are'} held out for the final judgment and can be "
            "neither trained nor tuned on; move the files away, or choose the others with --cases."
        )


def read_hold_out(path: Path) -> frozenset[str]:
    """Names of patients from a text file, one a line; "#" starts a comment.

    :raises InputError: there is no such file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"The hold-out file '{path}' cannot be read ({error.strerror}); check the path.") from error
    return frozenset(name for line in lines if (name := line.split("#")[0].strip()))


def load_case(files: CaseFiles, names: Mapping[str, str] = LITS_VALUES) -> Case:
    """Read a case.

    :param names: label value, or name of a segment, to "tumor", "liver" or "ignore".
    :raises InputError: image and label lie on different voxels; a label value that has no name; no label file.
    """
    volume = read_volume(files.image)
    if files.label is None:
        raise InputError(f"'{files.name}' has no labels.")
    labels = read_labels(files.label)
    if labels.dimensions != volume.dimensions:
        raise InputError(
            f"Image and label of '{files.name}' have different sizes, {volume.dimensions} and {labels.dimensions} "
            "voxels; resample the label onto the image (in Slicer: Segment Editor, or Resample Scalar/Vector/DWI)."
        )
    if not np.allclose(labels.ijk_to_ras, volume.ijk_to_ras, atol=1e-2 * min(volume.spacing)):
        raise InputError(
            f"Image and label of '{files.name}' lie in different places (their affines differ by up to "
            f"{np.abs(labels.ijk_to_ras - volume.ijk_to_ras).max():.3g}); resample the label onto the image."
        )
    unknown = [name for name in labels.entries if name not in names]
    if unknown:
        raise InputError(
            f"The label of '{files.name}' has the value{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}, whose "
            f"meaning is not known (known: {', '.join(f'{v} {n}' for v, n in names.items())}); name it with "
            f"--label {unknown[0]}=tumor, --label {unknown[0]}=liver or --label {unknown[0]}=ignore."
        )
    tumor = np.zeros(volume.array.shape, bool)
    liver = tumor.copy()
    for name in labels.entries:
        if names[name] == TUMOR:
            tumor |= labels.segments[name]
        elif names[name] == LIVER:
            liver |= labels.segments[name]
    has_liver = bool(liver.any())
    return Case(files.name, volume, tumor, (liver | tumor) if has_liver else None)


def patient_of(path: str | Path) -> str:
    """The patient that a file's name says: without ending, and without the words for image and label.

    Where nothing else is in the name, as in patient7/ct.nii.gz, the folder names the patient.

    >>> patient_of("liver_7_ct8.nii.gz"), patient_of("liver_7_label.nii.gz"), patient_of("segmentation-12.nii")
    ('liver_7', 'liver_7', '12')
    """
    words = re.split(r"([_\-. ]+)", _stem(Path(path).name))
    kept = [words[n] for n in range(0, len(words), 2) if words[n].lower() not in _LABEL_WORDS | _IMAGE_WORDS]
    return "_".join(word for word in kept if word) or Path(path).resolve().parent.name


def _stem(name: str) -> str:
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _is_label(path: Path) -> bool:
    return path.name.lower().endswith(".seg.nrrd") or bool(
        _LABEL_WORDS & set(re.split(r"[_\-. ]+", _stem(path.name).lower()))
    )


def _same(a: Path, b: Path) -> bool:
    return Path(a).resolve() == Path(b).resolve()


def _by_patient(folder: Path, kinds: set[bool]) -> dict[str, Path]:
    """Files of a folder by patient; `kinds` says whether those named as labels count, and the others."""
    folder = Path(folder)
    if folder.is_file():
        return {patient_of(folder): folder}
    if not folder.is_dir():
        raise InputError(f"Folder '{folder}' does not exist; check the path.")
    if _holds_series(folder):
        return {patient_of(folder): folder}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        usable = path.name.lower().endswith(ENDINGS) or (path.is_dir() and not path.name.startswith("."))
        if not usable or _is_label(path) not in kinds:
            continue
        patient = patient_of(path)
        if patient in found:
            raise InputError(
                f"'{found[patient].name}' and '{path.name}' in '{folder}' look like the same patient, '{patient}'; "
                "leave one of them."
            )
        found[patient] = path
    if not found:
        raise InputError(f"There are no image files ({', '.join(ENDINGS)}) in '{folder}'.")
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _holds_series(folder: Path) -> bool:
    """Whether the folder is one DICOM series rather than a folder of cases."""
    if not folder.is_dir():
        return False
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return bool(files) and all(path.suffix.lower() in ("", ".dcm", ".ima") or path.stem.isdecimal() for path in files)


def _natural(name: str) -> list:
    """Sorts 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
