"""Segment one tumor through all its slices from prompts on a volume: what panel, console and benchmarks call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from SAMLiverTumorLib.errors import Cancelled, PromptError
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor, anchors_of_mask
from SAMLiverTumorLib.inference.propagation.click_corrections import Click, correct
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.prompts import Box, Prompts, fit_to_volume, on_plane


def segment_volume(
    stack: PlaneStack,
    prompts: Prompts,
    pool: PredictorPool,
    settings: Settings | None = None,
    rules: PropagationRules | None = None,
    direction: str = "both",
    liver: np.ndarray | None = None,
    start: Mask | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Propagation:
    """Propagate prompts through a stack of planes and segment one tumor.

    The propagation starts from `start` if given, otherwise from the box, otherwise from the first include point. A box
    on one slice prompts that slice. A box through several slices prompts the middle one, and the tumor ends at its
    faces. Points on the first slice are part of its prompts. Every other point then corrects the result, include
    points first.

    :param liver: bool (k, j, i) of the volume that the tumor does not leave, or None.
    :param start: an existing mask on one or more slices, which are kept unchanged.
    :param progress: called with (slices done, None).
    :return: the result; if it was cancelled, `cancelled` is true and the finished slices are included.
    :raises SAMLiverTumorError: unusable prompts, window or model.

    >>> stack = PlaneStack(volume, "axial")                                                 # doctest: +SKIP
    >>> segment_volume(stack, Prompts(include=[[10, -20, 35]]), pool).mask().volume_ml      # doctest: +SKIP
    """
    settings = settings or Settings(orientation=stack.orientation)
    notes: tuple[str, ...] = ()
    if prompts.kinds or start is None:
        prompts, notes = fit_to_volume(prompts, stack.volume)
    anchors = anchors_of_mask(start, stack) if start is not None else (first_anchor(stack, prompts),)
    limits = limits_of(stack, prompts, liver)
    done = 0

    def slice_done(_count: int, total: int | None) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    result = propagate(stack, anchors, pool, settings, rules, direction, limits, slice_done, cancel)
    used = {anchors[0].index} if start is None else set()
    for click in _clicks(prompts):
        if stack.index_at(click.point_ras) in used or result.cancelled:
            continue
        try:
            result = correct(result, click, pool, settings, rules, limits, slice_done, cancel)
        except Cancelled as error:
            result = replace(result, cancelled=True, notes=(*result.notes, str(error)))
    provenance = {**result.provenance, "prompts": prompts.as_dict(), "cancelled": result.cancelled}
    return replace(result, notes=(*notes, *result.notes), provenance=provenance)


def limits_of(stack: PlaneStack, prompts: Prompts, liver: np.ndarray | None = None) -> Limits:
    """Limits of a propagation: a box that spans several planes, and the liver (k, j, i) if given."""
    return Limits(liver, prompts.box if prompts.box is not None and not _is_flat(stack, prompts.box) else None)


def first_anchor(stack: PlaneStack, prompts: Prompts) -> Anchor:
    """The slice to start from, with the prompts on it.

    :raises PromptError: there is neither a box nor an include point, or the box contains no pixel of that slice.
    """
    if prompts.box is not None:
        index = stack.index_at(prompts.box.center)
    elif len(prompts.include):
        index = stack.index_at(prompts.include[0])
    else:
        raise PromptError("Exclude points alone name no structure; add an include point or a box.")
    plane_prompts = on_plane(prompts, stack.plane(index))
    if not plane_prompts.says_where:
        raise PromptError(f"The box does not reach a pixel of {stack.orientation} slice {index}; draw it on the tumor.")
    return Anchor(index, plane_prompts)


def _is_flat(stack: PlaneStack, box: Box) -> bool:
    """Whether a box is thinner than one step along the stack's normal, like a box drawn on a slice."""
    heights = stack.plane(0).from_ras(box.corners)[:, 2]
    return float(heights.max() - heights.min()) < 1.0 - 1e-6


def _clicks(prompts: Prompts) -> list[Click]:
    included = [Click(point, True) for point in prompts.include]
    return included + [Click(point, False) for point in prompts.exclude]
