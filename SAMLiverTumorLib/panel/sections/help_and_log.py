"""The section Help and log, and the status line."""

from __future__ import annotations

from slicer.i18n import tr as _

from SAMLiverTumorLib.panel.section_context import Shared

HOMEPAGE = "https://github.com/slicer-sam-liver-tumor/SlicerSAMLiverTumor"


class Log:
    """Shows the session's message and log."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self._shown: tuple[str, ...] = ()
        self._ui.logText.setFixedHeight(8 * self._ui.logText.fontMetrics().height() + 10)
        tutorial = f"{HOMEPAGE}/blob/main/docs/tutorial.md"
        self._ui.helpLabel.text = _(
            '<a href="{tutorial}">Tutorial</a> · <a href="{home}#readme">Documentation</a> · '
            '<a href="{home}/issues">Report a problem</a><br>'
            "Everything is computed on this computer. For research; not a medical device."
        ).format(tutorial=tutorial, home=HOMEPAGE)

    def update(self, missing: str) -> None:
        """Show the message, or what is missing if there is none."""
        showStatus(self._shared, missing)
        log = tuple(self._shared.session.log)
        if log != self._shown:
            self._shown = log
            self._ui.logText.setPlainText("\n".join(log))
            bar = self._ui.logText.verticalScrollBar()
            bar.setValue(bar.maximum)


def showStatus(shared: Shared, missing: str) -> None:
    """Update the status line: progress, the session's message, or what is missing."""
    session, tasks = shared.session, shared.tasks
    text = session.message or missing or _("Ready.")
    if tasks.busy:
        text = _progressText(tasks.title, *tasks.progress)
    if shared.ui.statusLabel.text != text:
        shared.ui.statusLabel.text = text


def _progressText(title: str, done: int, total: int | None) -> str:
    if not total:
        return _("{title} ...").format(title=title)
    if total > 1_000_000:
        return _("{title}: {done} of {total} MB").format(
            title=title, done=f"{done / 1e6:.1f}", total=f"{total / 1e6:.1f}"
        )
    return _("{title}: {done} of {total}").format(title=title, done=done, total=total)
