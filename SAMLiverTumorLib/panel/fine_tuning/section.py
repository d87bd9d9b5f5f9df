"""The section Fine-tune: a training run on the user's data, in a process that outlives Slicer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctk
import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.training_nodes import TRAINING_ATTRIBUTE, plotFromTraining, tableFromTraining
from SAMLiverTumorLib.panel.fine_tuning.compare_button import TrainCompare
from SAMLiverTumorLib.panel.fine_tuning.settings import SCENE, baseModel, nameTrainChoices, settingsOf
from SAMLiverTumorLib.panel.fine_tuning.status_text import noteText, resultHtml, stateText, verdict
from SAMLiverTumorLib.panel.fine_tuning.watched_training import (
    Training,
    datedFolder,
    isUsed,
    runningFolder,
    trainingRoot,
)
from SAMLiverTumorLib.panel.panel_pool import FILE
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.panel.sections.model_weights import Weights
from SAMLiverTumorLib.training.runs.progress_record import DONE

if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.api.training_case import SceneCase

# It reads a file, for hours: not at each tick of the engine's timer.
_POLL_MS = 1000
_REQUIREMENTS = "requirements-train.txt"


class Train:
    """Connects the choices, the buttons and the curves to one training run.

    The training run is a separate process that logs to its folder, which is read once a second while it runs.

    :param training: the training run; in a real process by default.
    """

    def __init__(self, shared: Shared, weights: Weights, training: Training | None = None) -> None:
        self._shared, self._ui, self._weights = shared, shared.ui, weights
        self.training = training or Training()
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self.poll)
        self._hasLooked = self._hasCurves = False
        self._shown: tuple = (None, False, False)
        ui = self._ui
        self._paths = {
            "trainImages": ui.trainImagesEdit,
            "trainLabels": ui.trainLabelsEdit,
            "trainFolder": ui.trainFolderEdit,
        }
        for name, edit in self._paths.items():
            # the parameter node's wrapper supports only pathlib paths, for which empty is "."
            edit.filters = ctk.ctkPathLineEdit.Dirs
            edit.connect("currentPathChanged(QString)", lambda path, name=name: self._onPath(name, path))
        ui.trainFolderEdit.toolTip = _(
            "The folder for the training run's files; empty for a new one in {root}."
        ).format(root=trainingRoot())
        ui.trainStartButton.connect("clicked(bool)", self.start)
        ui.trainCancelButton.connect("clicked(bool)", self.cancel)
        ui.trainResumeButton.connect("clicked(bool)", self.resume)
        ui.trainPlotButton.connect("clicked(bool)", self.plot)
        ui.trainUseButton.connect("clicked(bool)", self.use)
        self.comparison = TrainCompare(shared, self.training)

    def apply(self) -> None:
        """Apply the parameter node; a running training run takes precedence over a loaded scene."""
        parameters, training = self._shared.parameters, self.training
        if parameters is None:
            return
        if not self._hasLooked:
            self._hasLooked = True
            folder = None if parameters.trainFolder else runningFolder()
            if folder is not None:
                parameters.trainFolder = str(folder)
        if training.isWatched:
            parameters.trainFolder = str(training.folder)
        elif parameters.trainFolder and Path(parameters.trainFolder).absolute() != training.folder:
            training.open(Path(parameters.trainFolder).absolute())
            self._hasCurves = False
        for name, edit in self._paths.items():
            if edit.currentPath != getattr(parameters, name):
                edit.currentPath = getattr(parameters, name)
        self._follow()

    def update(self) -> None:
        """Show the state of the training run, and enable the buttons."""
        ui, training, record = self._ui, self.training, self.training.record
        isScene = self._shared.parameters is None or self._shared.parameters.trainSource == SCENE
        nameTrainChoices(ui)
        for edit in (ui.trainImagesEdit, ui.trainLabelsEdit):
            reason = _('Not needed: training uses "This scene".') if isScene else ""
            enable(edit, reason, _("A folder of NIfTI, NRRD or MetaImage files that are named by patient."))
        start = _("Start training in a separate process; Slicer can be closed meanwhile.")
        enable(ui.trainStartButton, self._missing(), start)
        isRunning = "" if training.isWatched and not training.isCancelled else _("No training run is in progress.")
        enable(ui.trainCancelButton, isRunning, _("Save and stop after the current step; the training can be resumed."))
        noResume = "" if training.canResume else _("There is no interrupted training run in the folder.")
        enable(ui.trainResumeButton, self._busy() or noResume, _("Resume the training run in the folder."))
        noCurves = "" if record.losses or record.dices else _("There are no curves yet.")
        enable(ui.trainPlotButton, noCurves, _("Plot loss and validation Dice, updated live."))
        enable(ui.trainUseButton, self._missingModel(), _("Use the new model from now on."))
        shown = (record, training.isWatched, training.isCancelled)
        if any(a is not b for a, b in zip(shown, self._shown, strict=True)):
            self._shown = shown
            texts = stateText(*shown), resultHtml(record), noteText(record)
            for label, text in zip((ui.trainStateLabel, ui.trainResultLabel, ui.trainNoteLabel), texts, strict=True):
                label.text = text
                label.setVisible(bool(text))
        self.comparison.update(training)
        ui.trainProgressBar.enabled = training.isWatched
        isCounted = record.steps > 0 and record.eta_s is not None
        # a range of 0 to 0 shows an indeterminate bar
        ui.trainProgressBar.setRange(0, record.steps if isCounted else int(not training.isWatched))
        ui.trainProgressBar.setValue(min(record.step, record.steps) if isCounted else 0)

    def start(self) -> None:
        """Start training, after preparing packages, the base model and the scene's files."""
        parameters = self._shared.parameters
        if not self._missing():
            self._weights.prepare(self._export, frozenset({"box"}), baseModel(parameters))

    def resume(self) -> None:
        """Resume the training run in the folder."""
        if self.training.canResume and self._weights.havePackages() and self._haveMonai():
            self._try(lambda: self.training.start(self.training.resumedSettings(), resume=True))

    def cancel(self) -> None:
        """Request the training run to stop."""
        self._try(self.training.cancel)

    def poll(self) -> None:
        """Process what the training run has reported."""
        if self.training.poll():
            self._showCurves(make=not self._hasCurves)
            if not self.training.isWatched:
                self._ended()
            self._follow()
            self.update()

    def plot(self) -> None:
        """Show the curves in the layout, if there is one."""
        self._showCurves(make=True)
        parameters = self._shared.parameters
        if parameters is None or parameters.training is None:
            return
        chartNode = plotFromTraining(slicer.mrmlScene, parameters.training)
        if slicer.app.layoutManager() is not None and hasattr(slicer.modules, "plots"):
            slicer.modules.plots.logic().ShowChartInLayout(chartNode)
        self._shared.session.say(_("Plot: {name}.").format(name=chartNode.GetName()))

    def use(self) -> None:
        """Choose the new model."""
        parameters = self._shared.parameters
        if parameters is None or self._missingModel():
            return
        with slicer.util.NodeModify(parameters.parameterNode):
            parameters.modelFile = str(self._weightFile())
            parameters.model = FILE
        self._shared.session.say(_("{name} is used from now on.").format(name=self._weightFile()))

    def close(self) -> None:
        """Stop polling; the training run continues."""
        self._timer.stop()
        self.comparison.close()

    def _export(self) -> None:
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is None or not self._haveMonai():
            return
        folder = Path(parameters.trainFolder).absolute() if parameters.trainFolder else None
        if folder is None or (isUsed(folder) and folder.parent == trainingRoot()):
            folder = datedFolder()
        if parameters.trainSource != SCENE:
            self._start(folder, Path(parameters.trainImages), Path(parameters.trainLabels), hasLiver=True)
            return
        from SAMLiverTumorLib.mrml.api.training_case import sceneCase

        try:
            liver = session.inside()
            case: SceneCase = sceneCase(session.volumeNode, session.segmentationNode, session.segmentId, liver)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> tuple[Path, Path]:
            return case.write(folder / "data")

        def done(folders: tuple[Path, Path]) -> None:
            self._start(folder, *folders, hasLiver=liver is not None)

        self._shared.tasks.start("export", _("Writing volume and segments for training"), work, done)
        self._shared.follow()

    def _start(self, folder: Path, images: Path, labels: Path, hasLiver: bool) -> None:
        parameters = self._shared.parameters
        if parameters is None:
            return
        self._hasCurves = False
        started = self._try(lambda: self.training.start(settingsOf(parameters, folder, images, labels, hasLiver)))
        if started:
            parameters.training = None
            parameters.trainFolder = str(folder)
            self._shared.session.say(_("Training has started; it continues when Slicer is closed."))

    def _try(self, action: Callable[[], Any]) -> bool:
        try:
            action()
        except (SAMLiverTumorError, OSError) as error:
            self._shared.session.say(str(error))
            return False
        finally:
            self._follow()
            self.update()
        return True

    def _haveMonai(self) -> bool:
        from SAMLiverTumorLib.mrml.application.packages import ensurePackages

        try:
            ensurePackages(str(Path(self._shared.requirements).with_name(_REQUIREMENTS)), skip=("torch",))
        except SAMLiverTumorError as error:
            self._shared.session.say(str(error))
            return False
        return True

    def _ended(self) -> None:
        record, session = self.training.record, self._shared.session
        session.say(stateText(record, False, False))
        if record.phase == DONE:
            session.say(verdict(record))
            if record.adopted:
                self.use()

    def _showCurves(self, make: bool) -> None:
        """Update the nodes from the record; nodes deleted by the user are created again only on request."""
        parameters, record = self._shared.parameters, self.training.record
        if parameters is None or not (record.losses or record.dices):
            return
        node = parameters.training
        node = node if node is not None and node.GetAttribute(TRAINING_ATTRIBUTE) else None
        if node is not None or make:
            name = _("Training {name}").format(name=self.training.folder.name)
            parameters.training = tableFromTraining(slicer.mrmlScene, record, name, node)
            plotFromTraining(slicer.mrmlScene, parameters.training)
            self._hasCurves = True

    def _follow(self) -> None:
        if self.training.isWatched and not self._timer.active:
            self._timer.start()
        elif not self.training.isWatched and self._timer.active:
            self._timer.stop()

    def _missing(self) -> str:
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is None or (parameters.trainSource == SCENE and session.volumeNode is None):
            return _("Choose a volume.")
        if self._busy():
            return self._busy()
        if parameters.trainSource == SCENE and not session.segmentId:
            return _("Outline tumors in a segment first, to train on.")
        if parameters.trainSource != SCENE:
            for name, text in (
                ("trainImages", _("Choose the folder of the images.")),
                ("trainLabels", _("Choose the folder of the labels.")),
            ):
                if not getattr(parameters, name) or not Path(getattr(parameters, name)).is_dir():
                    return text
        if parameters.model == FILE and not Path(parameters.modelFile).is_file():
            return _("Choose the model to start from in section Model.")
        folder = Path(parameters.trainFolder) if parameters.trainFolder else None
        if folder is not None and folder.parent != trainingRoot() and isUsed(folder):
            return _("The folder already holds a training run: choose another, or leave it empty for a new one.")
        return ""

    def _busy(self) -> str:
        if self.training.isWatched:
            return _("A training run is in progress.")
        return _("Wait until the current job is done.") if self._shared.tasks.busy else ""

    def _missingModel(self) -> str:
        parameters, record = self._shared.parameters, self.training.record
        if record.phase != DONE:
            return _("There is no new model yet.")
        if parameters is not None and (parameters.model, parameters.modelFile) == (FILE, str(self._weightFile())):
            return _("It is already the chosen model.")
        return "" if self._weightFile().is_file() else _("The file of the new model is gone.")

    def _weightFile(self) -> Path:
        return (self.training.folder / self.training.record.weights).absolute()

    def _onPath(self, name: str, path: str) -> None:
        if self._shared.parameters is not None and getattr(self._shared.parameters, name) != path:
            setattr(self._shared.parameters, name, path)
