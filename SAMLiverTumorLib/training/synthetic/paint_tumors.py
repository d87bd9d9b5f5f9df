"""Tumors painted into healthy liver, so that a network can be trained without outlined tumors.

The recipe follows the published description of Q. Hu et al., "Label-Free Liver Tumor Segmentation", CVPR 2023: an
ellipsoid, deformed elastically, filled with blurred noise at an offset from the liver, with a soft edge and sometimes
a bright capsule, that pushes the surrounding liver outwards. Two things differ. All lengths are in millimeters, so
tumors are round in anisotropic voxels too. The grain in the tumor is the scan's own, including the reconstruction's
streaks, since real tumors are as noisy as their liver (see `tumor_plan`).

Plan and paint::

    rng = np.random.default_rng(7)
    plans = plan_tumors(ct, labels == 1, rng, count=3)
    voxels, tumor = paint(ct, labels == 1, plans, rng)

Run time grows with the boxes around the tumors, not with the volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special
from scipy.spatial.transform import Rotation

from SAMLiverTumorLib.evaluation.metrics.lesion_matching import bounding_box
from SAMLiverTumorLib.image.lesion_components import label_lesions
from SAMLiverTumorLib.training.synthetic.healthy_liver import (
    GRAIN_MM,
    HealthyLiver,
    find_large_vessels,
    find_vessels,
    measure,
)
from SAMLiverTumorLib.training.synthetic.smooth_noise import smooth_noise
from SAMLiverTumorLib.training.synthetic.tumor_plan import SIZES, TumorPlan, check_liver, plan_tumors
from SAMLiverTumorLib.volume import Volume

__all__ = ["SIZES", "TumorPlan", "paint", "plan_tumors"]

# The elastic deformation: (smoothness relative to the mean radius, weight), for lobes and for an irregular outline.
_ELASTIC = ((0.45, 0.87), (0.18, 0.5))
# The liver moves within this many radii.
_PUSHED = 1.6
# The liver moves by at most this share of its distance to the surface, so that nothing outside the liver moves.
_MOST_OF_DEPTH = 0.5
# The capsule: HU above the liver, distance of its center outside the border, sigma.
_CAPSULE_HU, _CAPSULE_AT_MM, _CAPSULE_SIGMA_MM = 30.0, 1.5, 0.8
# Grain is clipped at so many standard deviations: anything brighter is a vessel, which the tumor replaces.
_GRAIN_SDS = 2.5

Box = tuple[slice, slice, slice]


def paint(
    volume: Volume,
    liver: np.ndarray,
    plans: Sequence[TumorPlan],
    rng: np.random.Generator,
    hu_per_level: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint tumors into a volume; the same plans and state of `rng` give the same bytes.

    Voxels outside the liver, or farther from all centers than their `TumorPlan.reach_mm`, keep their values. A
    tumor's mask leaves out large vessels and everything outside the liver, and keeps its largest connected part.

    :param liver: bool (k, j, i), healthy liver.
    :param hu_per_level: HU per level of the voxels' values, see `plan_tumors`.
    :return: voxels of the volume's shape and type, within its range of values; bool mask of all tumors.
    :raises InputError: the mask is empty or of another shape, or a tumor has no liver around it.
    """
    check_liver(volume, liver)
    voxels, tumor = volume.array.copy(), np.zeros(liver.shape, bool)
    spacing = volume.spacing[::-1]
    least, most = volume.intensity_range
    around = bounding_box(liver)
    for plan in plans:
        frame = _Frame.of(plan, spacing, around)
        shape = _Shape.of(plan, frame, rng)
        here = liver[frame.box]
        before = voxels[frame.box].astype(np.float32) * np.float32(hu_per_level)
        after, mask = _paint_one(before, here & ~tumor[frame.box], plan, frame, shape, rng)
        changed = here & (np.abs(after - before) > 1e-3)
        levels = np.clip(after[changed] / hu_per_level, least, most)
        if voxels.dtype.kind in "iu":
            levels = np.rint(levels)
        voxels[frame.box][changed] = levels.astype(voxels.dtype)
        tumor[frame.box] |= mask & here
    return voxels, tumor


