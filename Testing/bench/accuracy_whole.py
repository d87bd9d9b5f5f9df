"""One lesion as a whole: its mask on one slice, the network of whole lesions, corrections; compared as elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from bench.accuracy_data import Case, Lesion
from bench.accuracy_prompts import box_anchor, largest_slice, next_click, point_anchor
from bench.accuracy_trials import BOX, POINT, Trial, indices_of, state_of
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.segment_slices import Settings, segment_slice
from SAMLiverTumorLib.inference.whole_tumor.channels import SliceMask
from SAMLiverTumorLib.inference.whole_tumor.whole_lesion import Network, segment_lesion
from SAMLiverTumorLib.volume import apply_affine

# The prompt of a user who outlines the largest slice: its mask is the reference's, and no other model is asked.
OUTLINE = "outline"


def run_whole_trial(
    case: Case,
    lesion: Lesion,
    prompt: str,
    corrections: int,
    pool: PredictorPool,
    settings: Settings,
    network: Network,
    say: Callable[[str], None] = lambda text: None,
) -> Trial:
    """Prompt a lesion once, on its largest slice, then correct it `corrections` times.

    Seconds are those of both networks together, with the slice encoded anew.
    """
    stack, window = PlaneStack(case.volume, settings.orientation), settings.window or PRESETS["wide"]
    plane, indices = stack.plane(largest_slice(stack, lesion.mask)), indices_of(stack, lesion.mask)
    fixed = (case.name, lesion.number, lesion.ml, len(indices), prompt)
    clicks: dict[bool, list[np.ndarray]] = {True: [], False: []}
    began, states, found = time.perf_counter(), [], None
    try:
        if prompt == OUTLINE:
            mask = stack.slice_mask_of(lesion.mask, plane)
        else:
            prompts = (box_anchor if prompt == BOX else point_anchor)(stack, lesion.mask).prompts
            mask = voxels_to_slice_mask(segment_slice(case.volume, plane, prompts, pool, settings).mask.full(), plane)
            if prompt == POINT:
                clicks[True].append(apply_affine(plane.to_ras, np.append(prompts.points[0], 0.0))[0])
        slices = [SliceMask(plane, mask, outlined=prompt == OUTLINE)]
        for number in range(corrections + 1):
            if number:
                began, click = time.perf_counter(), next_click(stack, found.mask.full(), lesion.mask)
                if click is not None:
                    clicks[click.include].append(click.point_ras)
            previous = found.mask if found is not None else None
            found = segment_lesion(network, case.volume, window, slices, clicks[True], clicks[False], previous)
            seconds = time.perf_counter() - began
            whole = found.mask.full()
            states.append(state_of(number + 1, whole, indices_of(stack, whole), stack, lesion.mask, indices, seconds))
    except SAMLiverTumorError as error:
        return Trial(*fixed, tuple(states), "", str(error))
    say(f"{case.name} lesion {lesion.number} {prompt}: " + " ".join(f"{state.dice:.3f}" for state in states))
    return Trial(*fixed, tuple(states), "reaches the border of its crop" if found.cut else "")
