"""One lesion, prompted one way: propagate, correct, compare with the reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bench.accuracy_data import Case, Lesion
from bench.accuracy_prompts import box_anchor, next_click, point_anchor
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import bounding_box
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.click_corrections import correct
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.segment_slices import Settings

# Ways of prompting: one box, after which corrections are tried, or one click.
BOX, POINT = "box", "point"

GOALS = (0.8, 0.9)


@dataclass(frozen=True)
class State:
    """The result after a number of prompts.

    :param prompts: number given so far.
    :param dice: 3D Dice with this lesion alone.
    :param hd95_mm: 95th percentile Hausdorff distance; NaN if the mask is empty.
    :param reached: number of slices with a mask.
    :param ends: slices too many (positive) or too few (negative) at the lower and the upper end.
    :param seconds: since the prompt, on this machine.
    """

    prompts: int
    dice: float
    hd95_mm: float
    reached: int
    ends: tuple[int, int]
    seconds: float = float("nan")


@dataclass(frozen=True)
class Trial:
    """A lesion prompted one way.

    :param states: after the first prompt and after each correction.
    :param stops: where and why the first propagation ended, as text.
    :param failed: the error if it failed, else empty.
    """

    case: str
    lesion: int
    ml: float
    slices: int
    prompt: str
    states: tuple[State, ...]
    stops: str
    failed: str = ""

    def prompts_to(self, goal: float) -> int | None:
        """Number of prompts until the Dice first reached a goal; None if it never did."""
        return next((state.prompts for state in self.states if state.dice >= goal), None)


def run_trial(
    case: Case,
    lesion: Lesion,
    prompt: str,
    corrections: int,
    pool: PredictorPool,
    settings: Settings,
    in_liver: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Trial:
    """Prompt a lesion once, then correct it `corrections` times.

    :param in_liver: whether propagation is limited to the reference's liver.
    """
    stack = PlaneStack(case.volume, settings.orientation)
    limits = Limits(case.liver) if in_liver else Limits()
    anchor = box_anchor(stack, lesion.mask) if prompt == BOX else point_anchor(stack, lesion.mask)
    indices = indices_of(stack, lesion.mask)
    fixed = (case.name, lesion.number, lesion.ml, len(indices), prompt)
    began = time.perf_counter()
    try:
        result = propagate(stack, [anchor], pool, settings, limits=limits)
    except SAMLiverTumorError as error:
        return Trial(*fixed, (), "", str(error))
    stops = "; ".join(f"{s.direction} at {s.index}: {s.reason}" for s in result.stops)
    states = [_state(1, result, lesion.mask, indices, time.perf_counter() - began)]
    for n in range(corrections):
        click = next_click(stack, result.mask().full(), lesion.mask)
        began = time.perf_counter()
        if click is not None:
            result = correct(result, click, pool, settings, limits=limits)
        states.append(_state(n + 2, result, lesion.mask, indices, time.perf_counter() - began))
    say(f"{case.name} lesion {lesion.number} {prompt}: " + " ".join(f"{state.dice:.3f}" for state in states))
    return Trial(*fixed, tuple(states), stops)


def indices_of(stack: PlaneStack, mask: np.ndarray) -> list[int]:
    """Indices of slices with any part of a mask, in the direction of the normal."""
    axis = 2 - stack.plane(stack.first).axis
    filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    return [int(n) for n in filled][:: stack.up]


def _state(prompts: int, result: Propagation, lesion: np.ndarray, indices: list[int], seconds: float) -> State:
    stack = result.stack
    reached = sorted(result.reached, key=lambda n: n * stack.up)
    return state_of(prompts, result.mask().full(), reached, stack, lesion, indices, seconds)


def state_of(
    prompts: int,
    mask: np.ndarray,
    reached: list[int],
    stack: PlaneStack,
    lesion: np.ndarray,
    indices: list[int],
    seconds: float,
) -> State:
    """What a mask (k, j, i) is worth.

    :param reached: indices of slices with a mask, in the direction of the normal.
    :param indices: those of the lesion.
    """
    shared, total = np.count_nonzero(mask & lesion), np.count_nonzero(mask) + np.count_nonzero(lesion)
    ends = (0, 0)
    if reached:
        ends = ((indices[0] - reached[0]) * stack.up, (reached[-1] - indices[-1]) * stack.up)
    away = hd95(mask, lesion, stack.volume.spacing[::-1])
    return State(prompts, 2 * shared / total, away, len(reached), ends, seconds)


def hd95(mask: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """The greater of the two directed 95th percentiles of distances between surface voxels, in mm; NaN if one is empty.

    :param spacing: millimeters along the arrays' axes (k, j, i).
    """
    box = bounding_box(mask | reference)
    if box is None or not mask.any() or not reference.any():
        return float("nan")
    a, b = (np.pad(each[box], 1) for each in (mask, reference))
    surfaces = [each & ~ndimage.binary_erosion(each) for each in (a, b)]
    away = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    return float(max(np.percentile(away[1][surfaces[0]], 95), np.percentile(away[0][surfaces[1]], 95)))
