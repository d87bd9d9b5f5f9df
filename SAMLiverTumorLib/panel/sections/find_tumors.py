"""The button Find tumors: searches the volume by text alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.panel.panel_pool import textModel
from SAMLiverTumorLib.panel.section_context import Shared, enable


class Find:
    """Connects the button to the session's search.

    :param prepare: `prepare(go, kinds, model)` installs packages and weights of a model and then calls `go()`.
    :param ensureSegment: makes sure there is a segment to write to; returns False if that is not possible.
    """

    def __init__(
        self, shared: Shared, prepare: Callable[..., None], ensureSegment: Callable[[], bool] = lambda: True
    ) -> None:
        self._shared, self._prepare, self._ensureSegment = shared, prepare, ensureSegment
        self._button = shared.ui.findButton
        self._button.connect("clicked(bool)", self.find)

    def find(self) -> None:
        """Search for tumors, after installing what is missing."""
        model = self._model()
        if model:
            self._prepare(partial(self._go, model), frozenset({"text"}), model)

    def update(self) -> None:
        """Show whether a search is possible, and if not why."""
        session, missing = self._shared.session, ""
        if session.volumeNode is None:
            missing = _("Choose a volume.")
        elif not self._model():
            missing = _(
                "No model here takes text prompts: choose a weight file trained with text in section Model, or train "
                "one in section Fine-tune."
            )
        elif self._shared.state.searching is not None:
            missing = _("The volume is being searched.")
        toolTip = _(
            "Search the whole volume for tumors, slice by slice, without prompts. A liver chosen under Stay inside "
            "prevents marks in other organs, and makes it faster."
        )
        enable(self._button, missing, toolTip)

    def _go(self, model: str) -> None:
        session = self._shared.session
        try:
            inside = session.inside()
            if self._ensureSegment():
                session.find(model, inside)
        except SAMLiverTumorError as error:
            session.say(str(error))
        self._shared.follow()

    def _model(self) -> str:
        return textModel(self._shared.session.settings.model)
