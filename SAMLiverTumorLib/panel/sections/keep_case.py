"""The buttons of section Fine-tune that keep cases and train on kept cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.datasets.store.case_store import REPLACED, UNCHANGED, CaseStore
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.panel.section_context import Shared, enable

if TYPE_CHECKING:
    from SAMLiverTumorLib.datasets.store.case_store import Added

FOLDERS = "folders"


class KeepCase:
    """Connects the buttons to the user's store of cases.

    :param store: the store; the user's own by default.
    """

    def __init__(self, shared: Shared, store: CaseStore | None = None) -> None:
        self._shared, self._ui = shared, shared.ui
        self.store = store or CaseStore()
        self._count: int | None = None
        self._ui.trainKeepButton.connect("clicked(bool)", self.keep)
        self._ui.trainKeptButton.connect("clicked(bool)", self.learn)

    def apply(self) -> None:
        """Count the cases again: the console program may have kept some."""
        self._count = None

    def update(self) -> None:
        """Show the number of kept cases, and enable the buttons."""
        ui = self._ui
        if self._count is None:
            self._count = self._counted()
        keep = _(
            "Keep volume, chosen segment and the liver chosen under Stay inside, with models and prompts, for "
            "training: without names, numbers, dates and file names, on this computer only. A scan that is already "
            "kept gets the new outlines."
        )
        enable(ui.trainKeepButton, self._missing(), keep)
        nothing = "" if self._count else _("No case is kept yet.")
        enable(ui.trainKeptButton, nothing, _("Train on the kept cases."))
        text = _("{count} case kept") if self._count == 1 else _("{count} cases kept")
        ui.trainKeptLabel.text = text.format(count=self._count)
        ui.trainKeptLabel.toolTip = _("In {folder}.").format(folder=self.store.root)

    def keep(self) -> None:
        """Keep what is outlined, in the worker's thread."""
        session = self._shared.session
        if self._missing():
            return
        from SAMLiverTumorLib.mrml.api.keep_case import outlinedCase

        try:
            case = outlinedCase(session.volumeNode, session.segmentationNode, session.segmentId, session.inside())
        except SAMLiverTumorError as error:
            session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> Added:
            return case.store(self.store, cancel=cancelled)

        self._shared.tasks.start("keep", _("Keeping the case for training"), work, self._kept)
        self._shared.follow()

    def learn(self) -> None:
        """Choose the kept cases as training data."""
        parameters = self._shared.parameters
        if parameters is None or not self._count:
            return
        with slicer.util.NodeModify(parameters.parameterNode):
            parameters.trainSource = FOLDERS
            parameters.trainImages = parameters.trainLabels = str(self.store.root)

    def _kept(self, added: Added) -> None:
        self._count = None
        text = _("{name} is kept for training: tumor {volume} ml.")
        if added.state == REPLACED:
            text = _("{name} is kept with its new outlines: tumor {volume} ml.")
        elif added.state == UNCHANGED:
            text = _("{name} is already kept, unchanged: tumor {volume} ml.")
        self._shared.session.say(text.format(name=added.case.name, volume=f"{added.case.tumor_ml:.2f}"))
        self.update()

    def _counted(self) -> int:
        try:
            return self.store.count()
        except (SAMLiverTumorError, OSError):
            # the folder is not a store; keeping a case reports what is wrong with it
            return 0

    def _missing(self) -> str:
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if not session.segmentId:
            return _("Outline tumors in a segment first.")
        return _("Wait until the current job is done.") if session.busy or self._shared.tasks.busy else ""
