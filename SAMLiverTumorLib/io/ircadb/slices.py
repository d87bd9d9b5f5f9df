"""Slices of 3D-IRCADb: DICOM files without extension, put in order and in place by their own geometry.

Files are named image_0, image_1, ... image_10, which sorts badly, and the numbers say nothing about where a slice lies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.parse import read_dataset
from SAMLiverTumorLib.io.dicom.slices.steps import regular_step
from SAMLiverTumorLib.io.folder_types import File
from SAMLiverTumorLib.listed import listed

_MOST_PIXELS = 4096 * 4096
# Steps that differ by more than this share of the usual one mean a missing or doubled slice.
_STEP_TOLERANCE = 0.05
_TILT_MM = 0.1
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Slice:
    """One DICOM slice.

    :param name: of its file.
    :param shown: what messages call it.
    :param pixels: (rows, columns).
    :param position: LPS (mm) of the first pixel's center; None where the file has none.
    :param axes: (2, 3), LPS directions of a row's and a column's course; None where the file has none.
    :param spacing: (mm between rows, mm between columns); None where the file has none.
    """

    name: str
    shown: str
    pixels: np.ndarray
    position: np.ndarray | None
    axes: np.ndarray | None
    spacing: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the slices of a patient lie.

    :param names: file names in the order of k.
    :param heights: mm along the normal, ascending with k.
    """

    names: tuple[str, ...]
    heights: np.ndarray
    normal: np.ndarray
    first: Slice
    ijk_to_ras: np.ndarray

    @property
    def step(self) -> float:
        """From slice to slice, in mm."""
        return float(np.median(np.diff(self.heights)))


def read_slice(file: File, rescale: bool = True) -> Slice:
    """Read one file.

    :param rescale: to HU; of masks and labels the stored values count, whatever was copied from the patient's header.
    :raises InputError: damaged, no single grey image, or in a form that pydicom cannot decode here.
    """
    import pydicom

    content = file.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(pydicom, content, file, rescale)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pydicom answers damaged bytes with any kind of exception
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"'{file.shown}' cannot be read as a DICOM slice ({text}); copy the case again.") from error


def _read(pydicom, content: bytes, file: File, rescale: bool) -> Slice:
    """What pydicom makes of a file's content; any exception means that it is damaged."""
    dataset = read_dataset(content, file.shown, force=True)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
    if not 0 < rows * columns <= _MOST_PIXELS or frames != 1 or samples != 1:
        raise InputError(
            f"'{file.shown}' has {columns} x {rows} pixels, {frames} frames, {samples} values each; a single grey "
            "slice is needed."
        )
    if not hasattr(dataset, "file_meta") or "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        # pydicom before 3 has the latter
        implicit = dataset.original_encoding[0] if hasattr(dataset, "original_encoding") else dataset.is_implicit_VR
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(
            "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
        )
    pixels = np.array(dataset.pixel_array)
    pixels = _rescaled(dataset, pixels) if rescale else pixels
    position = _numbers(dataset.get("ImagePositionPatient"), 3)
    axes = _numbers(dataset.get("ImageOrientationPatient"), 6)
    spacing = _numbers(dataset.get("PixelSpacing"), 2)
    if pixels.shape != (rows, columns):
        raise InputError(f"'{file.shown}' is damaged: its pixels are not {columns} x {rows}; copy the case again.")
    return Slice(
        file.name,
        file.shown,
        pixels,
        position,
        None if axes is None else axes.reshape(2, 3),
        None if spacing is None or (spacing <= 0).any() else (float(spacing[0]), float(spacing[1])),
    )


def read_slices(
    files: Sequence[File],
    progress: Callable[[], None],
    cancel: Callable[[], bool] | None = None,
    rescale: bool = True,
) -> list[Slice]:
    """Read files one by one.

    :param progress: called after each.
    :raises InputError: see `read_slice`.
    :raises Cancelled: `cancel` answered true.
    """
    found = []
    for file in files:
        raise_if_cancelled(cancel)
        found.append(read_slice(file, rescale))
        progress()
    return found


