"""Refine a corrected slice by a network trained for clicks, if its mask is plausible."""

from __future__ import annotations

import numpy as np

from SAMLiverTumorLib.errors import ModelError, PromptError
from SAMLiverTumorLib.image.mask_geometry import connected, grown_box
from SAMLiverTumorLib.inference.mask_prompts import mask_prompt
from SAMLiverTumorLib.inference.model_choice import choose_model
from SAMLiverTumorLib.inference.propagation.slice_step import SliceStepper
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.prompts import PlanePrompts

# Least IoU with the mask that follows from grey values: a network that misinterprets a click segments the whole liver,
# or a single vessel.
_LEAST_AGREEMENT = 0.5

# Networks trained on photographs only, which correct no better than grey values. MobileSAM after a box and five clicks:
# mean Dice 0.756 with its masks and 0.761 without (LiTS 1, 5, 6; 9 lesions of 1 ml), 0.679 and 0.652 (LiTS 7, 5
# lesions), and each slice has to be encoded. `dev.py bench accuracy --model mobile-sam --prompts box`, 2026-11-25.
NOT_USED = frozenset({"mobile-sam", "sam-vit-b", "sam-vit-l", "sam-vit-h"})


def refined_by_network(
    stepper: SliceStepper, index: int, prompts: PlanePrompts, guess: np.ndarray, probabilities: np.ndarray | None
) -> tuple[np.ndarray, str] | None:
    """The network's mask of a corrected slice, from all its clicks, a box, and the mask before the click.

    :param prompts: the slice's clicks, the new one included.
    :param guess: the mask that follows from grey values, bool (rows, columns).
    :param probabilities: of the slice before the click, uint8 (rows, columns); None if it had no mask.
    :return: the mask, bool (rows, columns), and the model. None if the guess is better kept: it is empty, there is no
        suitable model, or the network's mask contradicts a click or is implausible.
    :raises SAMLiverTumorError: the window does not suit the volume; `Cancelled`.
    """
    info = _click_model(stepper) if guess.any() else None
    if info is None:
        return None
    plane = stepper.stack.plane(index)
    box = grown_box(guess, stepper.pixels(stepper.rules.margin_mm, plane))
    mask = None
    if probabilities is not None and "mask" in info.prompts:
        mask = mask_prompt(probabilities, plane, info)
    complete = PlanePrompts(prompts.points, prompts.labels, box, mask)
    predictor, model = stepper.predictor(PlanePrompts(complete.points, complete.labels, box))
    embedding, _ = stepper.embed(plane, predictor)
    predicted = predictor.predict(embedding, complete).mask
    refined = connected(predicted & stepper.allowed(predicted, plane)[0], guess)
    return (refined, model) if obeys(refined, complete) and agree(refined, guess) else None


def obeys(mask: np.ndarray, prompts: PlanePrompts) -> bool:
    """Whether a mask, bool (rows, columns), contains every include click and no exclude click."""
    u, v = np.rint(prompts.points).astype(int).T
    return bool((mask[v, u] == (prompts.labels == 1)).all())


def agree(mask: np.ndarray, guess: np.ndarray) -> bool:
    """Whether the IoU of a mask with a nonempty guess is high enough."""
    return np.count_nonzero(mask & guess) >= _LEAST_AGREEMENT * np.count_nonzero(mask | guess)


def _click_model(stepper: SliceStepper) -> ModelInfo | None:
    """The model for clicks, loaded; None if there is none, or its weights are not on this computer."""
    try:
        model = choose_model(stepper.settings.model, {"points", "box"})
        known = load_registry().get(model)
        if known is not None and not _is_suitable(known):
            return None  # before it is loaded
        info = stepper.pool.predictor(model).model.info
    except (ModelError, PromptError):
        return None
    return info if _is_suitable(info) else None


def _is_suitable(info: ModelInfo) -> bool:
    return info.id not in NOT_USED and {"points", "box"} <= info.prompts
