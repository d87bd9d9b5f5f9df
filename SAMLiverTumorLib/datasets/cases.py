"""Labeled cases to train and evaluate on: pairs of image and label files, split by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.datasets.label_meanings import LIVER, TUMOR, meanings_of
from SAMLiverTumorLib.datasets.layouts import by_patient, holds_series, label_of, patient_of
from SAMLiverTumorLib.datasets.store.case_store import CaseStore, is_store
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.ircadb.cases import is_ircadb, read_ircadb
from SAMLiverTumorLib.io.ircadb.lits_cases import doubles, lits_number, same_in_lits
from SAMLiverTumorLib.io.labels.dataset_json import meanings_in_set
from SAMLiverTumorLib.io.labels.grids import fits_grid, onto_grid, same_place, why_apart
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.lone_label import is_lone_tumor
from SAMLiverTumorLib.io.labels.organ_folder import organ_files
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.volume import Volume

LITS_VALUES = {"1": LIVER, "2": TUMOR}
"""What the label values of LiTS and the Medical Segmentation Decathlon mean."""


@dataclass(frozen=True, eq=False)
class Case:
    """One labeled scan of a patient.

    :param name: the patient, as its files are named.
    :param volume: the scan.
    :param tumor: bool (k, j, i).
    :param liver: bool (k, j, i), tumors included; None where the labels have no liver.
    :param notes: what has to be known of its figures.
    """

    name: str
    volume: Volume
    tumor: np.ndarray
    liver: np.ndarray | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseFiles:
    """Where a case lies; volumes are read one at a time, since all at once may not fit in memory.

    :param name: the patient.
    :param image: file or DICOM folder.
    :param label: label map or Slicer segmentation on the same voxels; None for an unlabeled scan.
    :param window: how to show it, as `parse_window`; empty where the setting for all holds.
    :param notes: what finding it took.
    :param series: number or UID of the DICOM series to read; empty for the only one.
    """

    name: str
    image: Path
    label: Path | None
    window: str = ""
    notes: tuple[str, ...] = ()
    series: str = ""


def find_cases(images: Path, labels: Path | None, hold_out: frozenset[str] = frozenset()) -> list[CaseFiles]:
    """Pairs of image and label files that belong to the same patient, in order of the names.

    Names are compared without their ending and without words such as "ct", "image", "volume", "0000", "label" and
    "segmentation", so `volume-7.nii` and `segmentation-7.nii` belong together. Both folders may be the same. One image
    and one label belong together whatever their names. A store of kept cases, named as both, is taken as it is. A case
    of 3D-IRCADb is image and label at once. For known layouts see `layouts`.

    :param images: a folder of .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd files, of DICOM folders, or of cases of
        3D-IRCADb; or one file, one DICOM folder, or one such case.
    :param labels: the same of label files; None for unlabeled scans.
    :param hold_out: names of patients that may not be used.
    :raises InputError: nothing found, an image without label or the reverse, two files of one patient, or a patient
        that is held out.
    """
    if is_store(images) and (labels is None or _same(images, labels)):
        return _kept_cases(Path(images), labels is not None, hold_out)
    one = Path(images).is_file() or holds_series(Path(images))
    if labels is not None and one and not is_ircadb(images) and (Path(labels).is_file() or organ_files(Path(labels))):
        refuse_held_out([patient_of(images)], hold_out)
        return [CaseFiles(patient_of(images), Path(images), Path(labels))]
    found_images = by_patient(images, {False} if labels is None or _same(images, labels) else {False, True})
    notes = found_images.notes
    if labels is None:
        cases = [CaseFiles(name, path, None, notes=notes) for name, path in found_images.items()]
    else:
        taken = () if is_ircadb(images) else tuple(found_images.values())
        same = _same(images, labels)
        found_labels = by_patient(labels, {True} if same else {False, True}, True, taken)
        pairs = {name: label_of(name, found_labels) for name in found_images}
        _refuse_missing([found_images[name] for name, label in pairs.items() if label is None], "label", labels)
        single = [path for name, path in found_labels.items() if name not in pairs.values()]
        _refuse_missing(single, "image", images)
        notes = (*notes, *found_labels.notes)
        cases = [CaseFiles(name, found_images[name], found_labels[pairs[name]], notes=notes) for name in found_images]
    # two patients of one name have the folder's name before theirs
    refuse_held_out([name for case in cases for name in {case.name, patient_of(case.image)}], hold_out)
    return cases


def _refuse_missing(paths: Sequence[Path], what: str, where: Path) -> None:
    if paths:
        names = listed((path.name if path.is_file() else path for path in paths), 3)
        raise InputError(
            f"There is no {what} in '{where}' for {names}; name both files of a patient alike, such as "
            "patient7_ct.nii.gz and patient7_label.nii.gz."
        )


def _kept_cases(folder: Path, labeled: bool, hold_out: frozenset[str]) -> list[CaseFiles]:
    kept = CaseStore(folder).list()
    if not kept:
        raise InputError(f"No case is kept in '{folder}' yet; keep one with `sam-liver-tumor cases add`.")
    refuse_held_out([case.name for case in kept], hold_out)
    windows = ["" if case.window is None else "{:g},{:g}".format(*case.window) for case in kept]
    return [
        CaseFiles(case.name, case.image, case.label if labeled else None, window)
        for case, window in zip(kept, windows, strict=True)
    ]


def refuse_held_out(names: Sequence[str], hold_out: frozenset[str]) -> None:
    """Refuse patients that a model will be judged on.

    :raises InputError: naming them.
    """
    held = {patient_of(name) for name in hold_out}
    # LiTS, the Decathlon and 3D-IRCADb share patients under other names
    numbers = {_number_in_lits(name) for name in held} - {None}
    if refused := [name for name in names if patient_of(name) in held or _number_in_lits(name) in numbers]:
        raise InputError(
            f"{listed(refused)} {'is' if len(refused) == 1 else 'are'} held out for the final judgment and can be "
            "neither trained nor tuned on; move the files away, or choose the others with --cases."
        )


def read_hold_out(path: Path) -> frozenset[str]:
    """Names of patients from a text file, one a line; "#" starts a comment.

    :raises InputError: there is no such file, or it is no text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"The hold-out file '{path}' is not a text in UTF-8; save it as one.") from error
    except OSError as error:
        raise InputError(f"The hold-out file '{path}' cannot be read ({error.strerror}); check the path.") from error
    return frozenset(name for line in lines if (name := line.split("#")[0].strip()))


