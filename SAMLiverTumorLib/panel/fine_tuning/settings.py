"""Converts the choices of section Fine-tune to training settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.inference.model_choice import AUTO, LIVER_TUMOR
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.panel.panel_pool import aboutFile, chosenModel, textModel
from SAMLiverTumorLib.panel.sections.model import CUSTOM

if TYPE_CHECKING:
    from SAMLiverTumorLib.training.settings import TrainSettings

SCENE = "scene"
_BASE = "lite-medsam"


def baseModel(parameters: Any) -> str:
    """The base model of a training run: the chosen one; for "auto" one that takes text prompts, if there is one."""
    model = chosenModel(parameters)
    return (textModel(model) or _BASE) if model == AUTO else model


def settingsOf(parameters: Any, folder: Path, images: Path, labels: Path, hasLiver: bool) -> TrainSettings:
    """The training settings of a parameter node.

    :param hasLiver: whether the labels may include the liver, so that text prompts can be trained for it.
    :raises InputError: the settings are invalid.
    """
    from SAMLiverTumorLib.training.settings import CONCEPTS, TrainSettings

    return TrainSettings(
        images=(str(images.absolute()),),
        labels=(str(labels.absolute()),),
        out=str(folder.absolute()),
        base=baseModel(parameters),
        train=parameters.trainPart,
        epochs=parameters.trainEpochs,
        window=_window(parameters),
        device=parameters.device,
        concepts=CONCEPTS if hasLiver else (LIVER_TUMOR,),
    )


def _window(parameters: Any) -> str:
    """The chosen window; for "auto" the one that suits the base model best."""
    if parameters.window == CUSTOM:
        return f"{parameters.windowLow:g},{parameters.windowHigh:g}"
    if parameters.window in PRESETS:
        return parameters.window
    base = baseModel(parameters)
    info = load_registry().get(base)
    return info.default_window if info is not None else aboutFile(base).get("default_window", "wide")


def nameTrainChoices(ui: Any) -> None:
    """Set readable names for the choices: the lists are filled with the parameters' values."""
    for combo, names in (
        (ui.trainSourceCombo, {"scene": _("This scene"), "folders": _("Folders")}),
        (
            ui.trainPartCombo,
            {
                "decoder": _("Mask decoder (fast)"),
                "lora": _("Decoder, adapters in encoder"),
                "last": _("Decoder, last encoder stage"),
                "all": _("Everything (slow)"),
            },
        ),
    ):
        for value, name in names.items():
            index = combo.findText(value)
            if index >= 0:
                combo.setItemText(index, name)
