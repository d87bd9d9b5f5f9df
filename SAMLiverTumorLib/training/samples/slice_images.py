"""Pictures to train on: slices of a case as the network sees them, whole, zoomed and augmented."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.datasets.reference_prompts import SMALLEST_PX, evenly
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_picture
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.plane import slice_count, slice_plane

# How close a zoom goes: the lesion's own extent times this, and never fewer pixels than the second.
_CLOSEST, _FEWEST_PX = 1.25, 48
# A lesion that a zoom cuts down to less than this is dropped from the zoomed picture's targets.
_KEPT_PX = 20


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with its lesions.

    :param case: the patient.
    :param index: voxel index of the slice along the volume's axial axis.
    :param name: patient, slice and copy, for messages.
    :param rgb: uint8 (rows, columns, 3).
    :param spacing: millimeters per pixel along (rows, columns).
    :param lesions: uint8 (rows, columns): 0 none, else the number of a lesion's 8-connected component.
    :param liver: bool (rows, columns); None where the labels have no liver.
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
        """Names what the picture shows, not where it came from."""
        digest = hashlib.sha256(repr((self.rgb.shape, np.round(self.spacing, 6).tolist())).encode())
        digest.update(np.ascontiguousarray(self.rgb))
        return digest.hexdigest()


def case_pictures(
    case: Case, window: Window, negatives: int = 0, channels: str = "single", limit: int | None = None
) -> Iterator[Picture]:
    """Axial slices with tumor in order, then slices of liver without, evenly spread.

    :param negatives: at most so many slices without tumor; none of them where the labels have no liver.
    :param limit: at most so many slices with tumor, evenly spread.
    """
    with_tumor, without = [], []
    for index in range(slice_count(case.volume, "axial")):
        plane = slice_plane(case.volume, "axial", index)
        tumor = voxels_to_picture(case.tumor, plane)
        if tumor.any():
            if components(tumor).any():
                with_tumor.append(index)
        elif case.liver is not None and np.count_nonzero(voxels_to_picture(case.liver, plane)) >= SMALLEST_PX:
            without.append(index)
    for index in [*evenly(with_tumor, limit), *evenly(without, negatives)]:
        plane = slice_plane(case.volume, "axial", index)
        liver = None if case.liver is None else voxels_to_picture(case.liver, plane).astype(bool)
        yield Picture(
            case.name,
            index,
            f"{case.name} slice {index}",
            plane_to_rgb(case.volume, plane, window, channels),
            plane.spacing[1::-1],
            components(voxels_to_picture(case.tumor, plane)),
            liver,
        )


def components(tumor: np.ndarray, smallest: int = SMALLEST_PX) -> np.ndarray:
    """8-connected components of a bool picture by number, largest first; those below `smallest` pixels are left out."""
    from scipy import ndimage

    labels, count = ndimage.label(tumor, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = [n for n in np.argsort(-sizes, kind="stable") if sizes[n] >= smallest][:255]
    number = np.zeros(count + 1, np.uint8)
    number[np.array(order, int) + 1] = np.arange(1, len(order) + 1)
    return number[labels]


def zoomed(picture: Picture, rng: np.random.Generator) -> Picture:
    """A square part of a picture that holds one of its lesions, from just around it to the whole, log-uniformly.

    A network that saw lesions of one scale only forgets the others: boxes around much larger ones then lose up to half
    their Dice. Close to a lesion it fills the picture as a giant one would.
    """
    rows, columns = picture.lesions.shape
    longest = min(rows, columns)
    if picture.numbers:
        v, u = np.nonzero(picture.lesions == rng.choice(picture.numbers))
    elif picture.liver is not None and picture.liver.any():
        v, u = (np.array([axis[rng.integers(len(axis))]]) for axis in np.nonzero(picture.liver))
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
    return cropped(picture, start[0], start[1], side)


def cropped(picture: Picture, row: int, column: int, side: int) -> Picture:
    """The part of `side` x `side` pixels from a row and column; lesions that hardly reach into it are dropped."""
    part = (slice(row, row + side), slice(column, column + side))
    lesions = picture.lesions[part].copy()
    sizes = np.bincount(lesions.ravel(), minlength=256)
    lesions[np.isin(lesions, np.flatnonzero(sizes < _KEPT_PX))] = 0
    liver = None if picture.liver is None else picture.liver[part].copy()
    name = f"{picture.name} part {row},{column},{side}"
    return replace(picture, name=name, rgb=picture.rgb[part].copy(), lesions=lesions, liver=liver)
