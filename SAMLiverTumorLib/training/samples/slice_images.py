"""Slice images to train on: slices of a case as the network sees them, whole or zoomed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.datasets.reference_prompts import SMALLEST_PX, evenly
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.plane import slice_count, slice_plane

# Smallest zoom: the lesion's extent times the first, but at least so many pixels.
_CLOSEST, _FEWEST_PX = 1.25, 48
# A lesion that a zoom cuts down to fewer pixels than this is no target of the zoomed image.
_KEPT_PX = 20


@dataclass(frozen=True, eq=False)
class SliceImage:
    """A slice as the network sees it, with its lesions and liver.

    :param case: the patient.
    :param index: voxel index of the slice along the volume's axial axis.
    :param name: patient, slice and copy, for messages.
    :param rgb: uint8 (rows, columns, 3).
    :param spacing: millimeters per pixel along (rows, columns).
    :param lesions: uint8 (rows, columns): 0 none, else the number of a lesion's 8-connected component.
    :param liver: bool (rows, columns); None if the labels have no liver.
    """

    case: str
    index: int
    name: str
    rgb: np.ndarray
    spacing: tuple[float, float]
    lesions: np.ndarray
    liver: np.ndarray | None

    @property
    def numbers(self) -> list[int]:
        """Numbers of the lesions."""
        return [int(n) for n in np.unique(self.lesions) if n]

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels and their spacing, not of where they came from."""
        digest = hashlib.sha256(repr((self.rgb.shape, np.round(self.spacing, 6).tolist())).encode())
        digest.update(np.ascontiguousarray(self.rgb))
        return digest.hexdigest()


def case_slice_images(
    case: Case, window: Window, negatives: int = 0, channels: str = "single", limit: int | None = None
) -> Iterator[SliceImage]:
    """Axial slices with tumor, in order, then slices of liver without tumor, evenly spread.

    :param negatives: maximum number of slices without tumor; there are none if the labels have no liver.
    :param limit: maximum number of slices with tumor, evenly spread.
    """
    with_tumor, without = [], []
    for index in range(slice_count(case.volume, "axial")):
        plane = slice_plane(case.volume, "axial", index)
        tumor = voxels_to_slice_mask(case.tumor, plane)
        if tumor.any():
            if components(tumor).any():
                with_tumor.append(index)
        elif case.liver is not None and np.count_nonzero(voxels_to_slice_mask(case.liver, plane)) >= SMALLEST_PX:
            without.append(index)
    for index in [*evenly(with_tumor, limit), *evenly(without, negatives)]:
        plane = slice_plane(case.volume, "axial", index)
        liver = None if case.liver is None else voxels_to_slice_mask(case.liver, plane).astype(bool)
        yield SliceImage(
            case.name,
            index,
            f"{case.name} slice {index}",
            plane_to_rgb(case.volume, plane, window, channels),
            plane.spacing[1::-1],
            components(voxels_to_slice_mask(case.tumor, plane)),
            liver,
        )


def components(tumor: np.ndarray, smallest: int = SMALLEST_PX) -> np.ndarray:
    """8-connected components of a bool image, numbered from the largest; those below `smallest` pixels are left out."""
    from scipy import ndimage

    labels, count = ndimage.label(tumor, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = [n for n in np.argsort(-sizes, kind="stable") if sizes[n] >= smallest][:255]
    number = np.zeros(count + 1, np.uint8)
    number[np.array(order, int) + 1] = np.arange(1, len(order) + 1)
    return number[labels]


def zoomed(image: SliceImage, rng: np.random.Generator) -> SliceImage:
    """A square part around one of the image's lesions; its side is log-uniform from just around it to the whole image.

    A network that sees lesions of one scale forgets the others: boxes around much larger ones then lose up to half
    their Dice. In a close zoom a lesion fills the image as a giant one would.
    """
    rows, columns = image.lesions.shape
    longest = min(rows, columns)
    if image.numbers:
        v, u = np.nonzero(image.lesions == rng.choice(image.numbers))
    elif image.liver is not None and image.liver.any():
        v, u = (np.array([axis[rng.integers(len(axis))]]) for axis in np.nonzero(image.liver))
    else:
        v, u = np.array([rows // 2]), np.array([columns // 2])
    extent = max(np.ptp(v), np.ptp(u)) + 1
    least = min(longest, max(_FEWEST_PX, int(np.ceil(_CLOSEST * extent))))
    side = int(np.exp(rng.uniform(np.log(least), np.log(longest))))
    side = min(max(side, least), longest)
    start = []
    for axis, length in ((v, rows), (u, columns)):
        low = max(0, int(axis.max()) + 1 - side)
        high = min(length - side, int(axis.min()))
        start.append(int(rng.integers(min(low, high), max(low, high) + 1)))
    return cropped(image, start[0], start[1], side)


def cropped(image: SliceImage, row: int, column: int, side: int) -> SliceImage:
    """The part of `side` x `side` pixels from a row and column; lesions that barely reach into it are dropped."""
    part = (slice(row, row + side), slice(column, column + side))
    lesions = image.lesions[part].copy()
    sizes = np.bincount(lesions.ravel(), minlength=256)
    lesions[np.isin(lesions, np.flatnonzero(sizes < _KEPT_PX))] = 0
    liver = None if image.liver is None else image.liver[part].copy()
    name = f"{image.name} part {row},{column},{side}"
    return replace(image, name=name, rgb=image.rgb[part].copy(), lesions=lesions, liver=liver)
