"""Plans of synthetic tumors: their places in a healthy liver, and their appearance.

After Q. Hu et al., "Label-Free Liver Tumor Segmentation", CVPR 2023: places away from vessels, ellipsoids of all
sizes, elastic deformation, texture, mass effect, capsule. The ranges come from 94 real tumors of at least 0.1 ml in
LiTS cases 0 to 3, 5 to 7 and 117 (`Testing/tumor_statistics.py`, 2026-11-25; quantiles 10, 50 and 90 %, in brackets
those of the 25 tumors of at least 1 ml):

===================================  ====================  =======================
contrast to the liver, HU            -64, -50, -32         (-67, -56, -49)
standard deviation inside, HU        12, 16, 24            (14, 21, 28)
standard deviation around, HU        12, 16, 23            (13, 17, 28)
blotches beyond that noise, HU       none, 4, 12           (none, 7, 13)
sigma of the edge, mm                0.7, 1.0, 1.8         (1.0, 1.5, 2.0)
rim 1 to 4 mm outside, HU            -8, -3, 1             (-10, -5, 0)
longest semi-axis to the middle one  1.09, 1.25, 1.63      (1.04, 1.20, 1.61)
shortest to the middle one           0.68, 0.85, 0.95      (0.66, 0.83, 0.96)
===================================  ====================  =======================

So a tumor is as noisy as its liver, and a bright rim is rare in the portal venous phase. The share of capsules, the
size of blotches and the mass effect are choices, not measurements. Tumors painted into the same eight livers
(`--synthetic`, same quantiles): contrast -65, -52, -40 (-68, -53, -42), blotches none, 2, 9 (none, 4, 11), edge 0.5,
1.0, 2.0 (0.7, 1.3, 2.0), rim -9, -4, 2 (-11, -5, 1), longest axis 1.09, 1.23, 1.44, shortest 0.72, 0.84, 0.92.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import bounding_box
from SAMLiverTumorLib.training.synthetic.healthy_liver import find_large_vessels, find_vessels, measure
from SAMLiverTumorLib.volume import Volume

SMALLEST_RADIUS_MM = 3.0
_SMALLEST_ML = 4.0 / 3.0 * np.pi * SMALLEST_RADIUS_MM**3 / 1000.0
# Range of each size class in ml; the largest class ends at a third of the liver.
SIZES = {
    "tiny": (_SMALLEST_ML, 1.0),
    "small": (1.0, 10.0),
    "medium": (10.0, 100.0),
    "giant": (100.0, np.inf),
}
_LARGEST_SHARE_OF_LIVER = 1.0 / 3.0

# Places are searched on a grid of about this spacing (mm).
_GRID_MM = 2.2
# Random places tried for each volume, and the factor on the volume if none fits.
_TRIES = 40
_SHRINK = 0.75
# Smallest share of a tumor that lies in tissue: the surface or large vessels cut off the rest.
_FREE_SHARE = 0.9
# Room between two tumors, as a factor on the radii and in millimeters: for deformation, soft edges and some liver.
_ROOM, _GAP_MM = 1.3, 4.0


@dataclass(frozen=True)
class TumorPlan:
    """A tumor to paint. Angles in radians, intensities in HU, lengths in millimeters along the volume's axes.

    :param center: voxel index (k, j, i), may be fractional.
    :param radii_mm: semi-axes of the ellipsoid, before `rotation` along (k, j, i).
    :param rotation: rotation vector in millimeter coordinates (k, j, i).
    :param hu_offset: intensity of its core minus that of the healthy liver around it; negative is darker.
    :param blotch_hu: standard deviation of blotches beyond the liver's own noise.
    :param blotch_mm: their smoothness (sigma).
    :param edge_mm: sigma of the error function that leads from liver to tumor.
    :param elastic: elastic displacement, relative to the mean radius.
    :param mass_effect: displacement of the liver at the border, relative to the tumor's radius; 0 to 0.5.
    :param capsule: whether a bright shell encloses it.
    """

    center: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hu_offset: float = -55.0
    blotch_hu: float = 6.0
    blotch_mm: float = 3.0
    edge_mm: float = 1.2
    elastic: float = 0.12
    mass_effect: float = 0.1
    capsule: bool = False

    @property
    def volume_ml(self) -> float:
        """Volume in milliliters, before the liver surface and large vessels cut parts off."""
        return float(4.0 / 3.0 * np.pi * np.prod(self.radii_mm)) / 1000.0

    @property
    def reach_mm(self) -> float:
        """Voxels whose center lies farther than this from the tumor's center do not change."""
        return 1.7 * max(self.radii_mm) + 4.0 * self.edge_mm


