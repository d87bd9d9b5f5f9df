"""Label files brought onto one voxel grid, so that their voxels can be compared one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.lost_place import WAY_OUT, covers, distance_mm, lost_place
from SAMLiverTumorLib.volume import apply_affine

# Grids whose voxel centers agree to this part of a voxel are one grid: NIfTI keeps its affine in single
# precision. Up to half a voxel nearest-neighbor resampling would give the same voxels.
_TOLERANCE = 0.02

_MOST_VOXELS = 1 << 29


def common_grid(
    prediction: LabelFile, reference: LabelFile
) -> tuple[np.ndarray, tuple[int, int, int], tuple[str, ...]]:
    """The reference's grid, extended where labeled voxels of the prediction lie outside it.

    Files of Slicer are cropped to what they hold; a prediction outside a cropped reference is false
    positive all the same and must not vanish.

    :return: (ijk_to_ras of the grid, its dimensions (i, j, k), notes for the reader).
    :raises InputError: the two are so far apart that they cannot be of one volume, or one has probably lost its place.
    """
    refuse_lost_place(prediction, reference.ijk_to_ras, reference.dimensions)
    notes = _of_same_size(prediction, reference.ijk_to_ras, reference.dimensions)
    to_reference = np.linalg.inv(reference.ijk_to_ras) @ prediction.ijk_to_ras
    size = np.array(reference.dimensions)
    low, high = _extent(to_reference, np.zeros(3), np.array(prediction.dimensions))
    apart = bool((low > size - 0.5).any() or (high < -0.5).any())
    if apart and not (prediction.from_slicer and reference.from_slicer):
        raise InputError(
            f"'{prediction.name}' lies wholly outside '{reference.name}'; name a reference of the same scan, in the "
            "same patient coordinates."
        )
    box = _labeled_box(prediction.layers)
    if box is None:
        return reference.ijk_to_ras, reference.dimensions, notes
    low, high = _extent(to_reference, *box)
    start = np.minimum(np.floor(low + 0.5 + _TOLERANCE), 0).astype(int)
    stop = np.maximum(np.ceil(high - 0.5 - _TOLERANCE) + 1, size).astype(int)
    if not start.any() and (stop == size).all():
        return reference.ijk_to_ras, reference.dimensions, notes
    columns, rows, slices = (int(n) for n in stop - start)
    dimensions = (columns, rows, slices)
    if np.prod(dimensions, dtype=float) > _MOST_VOXELS:
        raise InputError(
            f"'{prediction.name}' and '{reference.name}' are too far apart to be of one scan; check that both are in "
            "the same patient coordinates."
        )
    affine = reference.ijk_to_ras.copy()
    affine[:3, 3] = apply_affine(affine, start)[0]
    text = " x ".join(map(str, dimensions))
    outside = f"'{prediction.name}' reaches outside '{reference.name}': compared on {text} voxels."
    return affine, dimensions, (*notes, outside)


def onto_grid(
    labels: LabelFile, ijk_to_ras: np.ndarray, dimensions: tuple[int, int, int]
) -> tuple[LabelFile, tuple[str, ...]]:
    """Bring a label file onto a grid.

    The same grid, a cropped one, and one with its axes stored in another order or direction are exact;
    anything else is resampled by nearest neighbor, and the note says so.

    :param ijk_to_ras: 4x4 affine of the grid (mm, world RAS).
    :param dimensions: its voxels along (i, j, k).
    :return: (labels on the grid, notes for the reader).
    :raises InputError: the labels have the grid's voxels and have probably lost its place.
    """
    refuse_lost_place(labels, ijk_to_ras, dimensions)
    to_source = np.linalg.inv(labels.ijk_to_ras) @ ijk_to_ras
    exact = _signed_permutation(to_source, dimensions)
    notes: tuple[str, ...]
    if exact is None:
        layers = tuple(_resampled(layer, to_source, dimensions) for layer in labels.layers)
        notes = (f"'{labels.name}' lies on another voxel grid: resampled by nearest neighbor.",)
    else:
        layers = tuple(_rearranged(layer, *exact, dimensions) for layer in labels.layers)
        before, after = (sum(int(np.count_nonzero(x)) for x in which) for which in (labels.layers, layers))
        notes = (f"{before - after} of {before} voxels of '{labels.name}' lie outside the grid.",) * (after < before)
    notes += _of_same_size(labels, ijk_to_ras, dimensions)
    return replace(labels, layers=layers, ijk_to_ras=np.array(ijk_to_ras, float)), notes


def refuse_lost_place(labels: LabelFile, ijk_to_ras: np.ndarray, dimensions: tuple[int, int, int]) -> None:
    """Refuse labels that have the voxels of a grid and lie elsewhere by what is no place.

    :raises InputError: saying what speaks for it, and what to do.
    """
    if reason := why_apart(labels, ijk_to_ras, dimensions):
        raise InputError(f"'{labels.name}' {reason}")


def why_apart(labels: LabelFile, ijk_to_ras: np.ndarray, dimensions: tuple[int, int, int]) -> str:
    """The likely reason why labels of a grid's size lie elsewhere, and what to do; empty where there is none."""
    reason = lost_place(labels.ijk_to_ras, labels.dimensions, ijk_to_ras, dimensions)
    if not reason:
        return ""
    size = " x ".join(map(str, labels.dimensions))
    if labels.dimensions != tuple(dimensions):
        return (
            f"has the scan's size with its axes in another order ({size} voxels), but lies elsewhere: {reason}. Save "
            "it anew with the scan's header and order."
        )
    return f"has the scan's size, {size} voxels, but lies elsewhere: {reason}. {WAY_OUT}."


