"""Which slices of a stack of planes a segment's prompts apply to. Independent of Slicer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import Plan, PlannedSlice, SliceKey, View
from SAMLiverTumorLib.plane import within_step
from SAMLiverTumorLib.prompts import on_plane

_PARALLEL = 1.0 - 1e-5


@dataclass(frozen=True, eq=False)
class PlannedOnStack:
    """A prompted slice as a plane of a stack.

    :param key: its key in the plan, and in the open object's shares.
    :param planned: its prompts, in the pixels of the stack's plane.
    """

    key: SliceKey
    planned: PlannedSlice


def plannedOn(plan: Plan, stack: PlaneStack) -> dict[int, PlannedOnStack]:
    """The prompted slices that are planes of a stack, by index; includes slices with exclude points only."""
    found = {}
    for key, each in {**plan.slices, **plan.lone}.items():
        index = _indexOf(key, each, stack)
        if index is None:
            continue
        if stack.base is not None and index != 0:
            each = replace(each, seen=on_plane(plan.prompts, stack.plane(index)))
        found[index] = PlannedOnStack(key, each)
    return found


def leading(plan: Plan, stack: PlaneStack, view: View) -> dict[int, PlannedOnStack]:
    """The prompted slices to start from; of a box through slices only the current one, or else the middle one."""
    said = {index: each for index, each in plannedOn(plan, stack).items() if each.planned.seen.says_where}
    if not plan.isThrough:
        return said
    chosen = {index: each for index, each in said.items() if (each.planned.seen.labels == 1).any()}
    here = view.index if stack.base is None else 0
    if here in said:
        chosen[here] = said[here]
    elif not chosen and said:
        middle = sorted(said)[len(said) // 2]
        chosen[middle] = said[middle]
    return chosen


def propagatedKey(stack: PlaneStack, index: int) -> SliceKey:
    """The key, among an object's shares, of a slice without prompts."""
    if stack.base is None:
        return stack.orientation, index
    return "oblique", (*np.round(stack.base.to_ras[:3], 9).ravel().tolist(), index)


def areSame(one: PlaneStack, other: PlaneStack) -> bool:
    """Whether two stacks have the same planes."""
    if one.volume is not other.volume or one.orientation != other.orientation:
        return False
    if one.base is None or other.base is None:
        return one.base is other.base
    return one.base.shape == other.base.shape and np.allclose(one.base.to_ras, other.base.to_ras, atol=1e-6)


def _indexOf(key: SliceKey, each: PlannedSlice, stack: PlaneStack) -> int | None:
    """The index of a planned slice in a stack; None if it is not one of its planes."""
    name, where = key
    if stack.base is None:
        return where if name == stack.orientation else None
    if name != "oblique":
        return None
    normal, other = stack.base.to_ras[:3, 2], each.plane.to_ras[:3, 2]
    if normal @ other < _PARALLEL * np.linalg.norm(normal) * np.linalg.norm(other):
        return None
    height = float(stack.base.from_ras(each.plane.to_ras[:3, 3])[0, 2])
    index = round(height)
    return index if stack.holds(index) and within_step(np.array([height - index]))[0] else None
