"""3D-IRCADb: a patient's CT with everything outlined in it, from folders or from the zip files as they are delivered.

`3Dircadb1.N/` holds PATIENT_DICOM, LABELLED_DICOM, MASKS_DICOM/<structure> and MESHES_VTK (not read), each as a folder,
as a zip file of that name, or as a folder in a folder of the same name. Users bring their own copy: see `LICENSE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.zipped import PATIENT
from SAMLiverTumorLib.io.folder_types import Folder
from SAMLiverTumorLib.io.folders import open_folder
from SAMLiverTumorLib.io.ircadb.lits_cases import patient_number
from SAMLiverTumorLib.io.ircadb.slices import Grid, onto, read_slices, stack
from SAMLiverTumorLib.io.ircadb.structures import (
    LICENSE,
    LIVER,
    LIVER_TUMOR,
    PATIENTS_WITHOUT_LIVER_TUMOR,
    Structure,
    structure_of,
)
from SAMLiverTumorLib.io.labels import terminology
from SAMLiverTumorLib.io.labels.label_values import label_values
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.mask import Mask, union
from SAMLiverTumorLib.volume import Volume

__all__ = ["LICENSE", "IrcadbCase", "IrcadbFolder", "Outlined", "find_ircadb", "is_ircadb", "read_ircadb"]

LABELLED, MASKS = "LABELLED_DICOM", "MASKS_DICOM"
_DEPTH = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class IrcadbFolder:
    """Where a case lies.

    :param name: of the patient, such as "3Dircadb1.4".
    :param path: what `read_ircadb` takes; it may lead into a zip file.
    """

    name: str
    path: Path


@dataclass(frozen=True, eq=False)
class Outlined:
    """A structure with its voxels."""

    structure: Structure
    mask: Mask


@dataclass(frozen=True, eq=False)
class IrcadbCase:
    """A patient.

    :param volume: the CT in HU.
    :param outlined: every folder of MASKS_DICOM that was asked for, in the order of their names.
    :param dicom_folder: where the CT's DICOM files lie; it may lead into a zip file, which `read_source` takes.
    :param notes: what the reader has to know: where masks and LABELLED_DICOM differ, what is odd.
    """

    name: str
    volume: Volume
    outlined: tuple[Outlined, ...]
    notes: tuple[str, ...] = field(default=())
    dicom_folder: Path | None = None

    @property
    def tumors(self) -> tuple[Outlined, ...]:
        """Folders of liver tumors, kept apart."""
        return tuple(each for each in self.outlined if each.structure.is_liver_tumor)

    @cached_property
    def liver_tumor(self) -> Mask:
        """All liver tumors as one; empty for patients without."""
        return union((each.mask for each in self.tumors), self.volume)

    @property
    def liver(self) -> Mask:
        """The liver as outlined; empty where it is not."""
        return union((each.mask for each in self.outlined if each.structure.name == LIVER), self.volume)

    @cached_property
    def segments(self) -> tuple[Outlined, ...]:
        """What to show: liver tumors as one, then everything; single tumors where there are several folders."""
        merged: tuple[Outlined, ...] = ()
        if self.tumors:
            merged = (Outlined(Structure("", LIVER_TUMOR, terminology.LIVER_TUMOR, None, True), self.liver_tumor),)
        apart = [each for each in self.outlined if len(self.tumors) > 1 or not each.structure.is_liver_tumor]
        return (*merged, *apart)


def find_ircadb(path: str | Path) -> list[IrcadbFolder]:
    """The cases in a folder or zip file: the case that it is, or all those in it, in the order of their numbers.

    :raises InputError: there is no such place, or no case in it.

    >>> [case.name for case in find_ircadb("3Dircadb1")]   # doctest: +SKIP
    ['3Dircadb1.1', '3Dircadb1.2']
    """
    path = Path(path)
    found = [IrcadbFolder(_name(case, place), place) for case, place in _cases(open_folder(path), path, _DEPTH)]
    if not found:
        raise InputError(
            f"There is no case of 3D-IRCADb in '{path}': a case is a folder or zip file that holds {PATIENT} and "
            f"{MASKS}."
        )
    return sorted(found, key=lambda case: (patient_number(case.name) or 0, case.name))


def is_ircadb(path: str | Path) -> bool:
    """Whether a folder or zip file is a case of 3D-IRCADb, or holds some; quick, for any folder.

    :raises InputError: it is a zip file that is refused.
    """
    path = Path(path)
    if not path.is_dir() and not any(part.lower().endswith(".zip") for part in path.parts):
        return False
    return next(_cases(open_folder(path), path, 2), None) is not None


def read_ircadb(
    path: str | Path,
    liver_only: bool = False,
    volume_only: bool = False,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> IrcadbCase:
    """Read a case.

    :param path: see `find_ircadb`; it has to hold one case.
    :param liver_only: read liver and liver tumors alone, and compare nothing with LABELLED_DICOM: for training.
    :param volume_only: read the CT alone.
    :param progress: told of (slices read, of how many).
    :raises InputError: no case or several, slices missing, damaged or in another place, an archive that is refused.
    :raises Cancelled: `cancel` answered true.

    >>> case = read_ircadb("3Dircadb1.1.zip")   # doctest: +SKIP
    >>> case.volume.spacing, round(case.liver_tumor.volume_ml, 1)   # doctest: +SKIP
    """
    path = Path(path)
    found = list(_cases(open_folder(path), path, _DEPTH))
    if len(found) != 1:
        names = listed(_name(case, place) for case, place in found)
        what = f"holds {len(found)} cases ({names}); name one" if found else f"holds no {PATIENT} with {MASKS}"
        raise InputError(f"'{path}' {what}.")
    case, place = found[0]
    name = _name(case, place)
    patient, masks, labelled = (_kind(case, kind) for kind in (PATIENT, MASKS, LABELLED))
    assert patient is not None and masks is not None, "without these it is no case"
    if not patient.files:
        raise InputError(f"'{patient.shown}' holds no slices; copy the case again.")
    structures = [] if volume_only else _structures(masks, liver_only)
    check = labelled if labelled is not None and labelled.files and not (liver_only or volume_only) else None
    sources = [patient, *(folder for _, folder in structures), *([check] if check else [])]
    step = _counter(sum(len(source.files) for source in sources), progress)
    array, grid = stack(read_slices(list(patient.files.values()), step, cancel), patient.shown)
    volume = Volume(array, grid.ijk_to_ras, name)
    notes: list[str] = []
    outlined = tuple(
        Outlined(structure, _mask(folder, grid, volume, notes, step, cancel)) for structure, folder in structures
    )
    if volume_only:
        return IrcadbCase(name, volume, (), (), Path(patient.shown).absolute())
    notes += _expected(name, outlined)
    if check is not None:
        notes += _compared(check, grid, outlined, step, cancel)
    elif not liver_only:
        notes.append(f"There is no {LABELLED}: the masks could not be checked against it.")
    return IrcadbCase(name, volume, outlined, tuple(notes), Path(patient.shown).absolute())


def _cases(folder: Folder, path: Path, depth: int) -> Iterator[tuple[Folder, Path]]:
    """Cases in a folder with the paths that lead to them."""
    if _kind(folder, PATIENT) is not None and _kind(folder, MASKS) is not None:
        yield folder, path
    elif depth:
        for name, each in folder.folders.items():
            # other people's archives are none of our business, unless one was named
            if each.shown.lower().endswith(".zip") and "ircad" not in name.lower():
                continue
            yield from _cases(each, Path(each.shown), depth - 1)


def _name(folder: Folder, path: Path) -> str:
    """A case's name: the folder's, or that of one above it which says which patient it is."""
    above = [folder.name, *(Path(part).stem if part.lower().endswith(".zip") else part for part in path.parts[::-1])]
    return next((name for name in above if patient_number(name)), folder.name)


def _kind(case: Folder, kind: str) -> Folder | None:
    """PATIENT_DICOM or another of the four."""
    found = next((folder for name, folder in case.folders.items() if name.upper() == kind), None)
    return None if found is None else _unwrapped(found)


def _unwrapped(folder: Folder) -> Folder:
    """The folder, or the one of the same name in it where it holds nothing else: careless unpacking makes those."""
    while not folder.files and [name.lower() for name in folder.folders] == [folder.name.lower()]:
        folder = next(iter(folder.folders.values()))
    return folder


def _structures(masks: Folder, liver_only: bool) -> list[tuple[Structure, Folder]]:
    """Structures in the order of their folders' names, and their folders of slices."""
    found = [(structure_of(name), _unwrapped(folder)) for name, folder in sorted(masks.folders.items())]
    if liver_only:
        found = [(each, folder) for each, folder in found if each.is_liver_tumor or each.name == LIVER]
    for _, folder in found:
        if not folder.files:
            raise InputError(f"'{folder.shown}' holds no slices; copy the case again, or move that folder away.")
    return found