def same_place(labels: LabelFile, ijk_to_ras: np.ndarray, dimensions: tuple[int, int, int]) -> bool:
    """Whether labels have a grid's voxels, each of them, in whichever order they are stored."""
    return fits_grid(labels, ijk_to_ras, dimensions) and covers(
        labels.ijk_to_ras, labels.dimensions, ijk_to_ras, dimensions
    )


def fits_grid(labels: LabelFile, ijk_to_ras: np.ndarray, dimensions: tuple[int, int, int]) -> bool:
    """Whether `onto_grid` brings the labels there voxel by voxel, without resampling."""
    return _signed_permutation(np.linalg.inv(labels.ijk_to_ras) @ ijk_to_ras, dimensions) is not None


def _of_same_size(labels: LabelFile, ijk_to_ras: np.ndarray, dimensions: tuple[int, int, int]) -> tuple[str, ...]:
    """A note on labels of a scan's very size that lie elsewhere; files of Slicer are cropped to any size."""
    if labels.from_slicer:
        return ()
    if labels.dimensions != tuple(dimensions) or covers(labels.ijk_to_ras, labels.dimensions, ijk_to_ras, dimensions):
        return ()
    apart = distance_mm(labels.ijk_to_ras, ijk_to_ras, dimensions)
    return (
        f"'{labels.name}' has the scan's very size and lies up to {apart:.3g} mm off. It was taken where it lies; if "
        "it holds the scan's voxels, its header is wrong.",
    )


def _extent(matrix: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the voxels start..stop-1 (i, j, k), borders included, mapped through an affine."""
    corners = np.array(list(product(*zip(start - 0.5, stop - 0.5, strict=True))))
    mapped = apply_affine(matrix, corners)
    return mapped.min(axis=0), mapped.max(axis=0)


def _labeled_box(layers: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """First and past-the-last voxel (i, j, k) with any label; None without any."""
    starts, stops = [], []
    for axis in (2, 1, 0):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(np.any([layer.any(axis=others) for layer in layers], axis=0))
        if not filled.size:
            return None
        starts.append(filled[0])
        stops.append(filled[-1] + 1)
    return np.array(starts), np.array(stops)


def _signed_permutation(matrix: np.ndarray, dimensions: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """(3x3 of 0, 1 and -1; integer offset) if an index map is that over the whole grid, else None."""
    rotation, offset = np.rint(matrix[:3, :3]).astype(int), np.rint(matrix[:3, 3]).astype(int)
    if (np.abs(rotation).sum(axis=0) != 1).any() or (np.abs(rotation).sum(axis=1) != 1).any():
        return None
    corners = np.array(list(product(*((0, n - 1) for n in dimensions))))
    deviation = np.abs(apply_affine(matrix, corners) - (corners @ rotation.T + offset)).max()
    return (rotation, offset) if deviation < _TOLERANCE else None


def _rearranged(
    layer: np.ndarray, rotation: np.ndarray, offset: np.ndarray, dimensions: tuple[int, int, int]
) -> np.ndarray:
    """A layer (k, j, i) turned, flipped, cropped and padded with 0 onto a grid; copied only if it changes."""
    rotation, offset = rotation[::-1, ::-1], offset[::-1]
    shape = tuple(dimensions[::-1])
    if (rotation == np.eye(3)).all() and not offset.any() and layer.shape == shape:
        return layer
    source_axes = np.abs(rotation).argmax(axis=0)
    turned = layer.transpose(source_axes)
    target = np.zeros(shape, layer.dtype)
    into, out_of = [], []
    for axis, source in enumerate(source_axes):
        size, first = turned.shape[axis], -int(offset[source])
        if rotation[source, axis] < 0:
            turned = np.flip(turned, axis)
            first = int(offset[source]) - (size - 1)
        start, stop = max(first, 0), min(first + size, shape[axis])
        into.append(slice(start, max(stop, start)))
        out_of.append(slice(start - first, max(stop, start) - first))
    target[tuple(into)] = turned[tuple(out_of)]
    return target


def _resampled(layer: np.ndarray, to_source: np.ndarray, dimensions: tuple[int, int, int]) -> np.ndarray:
    """A layer (k, j, i) sampled at the nearest voxel of each of a grid's; 0 outside it."""
    from scipy import ndimage

    target = np.zeros(tuple(dimensions[::-1]), layer.dtype)
    box = _labeled_box((layer,))
    if box is None:
        return target
    # only where labels can come from: a whole 512 x 512 x 800 grid takes 20 s
    low, high = _extent(np.linalg.inv(to_source), *box)
    start = np.clip(np.floor(low), 0, dimensions).astype(int)
    stop = np.clip(np.ceil(high) + 1, start, dimensions).astype(int)
    part = tuple(slice(a, b) for a, b in zip(start[::-1], stop[::-1], strict=True))
    matrix, offset = to_source[:3, :3][::-1, ::-1], apply_affine(to_source, start)[0][::-1]
    shape = target[part].shape
    if 0 not in shape:
        target[part] = ndimage.affine_transform(
            layer, matrix, offset, shape, order=0, mode="grid-constant", prefilter=False
        )
    return target
