"""`Ircadb`: the button that loads a case from the user's own copy of 3D-IRCADb."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.panel.engine import whenIdle
from SAMLiverTumorLib.panel.section_context import Shared

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.ircadb.cases import IrcadbCase, IrcadbFolder

Progress = Callable[[int, "int | None"], None]


class Ircadb:
    """Asks for a folder, reads its case in the worker's thread, and adds it to the scene structure by structure.

    The folder holds one case or several, unpacked or as zip files. A skin of 512 x 512 x 200 voxels takes some 20 ms
    to add, so one structure is added per event.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared, self._button = shared, shared.ui.loadIrcadbButton
        self._adding: Iterator | None = None
        #: Where a case was loaded from last.
        self._folder = ""
        self._next = whenIdle(0, self._addNext)
        self._button.connect("clicked(bool)", self._onLoad)

    def close(self) -> None:
        """Add nothing more."""
        self._next.stop()
        self._adding = None

    def _onLoad(self) -> None:
        if self._shared.parameters is None or self._adding is not None:
            return
        title = _("Folder of 3D-IRCADb, or of one of its cases")
        folder = qt.QFileDialog.getExistingDirectory(self._button, title, self._folder)
        if not folder:
            return
        self._folder = folder

        def work(cancelled: Callable[[], bool], progress: Progress) -> list[IrcadbFolder]:
            from SAMLiverTumorLib.io.ircadb.cases import find_ircadb

            return find_ircadb(folder)

        self._start(_("Looking for cases of 3D-IRCADb"), work, self._choose)

    def _choose(self, found: list[IrcadbFolder]) -> None:
        chosen = found[0]
        if len(found) > 1:
            names = [case.name for case in found]
            # Cancel returns the empty first item
            name = qt.QInputDialog.getItem(
                self._button, _("Load 3D-IRCADb case"), _("Patient:"), ["", *names], 0, False
            )
            if name not in names:
                return
            chosen = found[names.index(name)]
        self._read(chosen.path)

    def _read(self, path: Path) -> None:
        def work(cancelled: Callable[[], bool], progress: Progress) -> tuple[IrcadbCase, int, float]:
            from SAMLiverTumorLib.io.ircadb.cases import read_ircadb

            case = read_ircadb(path, progress=progress, cancel=cancelled)
            # cached in the case: unite the tumors here, not in the GUI thread
            return case, len(case.segments), case.liver_tumor.volume_ml

        self._start(_("Reading slices"), work, self._add)

    def _add(self, read: tuple[IrcadbCase, int, float]) -> None:
        self._adding = self._added(*read, self._shared.parameters)
        self._next.start()

    def _addNext(self) -> None:
        adding = self._adding
        try:
            if next(adding, self) is not self:
                self._next.start()
                return
        finally:
            # at the end, or where it failed
            if not self._next.active:
                self.close()

    def _added(self, case: IrcadbCase, count: int, ml: float, parameters: Any) -> Iterator[None]:
        """Add a case with a pause after each structure; stop if its nodes or the scene are removed meanwhile."""
        from SAMLiverTumorLib.mrml.api.load_ircadb import addingIrcadbCase

        def isGone(*nodes: slicer.vtkMRMLNode) -> bool:
            present = all(slicer.mrmlScene.IsNodePresent(node) for node in nodes)
            return not present or self._shared.parameters is not parameters

        if isGone():
            return
        for volumeNode, segmentationNode in addingIrcadbCase(slicer.mrmlScene, case):
            yield
            if isGone(volumeNode, segmentationNode):
                return
        segmentationNode.GetDisplayNode().SetVisibility(False)
        parameters.volume = volumeNode
        if case.tumors:
            parameters.reference = segmentationNode
        if slicer.app.layoutManager() is not None:
            slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
        self._report(case, count, ml)

    def _report(self, case: IrcadbCase, count: int, ml: float) -> None:
        from SAMLiverTumorLib.io.ircadb.lits_cases import overlap_note

        session = self._shared.session
        licenseText = _(
            "3D-IRCADb is licensed CC BY-NC-ND 3.0: for non-commercial research; do not redistribute it or anything "
            "made from it."
        )
        for text in (*case.notes, overlap_note([case.name]), licenseText):
            if text:
                session.say(text)
        if case.tumors:
            text = _("{name} loaded: {ml} ml of liver tumor; its {count} structures are hidden, see Evaluate.")
        else:
            text = _("{name} loaded: it has no liver tumor; its {count} structures are hidden.")
        session.say(text.format(name=case.name, ml=f"{ml:.1f}", count=count))

    def _start(self, title: str, work: Callable, done: Callable) -> None:
        self._shared.tasks.start("ircadb", title, work, done)
        self._shared.follow()
