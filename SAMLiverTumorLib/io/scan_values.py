"""Voxel values as the rest of the program and Slicer take them: cast once, with nothing that is no number."""

from __future__ import annotations

import numpy as np

from SAMLiverTumorLib.errors import InputError

# Types that VTK and PyTorch know alike are left alone; the others are NumPy's and SimpleITK's defaults.
_CAST = ("i1", "u4", "i8", "u8", "f2", "f8", "f16")

# A scan with anything as dark as fat is in Hounsfield units.
_FAT_HU, _AIR_HU = -50.0, -1000.0


def scan_values(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Voxels of a scan without NaN, in 8, 16 or 32 bits wherever these hold the values.

    Whole numbers become the smallest of signed 16 and 32 bits, all else floats of 32 bits. NaN outside the field of
    view, where resampling leaves it, counts as air, or as the lowest value of a scan without; anywhere else it is
    refused, as infinity is.

    :param array: (k, j, i), integers or floats.
    :param name: what messages call it.
    :return: (voxels, notes for the reader); the very array where nothing has to change.
    :raises InputError: infinite voxels; NaN within the body.

    >>> values, notes = scan_values(np.array([[[np.nan, -1000.0, 40.0]]]), "CT")
    >>> values.tolist(), values.dtype.name, len(notes)
    ([[[-1000, -1000, 40]]], 'int16', 1)
    """
    notes: tuple[str, ...] = ()
    if array.dtype.kind == "f" and not np.isfinite(np.add.reduce(array, axis=None, dtype=np.float64)):
        array, notes = _without_nan(array, name)
    if array.dtype.str[1:] in _CAST:
        array = _cast(array)
    return array, notes


def _without_nan(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    from scipy import ndimage

    missing = np.isnan(array)
    count = int(np.count_nonzero(missing))
    if count == array.size or np.isinf(array).any():
        raise InputError(
            f"'{name}' has NaN or infinite voxels; replace them (for example with -1024) before segmenting."
        )
    if not count:  # the sum alone was too large
        return array, ()
    parts, number = ndimage.label(missing)
    faces = [parts.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    outside = np.unique(np.concatenate(faces))
    if np.count_nonzero(outside) < number:
        raise InputError(
            f"'{name}' has NaN or infinite voxels inside the body, not only around it; replace them before segmenting."
        )
    lowest = float(array[~missing].min())
    value = min(lowest, _AIR_HU) if lowest < _FAT_HU else lowest
    filled = array.copy()
    filled[missing] = value
    note = f"{count:,} voxels of '{name}' outside the field of view have no value (NaN); they count as {value:g}."
    return filled, (note,)


def _cast(array: np.ndarray) -> np.ndarray:
    low, high = array.min(), array.max()
    whole = array.dtype.kind in "iu" or all((part == np.rint(part)).all() for part in array)
    for kind in (np.int16, np.int32) if whole else ():
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    return array.astype(np.float64 if whole or max(abs(low), abs(high)) > np.finfo(np.float32).max else np.float32)