def load_case(
    files: CaseFiles, names: Mapping[str, str] | None = None, others: Mapping[str, str] | None = None
) -> Case:
    """Read a case.

    :param names: label value, or name of a segment, to "tumor", "liver" or "ignore". The set's `dataset.json` says the
        others.
    :param others: meanings of values that neither says, where there is no `dataset.json`; by default those of LiTS if
        `names` has none.
    :raises InputError: image and label lie on different voxels; a label value that has no name; no label file.
    """
    if files.label is None:
        raise InputError(f"'{files.name}' has no labels.")
    read: list[str] = []
    volume = read_scan(files.image, files.series or None, read.append)
    lost = doubtful_spacing(volume.dimensions, volume.ijk_to_ras, volume.name)
    # said by the case's name below
    notes = [doubtful_spacing(volume.dimensions, volume.ijk_to_ras, files.name), *(t for t in read if t != lost)]
    is_usual = False
    if is_ircadb(files.label):
        labels, said = _ircadb_labels(files.label)
        names = LITS_VALUES
        notes += said
    else:
        labels = read_labels(files.label)
        is_said = bool(names)
        others = others or ({} if names else LITS_VALUES)
        names, said = meanings_in_set(None if labels.from_slicer else files.label, names or {}, others)
        notes += (*labels.notes, *said)
        is_usual = not (is_said or said or labels.from_slicer)
    grid = volume.ijk_to_ras, volume.dimensions
    if same_place(labels, *grid) or (labels.from_slicer and fits_grid(labels, *grid) and not why_apart(labels, *grid)):
        # in another order; files of Slicer hold only the part of the volume that is outlined
        labels, moved = onto_grid(labels, volume.ijk_to_ras, volume.dimensions)
        notes += moved
    if reason := why_apart(labels, *grid):
        raise InputError(f"The label of '{files.name}' {reason}")
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
    if is_usual and list(labels.entries) == ["1"]:
        names, told = _lone_value(labels)
        notes.append(told)
    meanings, said = meanings_of(labels, names, files.name)
    notes += said
    tumor = np.zeros(volume.array.shape, bool)
    liver = tumor.copy()
    for name in labels.entries:
        if meanings[name] == TUMOR:
            tumor |= labels.segments[name]
        elif meanings[name] == LIVER:
            liver |= labels.segments[name]
    has_liver = bool(liver.any())
    return Case(files.name, volume, tumor, (liver | tumor) if has_liver else None, (*files.notes, *filter(None, notes)))


