"""What a network that knows clicks makes of a corrected slice, and whether that can be believed."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.errors import ModelError, PromptError
from SAMLiverTumorLib.image.mask_geometry import connected, grown_box
from SAMLiverTumorLib.inference.model_choice import choose_model
from SAMLiverTumorLib.inference.propagation.slice_step import Follower
from SAMLiverTumorLib.models.preprocessing.input_geometry import InputGeometry, input_geometry
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts

# An answer has to agree so far (IoU) with what grey values make of the clicks: a network that misunderstands a click
# marks the whole liver, or a single vessel.
_LEAST_AGREEMENT = 0.5

# Networks that have seen photographs only correct no better than grey values. MobileSAM after a box and five clicks:
# mean Dice 0.756 with its answers and 0.761 without (LiTS 1, 5, 6; 9 lesions of 1 ml), 0.679 and 0.652 (LiTS 7, 5
# lesions), for the time of encoding each slice. `dev.py bench accuracy --model mobile-sam --prompts box`, 2026-11-25.
NOT_ASKED = frozenset({"mobile-sam", "sam-vit-b", "sam-vit-l", "sam-vit-h"})

# Edge of the logits that SAM's prompt encoder takes, and the greatest value that stored probabilities get there.
_MASK_EDGE, _MOST_LOGIT = 256, 6.0


def click_answer(
    follower: Follower, index: int, prompts: PlanePrompts, guess: np.ndarray, probabilities: np.ndarray | None
) -> tuple[np.ndarray, str] | None:
    """The network's mask of a corrected slice: from all its clicks, a box, and the mask before the click.

    :param prompts: the slice's clicks, the new one included.
    :param guess: what grey values make of them, bool (rows, columns).
    :param probabilities: the slice as it was, uint8 (rows, columns); None where it had no mask.
    :return: bool (rows, columns), and the model; None where the guess is to be kept: it leaves the slice empty, no
        model is at hand that answers clicks well, or its answer disobeys a click or is implausible.
    :raises SAMLiverTumorError: the window does not suit the volume; `Cancelled`.
    """
    info = _asked_model(follower) if guess.any() else None
    if info is None:
        return None
    plane = follower.stack.plane(index)
    box = grown_box(guess, follower.pixels(follower.rules.margin_mm, plane))
    mask = None
    if probabilities is not None and "mask" in info.prompts:
        mask = mask_prompt(probabilities, plane, info)
    asked = PlanePrompts(prompts.points, prompts.labels, box, mask)
    predictor, model = follower.predictor(PlanePrompts(asked.points, asked.labels, box))
    embedding, _ = follower.look(plane, predictor)
    found = predictor.predict(embedding, asked).mask
    answer = connected(found & follower.allowed(found, plane)[0], guess)
    return (answer, model) if obeys(answer, asked) and agree(answer, guess) else None


def mask_prompt(probabilities: np.ndarray, plane: Plane, info: ModelInfo) -> np.ndarray:
    """A plane's stored probabilities, uint8 (rows, columns), as the logits that a network takes: (1, 256, 256)."""
    geometry = input_geometry(probabilities.shape, plane.spacing[1::-1], info.input_size, info.resize)
    p = np.clip(probabilities.astype(np.float32) / 255.0, 1e-6, 1.0 - 1e-6)
    logits = np.clip(np.log(p / (1.0 - p)), -_MOST_LOGIT, _MOST_LOGIT)
    places = np.meshgrid(*(_places(geometry, axis) for axis in (0, 1)), indexing="ij")
    # beyond the picture there is no tumor
    return ndimage.map_coordinates(logits, places, order=1, mode="constant", cval=-_MOST_LOGIT)[None]


def obeys(mask: np.ndarray, prompts: PlanePrompts) -> bool:
    """Whether a mask, bool (rows, columns), holds every include click and no exclude click."""
    u, v = np.rint(prompts.points).astype(int).T
    return bool((mask[v, u] == (prompts.labels == 1)).all())


def agree(answer: np.ndarray, guess: np.ndarray) -> bool:
    """Whether two masks, of which the second is not empty, are near enough to each other."""
    return np.count_nonzero(answer & guess) >= _LEAST_AGREEMENT * np.count_nonzero(answer | guess)


def _asked_model(follower: Follower) -> ModelInfo | None:
    """The model that answers clicks, loaded; None where there is none, or its weights are not on this computer."""
    try:
        model = choose_model(follower.settings.model, {"points", "box"})
        known = load_registry().get(model)
        if known is not None and not _is_asked(known):
            return None  # not to be loaded for nothing
        info = follower.pool.predictor(model).model.info
    except (ModelError, PromptError):
        return None
    return info if _is_asked(info) else None


def _is_asked(info: ModelInfo) -> bool:
    return info.id not in NOT_ASKED and {"points", "box"} <= info.prompts


def _places(geometry: InputGeometry, axis: int) -> np.ndarray:
    """Picture coordinates along an axis of the centers of a mask prompt's pixels; float (256,)."""
    step = geometry.input_size / _MASK_EDGE
    return (np.arange(_MASK_EDGE) + 0.5) * step / geometry.scale[axis] - 0.5