def _counter(total: int, progress: Progress | None) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return step


def _mask(folder: Folder, grid: Grid, volume: Volume, notes: list[str], step, cancel) -> Mask:
    slices = read_slices(list(folder.files.values()), step, cancel, rescale=False)
    array, by_name = onto(slices, grid, folder.shown)
    values = label_values(array, folder.shown, cancel)
    if len(values) > 1:
        notes.append(f"{folder.name}: the mask has the values {listed(values, 4)} instead of one; all of them count.")
    if by_name:
        notes.append(f"{folder.name}: the mask's slices have no positions; they were placed by their file names.")
    if not values:
        notes.append(f"{folder.name}: the mask is empty.")
    return Mask.from_array(array != 0, volume)


def _expected(name: str, outlined: Sequence[Outlined]) -> list[str]:
    """What is odd about a patient whose tumors are known from IRCAD's table."""
    number = patient_number(name)
    has = any(each.structure.is_liver_tumor for each in outlined)
    if number is None or has is (number not in PATIENTS_WITHOUT_LIVER_TUMOR):
        return []
    if has:
        return [f"{name} has a folder of liver tumors, though IRCAD says that this patient has none."]
    return [f"{name} should have liver tumors, but {MASKS} has no folder of them: is the copy whole?"]


def _compared(labelled: Folder, grid: Grid, outlined: Sequence[Outlined], step, cancel) -> list[str]:
    """How LABELLED_DICOM and the masks differ.

    Which value means what is written nowhere. A value belongs to a structure if most of its voxels lie in the mask;
    where one structure is painted over another, several values make up the mask together.
    """
    try:
        values, _ = onto(read_slices(list(labelled.files.values()), step, cancel, rescale=False), grid, labelled.shown)
        codes = np.array(sorted({0, *label_values(values, labelled.shown, cancel)}))
    except InputError as error:
        return [f"{LABELLED} was not compared with the masks: {error}"]
    index = np.searchsorted(codes, values)
    total = np.bincount(index.ravel(), minlength=len(codes))
    notes, members = [], np.zeros((len(codes), len(outlined)), bool)
    for n, each in enumerate(outlined):
        inside = np.bincount(index[each.mask.box][each.mask.array], minlength=len(codes))
        members[:, n] = (2 * inside > total) & (codes != 0)
        wrong = int(np.where(members[:, n], total - inside, inside).sum())
        if wrong:
            share = 100 * wrong / max(each.mask.count, 1)
            notes.append(
                f"{each.structure.folder}: mask and {LABELLED} differ in {wrong} voxels ({share:.1f}% of the mask)."
            )
    for code, count, row in zip(codes, total, members, strict=True):
        if code and not row.any():
            notes.append(f"{LABELLED} has {count} voxels of value {code} that are in no mask: is one missing?")
    return notes