@dataclass(frozen=True, eq=False)
class _Frame:
    """The box of all voxels that a tumor may change.

    :param whole: size (k, j, i) of the box as if the volume had no border.
    :param inside: the part of it that may contain liver.
    :param box: that part in the volume's voxels.
    :param offsets: millimeters from the center along each axis of the whole box, broadcastable.
    """

    whole: tuple[int, int, int]
    inside: Box
    box: Box
    offsets: tuple[np.ndarray, np.ndarray, np.ndarray]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, plan: TumorPlan, spacing: tuple[float, float, float], around: Box) -> _Frame:
        """Box of a plan, clipped to the box around the liver."""
        first = [int(np.floor(c - plan.reach_mm / s)) for c, s in zip(plan.center, spacing, strict=True)]
        last = [int(np.ceil(c + plan.reach_mm / s)) + 1 for c, s in zip(plan.center, spacing, strict=True)]
        starts = [min(max(a, s.start), s.stop) for a, s in zip(first, around, strict=True)]
        stops = [max(min(b, s.stop), a) for a, b, s in zip(starts, last, around, strict=True)]
        axes = (
            ((np.arange(a, b) - c) * s).astype(np.float32)
            for a, b, c, s in zip(first, last, plan.center, spacing, strict=True)
        )
        inside = tuple(slice(a - f, b - f) for a, b, f in zip(starts, stops, first, strict=True))
        box = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
        whole = tuple(b - a for a, b in zip(first, last, strict=True))
        return cls(whole, inside, box, np.meshgrid(*axes, indexing="ij", sparse=True), spacing)


@dataclass(frozen=True, eq=False)
class _Shape:
    """A deformed ellipsoid within the volume; float32 (k, j, i) each.

    :param radius: distance from the center relative to that of the border: 1 on the border.
    :param depth: millimeters to the border, positive inside, to first order.
    :param reached: bool, voxels within the plan's reach.
    """

    radius: np.ndarray
    depth: np.ndarray
    reached: np.ndarray

    @classmethod
    def of(cls, plan: TumorPlan, frame: _Frame, rng: np.random.Generator) -> _Shape:
        """Deform the plan's ellipsoid and scale it back to its volume."""
        mean = float(np.cbrt(np.prod(plan.radii_mm)))
        moved = []
        for offset in frame.offsets:
            noise = sum(w * smooth_noise(frame.whole, frame.spacing, sigma * mean, rng) for sigma, w in _ELASTIC)
            # tanh, since rare large values would tear the shape
            moved.append(offset + 2.0 * plan.elastic * mean * np.tanh(0.5 * noise))
        to_ball = (Rotation.from_rotvec(plan.rotation).as_matrix() / plan.radii_mm).T.astype(np.float32)
        radius = np.sqrt(sum(np.square(row[0] * moved[0] + row[1] * moved[1] + row[2] * moved[2]) for row in to_ball))
        wanted = plan.volume_ml * 1000.0 / float(np.prod(frame.spacing))
        wanted = min(max(round(wanted), 1), radius.size - 1)
        radius /= max(float(np.partition(radius.ravel(), wanted)[wanted]), 1e-6)
        slope = np.sqrt(sum(np.square(d) for d in np.gradient(radius, *frame.spacing)))
        depth = (1.0 - radius) / np.maximum(slope, 0.3 / max(plan.radii_mm))
        reached = sum(np.square(offset) for offset in frame.offsets) <= plan.reach_mm**2
        return cls(radius[frame.inside], depth[frame.inside], reached[frame.inside])


