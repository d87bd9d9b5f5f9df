"""The section Further phases: other phases that the network sees, and their registration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import PendingChannel
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.phases import CUSTOM, chosenPhases, heldVolume, moveOnto
from SAMLiverTumorLib.panel.engine import whenIdle
from SAMLiverTumorLib.panel.section_context import Shared, enable

if TYPE_CHECKING:
    from SAMLiverTumorLib.image.registration import Registration

_NAMES = ("phase1", "phase2")


class FurtherPhases:
    """Connects the choices to the session's phases, prepares them, and registers them.

    :param moved: called when a phase or its position has changed.
    """

    def __init__(self, shared: Shared, moved: Callable[[], None]) -> None:
        self._shared, self._ui = shared, shared.ui
        self._observations = Observations()
        self._observed: tuple[slicer.vtkMRMLScalarVolumeNode, ...] = ()
        self._asked: tuple[PendingChannel, ...] = ()
        self._moved = whenIdle(0, moved)
        ui = self._ui
        self._registers = {"phase1": ui.phase1RegisterButton, "phase2": ui.phase2RegisterButton}
        self._windows = {
            "phase1": (ui.phase1WindowCombo, ui.phase1LowSpinBox, ui.phase1HighSpinBox),
            "phase2": (ui.phase2WindowCombo, ui.phase2LowSpinBox, ui.phase2HighSpinBox),
        }
        for name, button in self._registers.items():
            button.connect("clicked(bool)", lambda checked, name=name: self.register(name))
        for selector in (ui.phase1Selector, ui.phase2Selector):
            selector.connect("nodeAboutToBeRemoved(vtkMRMLNode*)", partial(self._onRemoval, selector))

    def apply(self) -> None:
        """Apply the phases of the parameter node, and have them resampled to the volume's grid."""
        shared = self._shared
        takePhases(shared)
        self._observe()
        channels = shared.session.settings.further
        if channels == self._asked:
            return
        self._asked = channels
        for channel in channels:
            if channel.error:
                shared.session.say(channel.error)
        if all(channel.isSettled for channel in channels):
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> None:
            for channel in channels:
                channel.prepare(cancelled, progress)

        shared.tasks.start("phases", _("Resampling the phases to the volume"), work, partial(self._ready, channels))

    def update(self) -> None:
        """Show windows and state of the phases, and enable the buttons."""
        ui, parameters = self._ui, self._shared.parameters
        for name in _NAMES:
            node = getattr(parameters, name) if parameters is not None else None
            combo, low, high = self._windows[name]
            missing = "" if node is not None else _("Choose a phase first.")
            toolTip = _("Window for the network; auto is the wide window for CT and percentile for other modalities.")
            enable(combo, missing, toolTip)
            isCustom = parameters is not None and getattr(parameters, f"{name}Window") == CUSTOM
            notCustom = missing or ("" if isCustom else _('For window "custom".'))
            enable(low, notCustom, _("Shown black, in the volume's units."))
            enable(high, notCustom, _("Shown white, in the volume's units."))
            toolTip = _(
                "Register this phase to the volume, rigidly: it gets a transform in the scene, its voxels are not "
                "changed. Check the result; removing the transform restores the old position."
            )
            enable(self._registers[name], self._missing(node), toolTip)
        if not self._shared.session.settings.further:
            self._asked = ()
        text = self._described()
        if ui.phasesLabel.text != text:
            ui.phasesLabel.text = text
        ui.phasesLabel.setVisible(bool(text))

    def register(self, name: str) -> None:
        """Register a phase in the worker's thread, and move it."""
        parameters, session = self._shared.parameters, self._shared.session
        node = getattr(parameters, name) if parameters is not None else None
        if self._missing(node):
            return
        volumeNode = session.volumeNode
        try:
            first, other = heldVolume(volumeNode), heldVolume(node)
            sources = [VolumeSource(volumeNode), VolumeSource(node)]
            states = [source.state() for source in sources]
        except SAMLiverTumorError as error:
            session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> Registration:
            from SAMLiverTumorLib.image.registration import register_rigid  # brings SimpleITK

            progress(0, None)
            return register_rigid(first(), other(), cancelled)

        def done(registration: Registration) -> None:
            if not all(source.isStill(state) for source, state in zip(sources, states, strict=True)):
                session.say(_("A volume was changed or moved meanwhile; register again."))
                return
            moveOnto(node, registration, volumeNode.GetName())
            session.say(registration.describe(node.GetName(), volumeNode.GetName()))

        title = _("Registering {phase}").format(phase=node.GetName())
        self._shared.tasks.start("register", title, work, done)
        self._shared.follow()

    def close(self) -> None:
        """Release the scene."""
        self._moved.stop()
        self._observations.clear()
        self._observed = ()

    def _ready(self, channels: tuple[PendingChannel, ...], value: object) -> None:
        session = self._shared.session
        names = ", ".join(channel.name for channel in channels)
        session.say(_("From now on the network sees {phases} besides the volume.").format(phases=names))
        for channel in channels:
            for note in channel.notes:
                session.say(note)

    def _described(self) -> str:
        lines = []
        settings = self._shared.session.settings
        for channel in settings.further:
            if channel.error:
                lines.append(channel.error)
            elif not channel.isMade:
                lines.append(_("{phase}: not resampled to the volume yet.").format(phase=channel.name))
            else:
                window, registration = channel.window, channel.registration
                text = _("{phase}: window {low} to {high}.")
                if registration is not None:
                    text = _("{phase}: window {low} to {high}, moved by {shift} mm and {angle} degrees.")
                values = {"low": f"{window.low:g}", "high": f"{window.high:g}"}
                if registration is not None:
                    values["shift"] = f"{registration.shift_mm:.1f}"
                    values["angle"] = f"{registration.rotation_degrees:.1f}"
                lines.append(text.format(phase=channel.name, **values))
        if settings.further and settings.channels != "single":
            lines.append(_('Choose channels "single" in section Model: the phases take their place.'))
        return "\n".join(lines)

    def _observe(self) -> None:
        """Observe position and voxels of volume and phases."""
        parameters = self._shared.parameters
        nodes = (parameters.volume, parameters.phase1, parameters.phase2) if parameters is not None else ()
        nodes = tuple(node for node in nodes if node is not None) if any(nodes[1:]) else ()
        if nodes == self._observed:
            return
        self._observations.clear()
        self._observed = nodes
        for node in nodes:
            for event in (node.TransformModifiedEvent, node.ImageDataModifiedEvent):
                self._observations.add(self, node, event, self._onChanged)

    def _onRemoval(self, selector: Any, node: slicer.vtkMRMLNode) -> None:
        # otherwise the selector would switch to the next volume, which was not chosen as a phase
        if node is selector.currentNode() and not slicer.mrmlScene.IsClosing():
            selector.setCurrentNode(None)

    def _onChanged(self) -> None:
        if not slicer.mrmlScene.IsClosing():
            self._moved.start()

    def _missing(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if node is None:
            return _("Choose a phase first.")
        if node is session.volumeNode:
            return _("This is the volume itself; choose another phase.")
        return _("Wait until the current job is done.") if session.busy or self._shared.tasks.busy else ""


def takePhases(shared: Shared, parameters: Any = None) -> None:
    """Use the phases of a parameter node together with the session's volume.

    :param parameters: the node, if it is not the front's own.
    """
    parameters = shared.parameters if parameters is None else parameters
    if parameters is not None:
        shared.phases.choose(parameters.volume, chosenPhases(parameters))