def read_scan(path: Path, series: str | None = None, note: Callable[[str], None] | None = None) -> Volume:
    """The scan of a case: a file, a DICOM folder, or a case of 3D-IRCADb.

    :param series: which DICOM series of several.
    :param note: told what there is to know about it; see `read_volume`.
    :raises InputError: see `read_volume` and `read_ircadb`.
    """
    return read_ircadb(path, volume_only=True).volume if is_ircadb(path) else read_volume(path, series, note)


def read_case_labels(path: Path) -> LabelFile:
    """The labels of a case: a file, or liver and tumors of a case of 3D-IRCADb, with the values of LiTS.

    :raises InputError: see `read_labels` and `read_ircadb`.
    """
    return _ircadb_labels(path)[0] if is_ircadb(path) else read_labels(path)


def refuse_doubles(names: Sequence[str]) -> None:
    """Refuse one patient under two names, whose figures on the one would tell what was learned from the other.

    :raises InputError: naming both.
    """
    if found := doubles(names):
        pairs = listed((f"{one} and {other}" for one, other in found), 3)
        raise InputError(
            f"{pairs} are very probably the same patient: LiTS and the Decathlon hold the patients of 3D-IRCADb. Leave "
            "one of them out, with --cases say."
        )


def _lone_value(labels: LabelFile) -> tuple[dict[str, str], str]:
    """What 1 means where it is the only value and nobody says what it is, and a note that holds for all such files.

    :raises InputError: it cannot be told.
    """
    if is_lone_tumor(labels):
        return {"1": TUMOR}, "Label files named as tumors hold the value 1 alone; it was taken as the tumor."
    return LITS_VALUES, "Label files with the value 1 alone were taken as a liver without tumor, as in LiTS."


def _number_in_lits(name: str) -> int | None:
    return same_in_lits(name) or lits_number(name)


def _ircadb_labels(path: Path) -> tuple[LabelFile, tuple[str, ...]]:
    """Liver and liver tumors of a case of 3D-IRCADb with the values of LiTS, and what the reader noted."""
    case = read_ircadb(path, liver_only=True)
    array = np.zeros(case.volume.array.shape, np.uint8)
    array[case.liver.full()] = 1
    array[case.liver_tumor.full()] = 2
    entries = {str(value): (0, value) for value in (1, 2) if (array == value).any()}
    return LabelFile(case.name, (array,), entries, case.volume.ijk_to_ras), case.notes


def _same(a: Path, b: Path) -> bool:
    return Path(a).resolve() == Path(b).resolve()


def case_hash(case: Case) -> str:
    """SHA-256 of voxels, place and tumors."""
    digest = hashlib.sha256(case.volume.voxel_hash.encode())
    digest.update(np.packbits(case.tumor))
    return digest.hexdigest()
