"""Prompts on a volume in, one tumor followed through all its slices out: what panel, console and benchmark call."""

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
    """Segment one tumor through a stack of planes from what the prompts say.

    It starts from `start` where given, else from the box, else from the first include point. A box of one slice
    prompts that slice; one through several prompts the slice in its middle, and the tumor ends at its faces.
    Points on the first slice belong to its prompts; each of the others then corrects the result, in order,
    include points first.

    :param liver: bool (k, j, i) of the volume that the tumor does not leave, or None.
    :param start: an existing mask on one or more slices, which stay as they are.
    :param progress: told of (slices done, None).
    :return: the result; `cancelled` where Cancel cut it short, with what was done until then.
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

    def told(count: int, total: int | None) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    result = propagate(stack, anchors, pool, settings, rules, direction, limits, told, cancel)
    used = {anchors[0].index} if start is None else set()
    for click in _clicks(prompts):
        if stack.index_at(click.point_ras) in used or result.cancelled:
            continue
        try:
            result = correct(result, click, pool, settings, rules, limits, told, cancel)
        except Cancelled as error:
            result = replace(result, cancelled=True, notes=(*result.notes, str(error)))
    provenance = {**result.provenance, "prompts": prompts.as_dict(), "cancelled": result.cancelled}
    return replace(result, notes=(*notes, *result.notes), provenance=provenance)


def limits_of(stack: PlaneStack, prompts: Prompts, liver: np.ndarray | None = None) -> Limits:
    """Where the tumor may go: within a box that spans several planes, and within the liver (k, j, i) where given."""
    return Limits(liver, prompts.box if prompts.box is not None and not _is_flat(stack, prompts.box) else None)


def first_anchor(stack: PlaneStack, prompts: Prompts) -> Anchor:
    """The slice to begin with, and what of the prompts lies on it.

    :raises PromptError: neither a box nor an include point, or none of it on a plane of the stack.
    """
    if prompts.box is not None:
        index = stack.index_at(prompts.box.center)
    elif len(prompts.include):
        index = stack.index_at(prompts.include[0])
    else:
        raise PromptError("Exclude points alone name no structure; add an include point or a box.")
    seen = on_plane(prompts, stack.plane(index))
    if not seen.says_where:
        raise PromptError(f"The box does not reach a pixel of {stack.orientation} slice {index}; draw it on the tumor.")
    return Anchor(index, seen)


def _is_flat(stack: PlaneStack, box: Box) -> bool:
    """Whether a box is thinner than a step along the stack's normal, as one drawn on a slice is."""
    heights = stack.plane(0).from_ras(box.corners)[:, 2]
    return float(heights.max() - heights.min()) < 1.0 - 1e-6


def _clicks(prompts: Prompts) -> list[Click]:
    included = [Click(point, True) for point in prompts.include]
    return included + [Click(point, False) for point in prompts.exclude]
