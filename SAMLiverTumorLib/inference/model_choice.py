"""Choose the model for given prompts, and refuse prompts that a model was not trained for."""

from __future__ import annotations

from collections.abc import Iterable

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.prompts import PlanePrompts

AUTO = "auto"
LIVER_TUMOR = "liver tumor"
"""The concept that text models are trained to find."""


def choose_model(model: str, kinds: Iterable[str]) -> str:
    """The model to use: `model` itself; for "auto", the one that the registry prefers for all given kinds of prompts.

    If none is preferred for all of them, the first one that was trained for all of them.

    :param kinds: of "points", "box", "mask", "text".
    :raises PromptError: no model was trained for all of them.
    """
    if model != AUTO:
        return model
    wanted, registry = set(kinds), load_registry()
    for field in ("preferred_for", "prompts"):
        for model_id, info in registry.items():
            if wanted <= getattr(info, field):
                return model_id
    raise PromptError(
        f"No registered model was trained for {' and '.join(sorted(wanted))}; name a weight file that was."
    )


def check_prompts(prompts: PlanePrompts, info: ModelInfo | None) -> None:
    """Refuse prompts without an include point or box, and prompts that a model was not trained for.

    :param info: the model, or None if it is not known yet.
    :raises PromptError: as above.
    """
    if not prompts.says_where:
        raise PromptError("Exclude points alone name no structure; add an include point or a box.")
    untrained = prompts.kinds - info.prompts if info is not None else ()
    if untrained:
        raise PromptError(
            f"Model '{info.id}' was trained for {' and '.join(sorted(info.prompts))} prompts, not for "
            f"{' or '.join(sorted(untrained))}; choose liver-tumor, or leave those prompts out."
        )


def check_concept(concept: str, info: ModelInfo) -> str:
    """The concept as the model spells it; any phrase if the model accepts free text.

    :raises PromptError: the model has no text prompts, or not this concept.
    """
    wanted = " ".join(concept.lower().split())
    if not info.concepts:
        raise PromptError(f"Model '{info.id}' knows no text prompts; choose liver-tumor, or one trained with text.")
    if info.open_text and wanted:
        return wanted
    if wanted not in info.concepts:
        known = " and ".join(f"'{each}'" for each in info.concepts)
        raise PromptError(f"Model '{info.id}' does not know '{concept}'; text can name {known}.")
    return wanted


def shown_channels(chosen: str, info: ModelInfo) -> str:
    """What a model's three channels show: the model's own choice where the user made none ("single")."""
    return info.channels if chosen == "single" else chosen
