"""What the lists of section Fine-tune say to people."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


def nameTrainChoices(ui: Any) -> None:
    """Name the choices; the lists are filled with the parameters' values, which mean nothing to people."""
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
