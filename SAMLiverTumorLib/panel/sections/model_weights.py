"""`Weights`: installs packages and weights for the networks, after the user agrees."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.models.download.digest import human_size
from SAMLiverTumorLib.models.registry import ModelInfo
from SAMLiverTumorLib.panel.section_context import Shared


class Weights:
    """Asks for and installs packages and models, for all parts of the panel."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def prepare(self, go: Callable[[], None], kinds: frozenset[str] | None = None, model: str | None = None) -> None:
        """Install the packages and models that prompts need, after asking the user, and then call `go`.

        :param kinds: of prompts; the current ones by default.
        :param model: as `chosenModel`; the session's by default.
        """
        if not self.havePackages():
            return
        pool, session = self._shared.pool, self._shared.session
        kinds = self._shared.state.promptKinds if kinds is None else kinds
        missing = pool.missingModels(model or session.settings.model, kinds)
        if missing:
            self.download(missing, go)
        else:
            go()

    def havePackages(self) -> bool:
        """Install missing Python packages, after asking the user; returns whether all are available."""
        try:
            if self._shared.pool.missingPackages():
                from SAMLiverTumorLib.mrml.application.packages import ensurePackages

                ensurePackages(self._shared.requirements)
        except SAMLiverTumorError as error:
            self._shared.session.say(str(error))
            return False
        return True

    def download(self, infos: list[ModelInfo], done: Callable[[], None] | None = None) -> None:
        """Download models in the worker's thread, after the user agrees, and then call `done`."""
        store, session = self._shared.pool.store, self._shared.session
        listed = "\n".join(
            f"{info.title}, {human_size(info.size)}, {info.licence}, {_('from')} {info.sources[-1]}" for info in infos
        )
        question = _("Download these weights? They are verified and stored in {folder}.").format(folder=store.root)
        if not confirm(f"{question}\n\n{listed}"):
            session.say(_("Nothing was downloaded."))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> None:
            for info in infos:
                store.fetch(info, lambda question: True, progress, cancelled)

        def finished(value: object) -> None:
            session.say(_("Downloaded: {models}.").format(models=", ".join(info.title for info in infos)))
            if done is not None:
                done()

        self._shared.tasks.start("download", _("Downloading"), work, finished)
        self._shared.follow()


def confirm(question: str) -> bool:
    """Ask the user; always no in testing mode, where Slicer answers yes and tests would start downloads."""
    return not slicer.app.testingEnabled() and slicer.util.confirmYesNoDisplay(question)