def _paint_one(
    grey: np.ndarray, liver: np.ndarray, plan: TumorPlan, frame: _Frame, shape: _Shape, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Intensity (HU, float32) of the frame's box with the tumor, and its mask."""
    spacing = frame.spacing
    grey = _pushed(grey, liver, plan, frame, shape)
    healthy = measure(grey, liver, spacing)
    blocked = find_large_vessels(find_vessels(healthy, liver, float(np.prod(spacing)) / 1000.0), spacing)
    mask = (shape.depth > 0) & liver & ~blocked & shape.reached
    mask, dropped = _largest_part(mask)
    weight = special.ndtr(shape.depth / np.float32(plan.edge_mm)) * shape.reached
    if dropped.any():
        _leave_out(weight, mask, dropped, 4.0 * plan.edge_mm, spacing)
    # at the surface a voxel is only partly liver
    surface = np.minimum(healthy.share / 0.8, 1.0)
    if blocked.any():
        surface *= 1.0 - ndimage.gaussian_filter(blocked.astype(np.float32), [0.5 / s for s in spacing])
        surface[blocked] = 0.0
    filling = _filling(healthy, mask, plan, frame, rng)
    grain = grey - healthy.smooth
    cut = np.minimum(grain, _GRAIN_SDS * healthy.grain)
    new = grey + weight * surface * (filling - healthy.smooth + cut - grain)
    if plan.capsule:
        shell = np.exp(-0.5 * ((shape.depth + _CAPSULE_AT_MM) / _CAPSULE_SIGMA_MM) ** 2)
        new += _CAPSULE_HU * shell * surface * shape.reached
    return np.where(liver, new, grey), mask


def _filling(
    healthy: HealthyLiver, mask: np.ndarray, plan: TumorPlan, frame: _Frame, rng: np.random.Generator
) -> np.ndarray:
    """Smooth intensity of the tumor: the offset, with new low-frequency noise like the liver's, and blotches."""
    noise = smooth_noise(frame.whole, frame.spacing, GRAIN_MM, rng)[frame.inside]
    blotches = smooth_noise(frame.whole, frame.spacing, plan.blotch_mm, rng)[frame.inside]
    texture = healthy.spread * noise + plan.blotch_hu * blotches
    if mask.any():
        # a tumor has few blotches, which would shift its mean away from the offset
        texture -= texture[mask].mean()
    return healthy.median + plan.hu_offset + texture


def _pushed(grey: np.ndarray, liver: np.ndarray, plan: TumorPlan, frame: _Frame, shape: _Shape) -> np.ndarray:
    """Intensity after the tumor has pushed the liver away from its center: most at the border, not at all far away."""
    if plan.mass_effect <= 0:
        return grey
    mean = float(np.cbrt(np.prod(plan.radii_mm)))
    q = shape.radius
    push = np.where(q < 1, q, np.square(np.clip((_PUSHED - q) / (_PUSHED - 1), 0, 1)))
    push *= plan.mass_effect * mean
    room = ndimage.distance_transform_edt(np.pad(liver, 1), sampling=frame.spacing)[1:-1, 1:-1, 1:-1]
    push = np.minimum(push, _MOST_OF_DEPTH * room) * shape.reached
    moves = np.nonzero(push > 0.02)
    offsets = [
        axis[(slice(None),) * n + (part,) + (slice(None),) * (2 - n)].ravel()[index]
        for n, (axis, part, index) in enumerate(zip(frame.offsets, frame.inside, moves, strict=True))
    ]
    distance = np.maximum(np.sqrt(sum(np.square(offset) for offset in offsets)), 1e-3)
    share = push[moves] / distance
    source = [index - share * offset / size for index, offset, size in zip(moves, offsets, frame.spacing, strict=True)]
    new = grey.copy()
    # interpolation must not mix in voxels outside the liver
    inner = np.where(liver, grey, np.median(grey[liver]))
    # cubic, since linear interpolation would smooth the grain
    new[moves] = ndimage.map_coordinates(inner, source, order=3, mode="nearest")
    return new


def _leave_out(
    weight: np.ndarray, mask: np.ndarray, dropped: np.ndarray, around_mm: float, spacing: tuple[float, float, float]
) -> None:
    """Set the weight to 0, in place, where a dropped part of the tumor is nearer than its mask."""
    pad = [int(np.ceil(around_mm / size)) for size in spacing]
    box = tuple(slice(max(s.start - n, 0), s.stop + n) for s, n in zip(bounding_box(dropped), pad, strict=True))
    to_dropped = ndimage.distance_transform_edt(~dropped[box], sampling=spacing)
    to_mask = ndimage.distance_transform_edt(~mask[box], sampling=spacing) if mask[box].any() else np.inf
    weight[box][to_dropped < to_mask] = 0.0


def _largest_part(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest component of a mask, and the rest."""
    labels, count = label_lesions(mask)
    if count < 2:
        return mask, np.zeros_like(mask)
    largest = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    return largest, mask & ~largest