def plan_tumors(
    volume: Volume,
    liver: np.ndarray,
    rng: np.random.Generator,
    count: int | None = None,
    sizes: Sequence[str] = tuple(SIZES),
    hu_per_level: float = 1.0,
) -> list[TumorPlan]:
    """Choose tumors for a liver; the same state of `rng` gives the same plans.

    Centers lie in liver outside vessels, and tumors do not touch. A tumor that finds no place shrinks until it does, so
    a small liver gets smaller tumors than asked for, and fewer if even the smallest finds no place.

    :param liver: bool (k, j, i), healthy liver: without real tumors.
    :param count: number of tumors; None for one of each size.
    :param sizes: names from `SIZES`; each is used once before any is used twice.
    :param hu_per_level: HU per level of the voxels' values: 1 for CT in HU, 400 / 255 for 8-bit grey of a window 400 HU
        wide.
    :return: plans, the largest tumor first.
    :raises InputError: unknown size, or the mask is empty, has another shape, or has no room for a single tumor.

    >>> plans = plan_tumors(ct, labels == 1, np.random.default_rng(1), count=2, sizes=["small"])  # doctest: +SKIP
    """
    check_liver(volume, liver)
    if not sizes or (unknown := [size for size in sizes if size not in SIZES]):
        raise InputError(
            f"Unknown tumor size {', '.join(map(repr, unknown)) if sizes else '(none)'}; use {list(SIZES)}."
        )
    site = _Site.of(volume, liver, hu_per_level)
    count = len(sizes) if count is None else count
    order = [size for _ in range(-(-count // len(sizes))) for size in rng.permutation(np.array(sizes))][:count]
    most = np.count_nonzero(liver) * volume.voxel_volume_ml * _LARGEST_SHARE_OF_LIVER
    wanted = sorted((_draw_ml(*SIZES[str(size)], most, rng) for size in order), reverse=True)
    plans = [plan for ml in wanted if (plan := site.place(ml, rng)) is not None]
    if count and not plans:
        raise InputError(
            f"'{volume.name}' has no place for a tumor of {SMALLEST_RADIUS_MM:g} mm radius in its liver mask "
            f"({np.count_nonzero(liver) * volume.voxel_volume_ml:.2f} ml); use a larger liver."
        )
    return plans


def check_liver(volume: Volume, liver: np.ndarray) -> None:
    """Raise InputError if a liver mask is empty or has another shape than the volume."""
    if liver.shape != volume.array.shape or liver.dtype != bool:
        raise InputError(
            f"The liver mask is {liver.dtype} {liver.shape}; '{volume.name}' needs bool of shape {volume.array.shape}."
        )
    if not liver.any():
        raise InputError(f"The liver mask of '{volume.name}' is empty; a synthetic tumor needs liver to grow in.")


@dataclass(frozen=True, eq=False)
class _Site:
    """The liver on a coarse grid of blocks of voxels.

    :param first, step: voxel index (k, j, i) at the center of the first block, and voxels from block to block.
    :param spacing: millimeters between blocks along (k, j, i).
    :param open: bool, liver outside large vessels, which a tumor may fill.
    :param depth: millimeters to the nearest block that is not open; 0 in vessels of all sizes, where no center may lie.
    :param taken: bool, blocks of planned tumors and the gap around them; updated with each tumor.
    """

    first: np.ndarray
    step: np.ndarray
    spacing: np.ndarray
    open: np.ndarray
    depth: np.ndarray
    taken: np.ndarray

    @classmethod
    def of(cls, volume: Volume, liver: np.ndarray, hu_per_level: float) -> _Site:
        """Average the liver in blocks and find its vessels there, which is far faster than in all voxels."""
        step = np.array([max(round(_GRID_MM / size), 1) for size in volume.spacing[::-1]])
        spacing = step * np.array(volume.spacing[::-1])
        box = bounding_box(liver)
        whole = [(0, -(s.stop - s.start) % f) for s, f in zip(box, step, strict=True)]
        here = np.pad(liver[box], whole)
        grey = np.where(here, np.pad(volume.array[box], whole), 0).astype(np.float32) * np.float32(hu_per_level)
        share = _block_means(here.astype(np.float32), step)
        # a tumor's center is a voxel, so the block's center must be liver as well
        inside = (share >= 0.5) & here[tuple(slice(f // 2, None, f) for f in step)]
        first = np.array([s.start for s in box]) + step // 2
        if not inside.any():
            return cls(first, step, spacing, inside, np.zeros(inside.shape), np.zeros_like(inside))
        grey = np.divide(_block_means(grey, step), share, out=np.zeros_like(share), where=inside)
        vessels = find_vessels(measure(grey, inside, tuple(spacing)), inside, float(spacing.prod()) / 1000.0)
        tissue = inside & ~find_large_vessels(vessels, tuple(spacing))
        depth = ndimage.distance_transform_edt(np.pad(tissue, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        return cls(first, step, spacing, tissue, np.where(vessels, 0.0, depth), np.zeros_like(inside))

    def place(self, ml: float, rng: np.random.Generator) -> TumorPlan | None:
        """Find a place for a tumor of this volume or less, and mark it as taken; None if there is none."""
        ball = _points_in_ball(rng)
        while ml >= _SMALLEST_ML * 0.999:
            radii, rotation = draw_shape(ml, rng)
            turned = Rotation.from_rotvec(rotation).as_matrix()
            nodes = np.flatnonzero((self.depth > 0.6 * radii.min()) & ~self.taken)
            for number in nodes[rng.integers(len(nodes), size=_TRIES)] if len(nodes) else ():
                node = np.array(np.unravel_index(number, self.open.shape))
                points = np.rint(node + (ball * radii) @ turned.T / self.spacing).astype(int)
                known = tuple(points[((points >= 0) & (points < self.open.shape)).all(axis=1)].T)
                enough = np.count_nonzero(self.open[known]) >= _FREE_SHARE * len(ball)
                if enough and not self.taken[known].any():
                    self._take(node, radii, turned)
                    return _draw_look(tuple((self.first + node * self.step).tolist()), radii, rotation, rng)
            ml *= _SHRINK
        return None

    def _take(self, node: np.ndarray, radii: np.ndarray, turned: np.ndarray) -> None:
        """Mark the ellipsoid as taken, grown by the room for deformation and the gap."""
        k, j, i = np.ogrid[tuple(slice(0, n) for n in self.open.shape)]
        away = np.stack(np.broadcast_arrays(*(a - c for a, c in zip((k, j, i), node, strict=True))), axis=-1)
        along = (away * self.spacing) @ turned / (_ROOM * radii + _GAP_MM)
        self.taken[np.square(along).sum(axis=-1) < 1.0] = True


def _block_means(array: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Means of blocks of `step` voxels (k, j, i) in an array that consists of whole blocks."""
    for axis, count in enumerate(step):
        blocks = (slice(None),) * axis
        array = sum(array[(*blocks, slice(n, None, count))] for n in range(count)) / np.float32(count)
    return array


def _points_in_ball(rng: np.random.Generator, count: int = 600) -> np.ndarray:
    """Random points of the unit ball, (count, 3)."""
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * np.cbrt(rng.random((count, 1)))


def _draw_ml(low: float, high: float, most: float, rng: np.random.Generator) -> float:
    """A volume of a class, log-uniform; its lower end allows for parts that are cut off."""
    high = min(high, most)
    low = min(low / (_FREE_SHARE - 0.1), high)
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if high > low else high


def draw_shape(ml: float, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Semi-axes (mm) and rotation of an ellipsoid of this volume."""
    radii = np.array([rng.uniform(1.0, 1.45), 1.0, rng.uniform(0.72, 1.0)])
    radii *= np.cbrt(ml * 1000.0 / (4.0 / 3.0 * np.pi * radii.prod()))
    return radii, tuple(Rotation.from_quat(rng.standard_normal(4)).as_rotvec().tolist())


def _draw_look(center, radii: np.ndarray, rotation, rng: np.random.Generator) -> TumorPlan:
    """The rest of a plan, distributed as in real tumors, see the module's docstring."""
    mean = float(np.cbrt(radii.prod()))
    return TumorPlan(
        center=tuple(float(x) for x in center),
        radii_mm=tuple(radii.tolist()),
        rotation=rotation,
        hu_offset=float(np.clip(rng.normal(-57.0, 10.0), -90.0, -20.0)),
        blotch_hu=float(min(abs(rng.normal(0.0, 11.0)), 18.0)),
        blotch_mm=float(np.clip(mean * rng.uniform(0.15, 0.4), 1.5, 6.0)),
        # an edge wider than a third of the radius would leave a small tumor no core
        edge_mm=float(min(np.exp(rng.normal(np.log(1.4), 0.35)), mean / 3.0)),
        elastic=float(rng.uniform(0.06, 0.22)),
        mass_effect=float(rng.uniform(0.0, 0.25)),
        capsule=bool(rng.random() < 0.1),
    )
