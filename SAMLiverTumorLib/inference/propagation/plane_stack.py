"""`PlaneStack`: parallel planes one step apart, through which a mask is propagated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.plane import Plane, slice_at, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume, apply_affine


@dataclass(frozen=True, eq=False)
class PlaneStack:
    """The planes of one orientation, by index.

    Straight slices have the volume's own voxel index. Oblique planes count steps along the normal from the base plane,
    which has index 0. The step is the one of `oblique_plane`: every voxel belongs to exactly one plane, so that masks
    leave no holes. All planes of an oblique stack have the base plane's pixel grid.

    :param volume: the volume.
    :param orientation: "axial", "coronal", "sagittal" or "oblique".
    :param base: the plane of index 0 of an oblique stack; None for a straight one.

    >>> volume = Volume(np.zeros((20, 64, 64), np.int16), np.diag([0.8, 0.8, 5.0, 1.0]), "CT")
    >>> stack = PlaneStack(volume, "axial")
    >>> stack.last, stack.up, stack.step_mm
    (19, 1, 5.0)
    """

    volume: Volume
    orientation: str
    base: Plane | None = None

    @classmethod
    def through(cls, volume: Volume, plane: Plane) -> PlaneStack:
        """The stack that a plane belongs to, straight or oblique."""
        return cls(volume, plane.name, plane if plane.axis is None else None)

    def plane(self, index: int) -> Plane:
        """The plane at an index from `first` to `last`."""
        if self.base is None:
            return slice_plane(self.volume, self.orientation, index)
        move = np.eye(4)
        move[2, 3] = index
        return Plane(self.base.name, self.base.to_ijk @ move, self.base.to_ras @ move, self.base.shape)

    @cached_property
    def first(self) -> int:
        """Least index of a plane that cuts the volume."""
        return 0 if self.base is None else int(np.ceil(self._reach[0] - 1e-6))

    @cached_property
    def last(self) -> int:
        """Greatest index of a plane that cuts the volume."""
        if self.base is None:
            return slice_count(self.volume, self.orientation) - 1
        return int(np.floor(self._reach[1] + 1e-6))

    @cached_property
    def up(self) -> int:
        """Change of the index, 1 or -1, that leads along the normal: superior, anterior or right."""
        plane = self.plane(0)
        return 1 if plane.axis is None or plane.to_ijk[plane.axis, 2] > 0 else -1

    @cached_property
    def step_mm(self) -> float:
        """Distance between neighboring planes in millimeters."""
        return self.plane(0).spacing[2]

    def holds(self, index: int) -> bool:
        """Whether there is a plane of this index."""
        return self.first <= index <= self.last

    def index_at(self, point_ras: np.ndarray) -> int:
        """Index of the plane nearest to a world point (mm).

        :raises PromptError: the point lies outside the volume.
        """
        if self.base is None:
            return slice_at(self.volume, self.orientation, point_ras).index
        # as everywhere, a point halfway belongs to the plane farther along the normal
        index = int(np.floor(self.base.from_ras(point_ras)[0, 2] + 0.5 + 1e-6))
        if not self.holds(index):
            r, a, s = np.asarray(point_ras, float).reshape(3)
            raise PromptError(f"Point R {r:.1f}, A {a:.1f}, S {s:.1f} mm lies outside '{self.volume.name}'.")
        return index

    def slice_mask_of(self, array: np.ndarray, plane: Plane) -> np.ndarray:
        """Section of a mask with a plane of the stack: bool (k, j, i) of the volume to bool (rows, columns)."""
        if plane.axis is not None:
            return voxels_to_slice_mask(array, plane)
        rows, columns = plane.shape
        v, u = np.mgrid[:rows, :columns]
        uvw = np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], axis=1)
        ijk = np.rint(apply_affine(plane.to_ijk, uvw)).astype(int)
        inside = ((ijk >= 0) & (ijk < self.volume.dimensions)).all(axis=1)
        slice_mask = np.zeros(u.size, bool)
        slice_mask[inside] = array[tuple(ijk[inside, ::-1].T)]
        return slice_mask.reshape(plane.shape)

    @property
    def _reach(self) -> tuple[float, float]:
        """Least and greatest height of the volume above the base plane, in steps."""
        corners = np.array(list(product(*((-0.5, size - 0.5) for size in self.volume.dimensions))))
        heights = apply_affine(np.linalg.inv(self.base.to_ijk), corners)[:, 2]
        return float(heights.min()), float(heights.max())
