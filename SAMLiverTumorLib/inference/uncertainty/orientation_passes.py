"""The further passes of an ensemble: the same tumor segmented again on planes of other orientations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.mask_geometry import area_mm2
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.merge_directions import reconciled
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import Propagation, SlicePropagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits, SliceStepper, StepState
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.plane import ORIENTATIONS, Plane


@dataclass(frozen=True)
class Ensemble:
    """Which passes are fused with the first one.

    :param orientations: of the further passes; the first pass's own is skipped.
    :param every_mm: distance between planes of another orientation; probabilities between them are interpolated.
    :raises InputError: an unknown orientation, or a distance that is not above 0.
    """

    orientations: tuple[str, ...] = ()
    every_mm: float = 2.0

    def __post_init__(self) -> None:
        for name in self.orientations:
            if name not in ORIENTATIONS:
                raise InputError(f"Unknown orientation '{name}'; choose from {', '.join(ORIENTATIONS)}.")
        if not self.every_mm > 0:
            raise InputError("The distance between an ensemble's planes must be above 0 mm.")


def further_passes(
    first: Propagation,
    ensemble: Ensemble,
    pool: PredictorPool,
    settings: Settings,
    rules: PropagationRules,
    limits: Limits | None = None,
    slice_done: Callable[[], None] = lambda: None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[tuple[dict, Propagation]]:
    """Run the passes of an ensemble besides the first one.

    :param slice_done: called after each slice.
    :return: for each pass, its JSON-ready entry and its result.
    :raises Cancelled: when `cancel` returns true; an unfinished pass is not yielded.
    """
    start = SliceStepper(first.stack, pool, settings, rules, limits or Limits(), cancel).begin(_largest_prompted(first))
    for orientation in dict.fromkeys(ensemble.orientations):
        if orientation == first.stack.orientation or start is None:
            continue
        stack = PlaneStack(first.stack.volume, orientation)
        own = replace(settings, orientation=orientation)
        # the section gives the box already, so one decoding is enough
        stepper = SliceStepper(stack, pool, own, replace(rules, decodes=1), limits or Limits(), cancel)
        slices = {}
        for each in refined_sections(stepper, first.mask(), start, ensemble.every_mm, cancel):
            slices[each.index] = each
            slice_done()
        yield pass_entry(result := Propagation(stack, interpolated(slices))), result


def pass_entry(propagation: Propagation) -> dict:
    """Orientation, range of slices and volume of a pass: JSON-ready."""
    return {
        "orientation": propagation.stack.orientation,
        "slices": [min(propagation.reached), max(propagation.reached)] if propagation.reached else None,
        "volume_ml": round(propagation.mask().volume_ml, 6),
    }


def refined_sections(
    stepper: SliceStepper, mask: Mask, state: StepState, every_mm: float, cancel: Callable[[], bool] | None = None
) -> Iterator[SlicePropagation]:
    """Segment a mask again on planes of another orientation, each prompted by the mask's section there.

    So one prompt by the user is enough for all orientations. A section is refined just as a propagation step refines
    the last slice's mask, and has the same confidence. Nothing is passed from plane to plane.

    :param stepper: on the stack of the other orientation.
    :param state: the first pass's on its prompted slice.
    :param every_mm: greatest distance between planes; the first and the last plane through the mask are always used.
    :raises Cancelled: when `cancel` returns true.
    """
    stack = stepper.stack
    axis = stack.plane(stack.first).axis
    first, count = mask.origin[axis], mask.array.shape[2 - axis]
    steps = int(np.ceil((count - 1) * stack.step_mm / max(every_mm, stack.step_mm)))
    for n in np.unique(np.rint(np.linspace(first, first + count - 1, steps + 1)).astype(int)).tolist():
        if cancel is not None and cancel():
            raise Cancelled("Cancelled; finished passes are kept.")
        plane = stack.plane(n)
        slice_mask = section_of(mask, plane)
        if slice_mask.any():
            section = StepState(slice_mask, state.contrast, area_mm2(slice_mask, plane))
            yield stepper.step(n, section, "section")[0]


def section_of(mask: Mask, plane: Plane) -> np.ndarray:
    """Section of a mask with a straight plane, bool (rows, columns), without making the whole volume's array."""
    axis = 2 - plane.axis
    layer = np.zeros([1 if a == axis else size for a, size in enumerate(mask.dimensions[::-1])], bool)
    n = plane.index - mask.box[axis].start
    if 0 <= n < mask.array.shape[axis]:
        box = tuple(slice(0, 1) if a == axis else part for a, part in enumerate(mask.box))
        layer[box] = mask.array.take([n], axis)
    return voxels_to_slice_mask(layer, replace(plane, index=0))


def interpolated(slices: dict[int, SlicePropagation]) -> dict[int, SlicePropagation]:
    """Slices by index, with the missing ones between them interpolated by distance and confidence."""
    complete = dict(slices)
    for low, high in pairwise(sorted(slices)):
        for n in range(low + 1, high):
            complete[n] = reconciled(n, (low, slices[low]), (high, slices[high]))
    return dict(sorted(complete.items()))


def _largest_prompted(first: Propagation) -> SlicePropagation:
    """The prompted slice with the largest mask: its contrast stands for the tumor's."""
    return max((first.slices[a.index] for a in first.anchors if a.index in first.slices), key=lambda s: s.result.pixels)
