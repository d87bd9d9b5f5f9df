"""The passes of an ensemble besides the one the user prompted: the same tumor on planes of other orientations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.mask_geometry import area_mm2
from SAMLiverTumorLib.image.sampling import voxels_to_picture
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.merge_directions import reconciled
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import Propagation, SlicePropagation
from SAMLiverTumorLib.inference.propagation.slice_step import Follower, Limits, Trail
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.plane import ORIENTATIONS, Plane


@dataclass(frozen=True)
class Ensemble:
    """Which passes are combined with the first one.

    :param orientations: planes to look at the result on; the first pass's own counts as done.
    :param every_mm: distance of the planes of another orientation; probabilities between them are interpolated.
    :raises InputError: an orientation or distance that cannot be.
    """

    orientations: tuple[str, ...] = ()
    every_mm: float = 2.0

    def __post_init__(self) -> None:
        for name in self.orientations:
            if name not in ORIENTATIONS:
                raise InputError(f"Unknown orientation '{name}'; choose from {', '.join(ORIENTATIONS)}.")
        if not self.every_mm > 0:
            raise InputError("An ensemble needs a distance of planes above 0 mm.")


def further_passes(
    first: Propagation,
    ensemble: Ensemble,
    pool: PredictorPool,
    settings: Settings,
    rules: PropagationRules,
    limits: Limits | None = None,
    told: Callable[[], None] = lambda: None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[tuple[dict, Propagation]]:
    """The passes of an ensemble besides the first one: (what it is, JSON-ready; what it found), one after the other.

    :param told: called after each slice.
    :raises Cancelled: when `cancel` says so; a pass that was cut short is not given.
    """
    learned = Follower(first.stack, pool, settings, rules, limits or Limits(), cancel).begin(_prompted(first))
    for orientation in dict.fromkeys(ensemble.orientations):
        if orientation == first.stack.orientation or learned is None:
            continue
        stack = PlaneStack(first.stack.volume, orientation)
        own = replace(settings, orientation=orientation)
        # the section says where to look: there is nothing to find the box anew for
        follower = Follower(stack, pool, own, replace(rules, decodes=1), limits or Limits(), cancel)
        slices = {}
        for each in sections(follower, first.mask(), learned, ensemble.every_mm, cancel):
            slices[each.index] = each
            told()
        yield pass_entry(result := Propagation(stack, filled(slices))), result


def pass_entry(propagation: Propagation) -> dict:
    """What a pass was and how far it came: JSON-ready."""
    return {
        "orientation": propagation.stack.orientation,
        "slices": [min(propagation.reached), max(propagation.reached)] if propagation.reached else None,
        "volume_ml": round(propagation.mask().volume_ml, 6),
    }


def sections(
    follower: Follower, mask: Mask, trail: Trail, every_mm: float, cancel: Callable[[], bool] | None = None
) -> Iterator[SlicePropagation]:
    """A mask looked at again on planes of another orientation, each prompted by its section there.

    One prompt by the user so is enough for all orientations. Each section is refined as a step of a propagation
    refines the last slice's mask, and weighs by the same confidence; nothing is handed on from plane to plane.

    :param follower: on the stack of the other orientation.
    :param trail: what the first pass learned on its prompted slice.
    :param every_mm: distance of the planes at most; the first and the last that cut the mask are always among them.
    :raises Cancelled: when `cancel` says so.
    """
    stack = follower.stack
    axis = stack.plane(stack.first).axis
    first, count = mask.origin[axis], mask.array.shape[2 - axis]
    steps = int(np.ceil((count - 1) * stack.step_mm / max(every_mm, stack.step_mm)))
    for n in np.unique(np.rint(np.linspace(first, first + count - 1, steps + 1)).astype(int)).tolist():
        if cancel is not None and cancel():
            raise Cancelled("Cancelled; the passes done until then are kept.")
        plane = stack.plane(n)
        picture = section_of(mask, plane)
        if picture.any():
            here = Trail(picture, trail.contrast, area_mm2(picture, plane))
            yield follower.step(n, here, "section")[0]


def section_of(mask: Mask, plane: Plane) -> np.ndarray:
    """What a straight plane shows of a mask, bool (rows, columns), without the whole volume's array."""
    axis = 2 - plane.axis
    layer = np.zeros([1 if a == axis else size for a, size in enumerate(mask.dimensions[::-1])], bool)
    n = plane.index - mask.box[axis].start
    if 0 <= n < mask.array.shape[axis]:
        box = tuple(slice(0, 1) if a == axis else part for a, part in enumerate(mask.box))
        layer[box] = mask.array.take([n], axis)
    return voxels_to_picture(layer, replace(plane, index=0))


def filled(slices: dict[int, SlicePropagation]) -> dict[int, SlicePropagation]:
    """Slices by index with those between them interpolated, by nearness and confidence."""
    known = sorted(slices)
    whole = dict(slices)
    for low, high in pairwise(known):
        for n in range(low + 1, high):
            whole[n] = reconciled(n, (low, slices[low]), (high, slices[high]))
    return dict(sorted(whole.items()))


def _prompted(first: Propagation) -> SlicePropagation:
    """The largest slice that the user prompted: what it shows stands for the tumor."""
    return max((first.slices[a.index] for a in first.anchors if a.index in first.slices), key=lambda s: s.result.pixels)
