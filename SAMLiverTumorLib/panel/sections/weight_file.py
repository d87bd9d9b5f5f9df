"""`WeightFile`: weights from the user's computer, a published file or any other."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.download.digest import human_size
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.panel.panel_pool import FILE, modelsFor
from SAMLiverTumorLib.panel.section_context import Shared
from SAMLiverTumorLib.panel.sections.model_weights import Weights


class WeightFile:
    """Takes a file: a published one into the model store, any other as the chosen model.

    The file is read in the worker's thread and no code in it is run. Until its network is recognized, the previous
    choice is kept.
    """

    def __init__(self, shared: Shared, weights: Weights) -> None:
        self._shared, self._weights = shared, weights

    def choose(self, parent: qt.QWidget) -> None:
        """Ask for a file and take it."""
        name = qt.QFileDialog.getOpenFileName(
            parent, _("Weights"), "", _("Weights (*.pth *.pt *.safetensors);;All files (*)")
        )
        if name:
            self._take(Path(name).absolute())

    def described(self) -> str:
        """The chosen file for section Model: name, size, prompts, that it is unverified, or what to do."""
        text = self._shared.parameters.modelFile
        if not text:
            return _('No weight file is chosen yet: press "Use file…".')
        path = Path(text)
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            gone = _('{path} is gone: press "Use file…" to choose it again, or choose another model.')
            return gone.format(path=escape(text))
        info = self._shared.pool.fileInfo(text)
        prompts = promptsOf(info) if info is not None else _("its prompts are known once it is loaded")
        checked = _("not verified against a published hash")
        return f"<b>{escape(path.name)}</b>: {prompts}; {human_size(size)}; {checked}"

    def _take(self, path: Path) -> None:
        size = path.stat().st_size if path.is_file() else -1
        published = [info for info in load_registry().values() if info.size == size]
        store = self._shared.pool.store

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> ModelInfo | None:
            for info in published:
                try:
                    store.adopt(path, info, cancelled)
                except ModelError:  # of the same size by chance, or trained further
                    continue
                return info
            return None

        self._start(work, lambda info: self._recognize(path) if info is None else self._adopted(path, info))

    def _adopted(self, path: Path, info: ModelInfo) -> None:
        parameters = self._shared.parameters
        if parameters is not None and info not in modelsFor(parameters.model, ("points", "box")):
            parameters.model = info.id
        self._shared.session.say(_("{title} was taken from {name}.").format(title=info.title, name=path.name))

    def _recognize(self, path: Path) -> None:
        if not self._weights.havePackages():
            return
        pool = self._shared.pool
        self._start(lambda cancelled, progress: pool.recognized(str(path)), lambda info: self._use(path, info))

    def _use(self, path: Path, info: ModelInfo) -> None:
        parameters = self._shared.parameters
        if parameters is None:
            return
        with slicer.util.NodeModify(parameters.parameterNode):
            parameters.modelFile = str(path)
            parameters.model = FILE
        text = _("{name} is used from now on, for {prompts}; it is not verified against a published hash.")
        self._shared.session.say(text.format(name=path.name, prompts=promptsOf(info)))

    def _start(self, work: Callable, done: Callable) -> None:
        self._shared.tasks.start("file", _("Checking the file"), work, done)
        self._shared.follow()


def promptsOf(info: ModelInfo) -> str:
    """The kinds of prompts that a model takes."""
    return ", ".join(sorted(info.prompts - {"mask"}))