def stack(slices: Sequence[Slice], where: str) -> tuple[np.ndarray, Grid]:
    """Order slices by their positions.

    :param where: the folder, for messages.
    :return: (voxels (k, j, i), k along the normal of rows and columns; their grid).
    :raises InputError: too few slices, no geometry in them, or none that one regular grid could have.
    """
    if len(slices) < 2:
        raise InputError(f"'{where}' holds {len(slices)} slices; at least 2 make a volume.")
    for each in slices:
        if each.position is None or each.axes is None or each.spacing is None:
            raise InputError(f"'{each.shown}' has no position, directions or pixel spacing; copy the case again.")
    first = slices[0]
    assert first.axes is not None and first.spacing is not None, "just checked"
    for each in slices:
        assert each.axes is not None and each.spacing is not None, "just checked"
        if each.pixels.shape != first.pixels.shape:
            raise InputError(f"'{each.shown}' has another size than '{first.shown}'; one series is needed.")
        if not np.allclose(each.axes, first.axes, atol=1e-3) or not np.allclose(each.spacing, first.spacing, rtol=1e-3):
            raise InputError(
                f"'{each.shown}' has other directions or spacing than '{first.shown}'; one series is needed."
            )
    lengths = np.linalg.norm(first.axes, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(first.axes[0] @ first.axes[1]) > 1e-2:
        raise InputError(f"'{first.shown}' has directions that are not at right angles; copy the case again.")
    normal = np.cross(*first.axes)
    ordered = sorted(slices, key=lambda each: float(each.position @ normal))
    heights = np.array([float(each.position @ normal) for each in ordered])
    steps = np.diff(heights)
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > max(usual * _STEP_TOLERANCE, 0.01))
    if usual < 0.01 or (len(odd) and regular_step(heights) is None):
        n = int(odd[0]) if len(odd) else 0
        raise InputError(
            f"'{where}' has slices missing or doubled: '{ordered[n].name}' and '{ordered[n + 1].name}' are "
            f"{steps[n]:.2f} mm apart, the others {usual:.2f} mm; copy the case again."
        )
    positions = np.array([each.position for each in ordered])
    drift = np.diff(positions, axis=0) - steps[:, None] * normal
    if np.linalg.norm(drift, axis=1).max() > _TILT_MM:
        raise InputError(
            f"'{where}' is sheared (gantry tilt), as no case of 3D-IRCADb is, and masks on such slices are not brought "
            "onto a grid here. Read that folder alone, as a DICOM series: it is resampled then."
        )
    row_step, column_step = first.spacing
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.axes[0] * column_step, first.axes[1] * row_step
    # over the whole stack: positions are rounded in the files
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine[:3, 3] = positions[0]
    array = np.stack([each.pixels for each in ordered])
    names = tuple(each.name for each in ordered)
    return array, Grid(names, heights, normal, ordered[0], _LPS_TO_RAS @ affine)


def onto(slices: Sequence[Slice], grid: Grid, where: str) -> tuple[np.ndarray, bool]:
    """Slices of a mask or label image onto the patient's.

    :return: (values (k, j, i); whether they were placed by their file names, for want of positions).
    :raises InputError: another size or place, a slice missing or doubled.
    """
    shape = grid.first.pixels.shape
    array = np.zeros((len(grid.names), *shape), np.result_type(*(each.pixels.dtype for each in slices)))
    by_name = all(each.position is None for each in slices)
    seen: dict[int, str] = {}
    for each in slices:
        if each.pixels.shape != shape:
            raise InputError(f"'{each.shown}' has another size than the patient's slices; copy the case again.")
        k = _named(each, grid) if by_name else _placed(each, grid)
        if k in seen:
            raise InputError(f"'{each.shown}' lies where '{seen[k]}' does; copy the case again.")
        seen[k] = each.name
        array[k] = each.pixels
    if missing := [grid.names[k] for k in range(len(grid.names)) if k not in seen]:
        raise InputError(
            f"'{where}' lacks {len(missing)} of {len(grid.names)} slices, those of {listed(missing, 3)}; "
            "copy the case again, or move that folder away."
        )
    return array, by_name


def _named(each: Slice, grid: Grid) -> int:
    if each.name not in grid.names:
        raise InputError(f"'{each.shown}' has no position and no patient slice of its name; copy the case again.")
    return grid.names.index(each.name)


def _placed(each: Slice, grid: Grid) -> int:
    """The slice of the grid at the same place."""
    first = grid.first
    assert first.position is not None and first.axes is not None and first.spacing is not None, "`stack` has checked it"
    apart = InputError(f"'{each.shown}' does not lie on the patient's slices; copy the case again.")
    if each.position is None:
        raise apart
    height = float(each.position @ grid.normal)
    k = int(np.abs(grid.heights - height).argmin())
    aside = (each.position - first.position) - (height - grid.heights[0]) * grid.normal
    if abs(grid.heights[k] - height) > 0.1 * grid.step or np.linalg.norm(aside) > 0.1 * min(first.spacing):
        raise apart
    if each.axes is not None and not np.allclose(each.axes, first.axes, atol=1e-3):
        raise apart
    if each.spacing is not None and not np.allclose(each.spacing, first.spacing, atol=1e-3):
        raise apart
    return k


def _rescaled(dataset, pixels: np.ndarray) -> np.ndarray:
    """Stored values to the file's units, in whole numbers where they are."""
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    if not np.isfinite([slope, intercept]).all():
        raise ValueError(f"rescale slope {slope} and intercept {intercept}")
    if slope.is_integer() and intercept.is_integer() and abs(slope) < 1 << 15 and abs(intercept) < 1 << 15:
        values = pixels.astype(np.int32) * int(slope) + int(intercept)
        small = values.size and values.min() >= -(1 << 15) and values.max() < 1 << 15
        return values.astype(np.int16) if small else values
    return (pixels * slope + intercept).astype(np.float32)


def _numbers(value, count: int) -> np.ndarray | None:
    """An element's numbers; None where it is absent.

    :raises ValueError: not so many, or not finite.
    """
    if value is None or value == "":
        return None
    numbers = np.array([float(x) for x in value])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{len(numbers)} numbers {numbers.tolist()} where {count} should be")
    return numbers
