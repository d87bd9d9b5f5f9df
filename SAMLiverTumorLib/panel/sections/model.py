"""The section Model: the choice of network, device and window, and the download of weights."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.window import PRESETS, Window
from SAMLiverTumorLib.inference.model_choice import AUTO
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.models.download.digest import human_size
from SAMLiverTumorLib.models.registry import ModelInfo
from SAMLiverTumorLib.panel.panel_pool import FILE, chosenModel, modelsFor
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.panel.sections.model_weights import Weights, confirm
from SAMLiverTumorLib.panel.sections.weight_file import WeightFile, promptsOf
from SAMLiverTumorLib.panel.slice_observer import VIEW

CUSTOM = "custom"


class Model:
    """Connects the choices to the session's settings, and the buttons to the model store."""

    def __init__(self, shared: Shared, weights: Weights) -> None:
        self._shared, self._ui, self._weights = shared, shared.ui, weights
        self._file = WeightFile(shared, weights)
        self._ui.downloadButton.connect("clicked(bool)", self._onDownload)
        self._ui.localFileButton.connect("clicked(bool)", self._onLocalFile)
        self._ui.removeModelButton.connect("clicked(bool)", self._onRemove)

    def apply(self) -> None:
        """Apply the settings of the parameter node."""
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is None:
            return
        self._shared.pool.setDevice(parameters.device)
        try:
            session.setSettings(settingsFrom(parameters))
        except SAMLiverTumorError as error:
            session.message = str(error)

    def update(self) -> None:
        """Describe the chosen models, and enable the buttons."""
        parameters, ui = self._shared.parameters, self._ui
        infos, store = self._infos(), self._shared.pool.store
        isFile = parameters is not None and parameters.model == FILE
        described = [self._file.described()] if isFile else [self._described(info) for info in infos]
        ui.modelInfoLabel.text = "<br>".join(described)
        self._nameFile()
        absent = self._absent()
        busy = _("Wait until the current job is done.") if self._shared.tasks.busy else ""
        done = "" if absent else _("The model is already on this computer.")
        if not absent and not all(map(store.is_present, infos)):
            done = _("This model is part of the extension: reinstall the extension.")
        if isFile:
            done = _('Your own file is not downloaded: press "Use file…".')
        enable(ui.downloadButton, busy or done, _("Download the weights, after asking; size and SHA-256 are verified."))
        local = _("Use a published weight file, or your own, from this computer. No code in it is run.")
        enable(ui.localFileButton, busy, local)
        downloaded = [info for info in infos if (store.root / info.file_name).is_file()]
        nothing = "" if downloaded else _("There are no downloaded weights to remove.")
        enable(ui.removeModelButton, busy or nothing, _("Delete the downloaded weights from this computer."))
        isCustom = parameters is not None and parameters.window == CUSTOM
        notCustom = "" if isCustom else _('For window "custom".')
        enable(ui.windowLowSpinBox, notCustom, _("Shown black, in Hounsfield units."))
        enable(ui.windowHighSpinBox, notCustom, _("Shown white, in Hounsfield units."))

    def _infos(self) -> list[ModelInfo]:
        parameters = self._shared.parameters
        return modelsFor(parameters.model if parameters is not None else AUTO, ("points", "box"))

    def _absent(self) -> list[ModelInfo]:
        store = self._shared.pool.store
        return [info for info in self._infos() if info.is_downloadable and not store.is_present(info)]

    def _described(self, info: ModelInfo) -> str:
        isHere = self._shared.pool.store.is_present(info)
        missing = _("not downloaded") if info.is_downloadable else _("missing, reinstall the extension")
        state = _("on this computer") if isHere else missing
        return f"<b>{info.title}</b>: {promptsOf(info)}; {human_size(info.size)}, {info.licence}; {state}"

    def _nameFile(self) -> None:
        # the list is filled with the parameter's values; this one is not a model's id
        combo = self._ui.modelCombo
        index = combo.findText(FILE)
        if index >= 0:
            combo.setItemText(index, _("From a file"))

    def _onDownload(self) -> None:
        self._weights.download(self._absent())

    def _onLocalFile(self) -> None:
        self._file.choose(self._ui.localFileButton)

    def _onRemove(self) -> None:
        store, session = self._shared.pool.store, self._shared.session
        infos = [info for info in self._infos() if (store.root / info.file_name).is_file()]
        titles = ", ".join(info.title for info in infos)
        if not confirm(_("Delete the weights of {titles} from this computer?").format(titles=titles)):
            return
        try:
            for info in infos:
                store.remove(info)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return
        session.say(_("Removed: {titles}.").format(titles=titles))


def settingsFrom(parameters: Any) -> Settings:
    """The choices of a parameter node as settings.

    :raises SAMLiverTumorError: the custom window is invalid.
    """
    window = PRESETS.get(parameters.window)
    if parameters.window == CUSTOM:
        window = Window(parameters.windowLow, parameters.windowHigh)
    orientation = "axial" if parameters.plane == VIEW else parameters.plane
    return Settings(chosenModel(parameters), orientation, window, parameters.channels, parameters.quality)
