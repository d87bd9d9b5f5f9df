"""`Volume`: voxels and their position in the patient, independent of Slicer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from SAMLiverTumorLib.errors import InputError, printable

# CT numbers of fat (about -100) and of air (-1000) occur in every abdominal CT, so a volume without
# any voxel below this is not in Hounsfield units (8-bit grey, MR, CT without its rescale applied).
_HU_MINIMUM_SEEN_IN_CT = -50.0


class VoxelGrid(Protocol):
    """Where voxels lie in the patient, whatever they hold."""

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Number of voxels along (i, j, k)."""
        ...

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """4x4 affine from voxel indices (i, j, k) to world RAS (mm)."""
        ...


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image volume.

    :param array: voxels, shape (k, j, i) as numpy and Slicer order them. Kept as a read-only view:
        nothing is copied and nothing here can change the source.
    :param ijk_to_ras: 4x4 affine from voxel indices (i, j, k), integers at voxel centers, to world
        RAS in millimeters, parent transforms included.
    :param name: the volume's name in messages.
    :raises InputError: not a three-dimensional scalar volume, NaN or infinite voxels, or a singular
        affine (zero spacing, parallel axes).

    >>> volume = Volume(np.zeros((20, 64, 64), np.int16), np.diag([0.8, 0.8, 5.0, 1.0]), "CT")
    >>> volume.dimensions, volume.spacing
    ((64, 64, 20), (0.8, 0.8, 5.0))
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "volume"

    def __post_init__(self) -> None:
        # names of files may hold bytes that neither MRML nor a report can
        object.__setattr__(self, "name", printable(self.name))
        array = np.asarray(self.array)
        if array.ndim != 3:
            raise InputError(
                f"'{self.name}' has {array.ndim} array dimensions {array.shape}; a three-dimensional scalar "
                "volume is needed (a color or time series image has to be split first)."
            )
        if array.dtype.kind not in "iuf":
            raise InputError(f"'{self.name}' has voxels of type {array.dtype}; integers or floats are needed.")
        if min(array.shape) < 1:
            raise InputError(f"'{self.name}' is empty: {array.shape[::-1]} voxels.")
        affine = np.array(self.ijk_to_ras, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"'{self.name}' has no usable position in the patient (its affine is {affine.tolist()}).")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if (spacing < 1e-6).any() or abs(np.linalg.det(affine[:3, :3] / np.maximum(spacing, 1e-12))) < 1e-3:
            raise InputError(
                f"'{self.name}' has spacing {tuple(np.round(spacing, 6).tolist())} mm and axes that do not span space; "
                "correct the spacing and directions in its header."
            )
        view = array.view()
        view.flags.writeable = False
        affine.flags.writeable = False
        object.__setattr__(self, "array", view)
        object.__setattr__(self, "ijk_to_ras", affine)
        if array.dtype.kind == "f" and not np.isfinite(self.intensity_range).all():
            raise InputError(
                f"'{self.name}' has NaN or infinite voxels; replace them (for example with -1024) before segmenting."
            )

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Number of voxels along (i, j, k)."""
        k, j, i = self.array.shape
        return i, j, k

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centers along (i, j, k), in millimeters."""
        i, j, k = (float(x) for x in np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0))
        return i, j, k

    @cached_property
    def ras_to_ijk(self) -> np.ndarray:
        """4x4 affine from world RAS (mm) to continuous voxel indices."""
        return np.linalg.inv(self.ijk_to_ras)

    @cached_property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in milliliters."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    @cached_property
    def intensity_range(self) -> tuple[float, float]:
        """Minimum and maximum of the voxel values; NaN if any voxel is NaN."""
        return float(self.array.min()), float(self.array.max())

    @cached_property
    def looks_like_hounsfield(self) -> bool:
        """Whether the values can be CT numbers: some voxel is as dark as fat or air."""
        low, high = self.intensity_range
        return low < _HU_MINIMUM_SEEN_IN_CT and high - low > 50.0

    @cached_property
    def voxel_hash(self) -> str:
        """SHA-256 of voxels, shape, type and affine: identifies the volume's content, not its file.

        The affine is rounded to a hundredth of a micrometer, since files store it in limited precision.
        """
        digest = hashlib.sha256(repr((self.array.shape, self.array.dtype.str)).encode())
        # adding zero turns -0 into 0
        digest.update(np.ascontiguousarray(np.round(self.ijk_to_ras, 5) + 0.0).tobytes())
        digest.update(np.ascontiguousarray(self.array).data)
        return digest.hexdigest()


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points of shape (n, 3) through a 4x4 affine; the result has shape (n, 3)."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]
