"""The section Export: writes the chosen segment, or all of them, in a common file format."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.panel.sections.model_weights import confirm
from SAMLiverTumorLib.panel.series_dialog import chooseSeries

# Imported where needed, because it imports SimpleITK and pydicom.
if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.api.export_segments import SegmentExport

_REQUIREMENTS = "requirements-dicom.txt"
_DICOM, _SEGMENTATION = ".dcm", ".seg.nrrd"


class Export:
    """Connects the choice of a format and the button, which asks for the path."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        #: The last folder written to, and the last folder of DICOM files.
        self._folder, self._dicomFolder = "", ""
        self._formats = {
            _DICOM: _("DICOM SEG (.dcm)"),
            _SEGMENTATION: _("Slicer segmentation (.seg.nrrd)"),
            ".nii.gz": _("Label map, NIfTI (.nii.gz)"),
            ".stl": _("Surface, STL (.stl)"),
            ".obj": _("Surface, OBJ (.obj)"),
        }
        for ending, name in self._formats.items():
            self._ui.exportFormatCombo.addItem(name, ending)
        self._ui.exportFormatCombo.currentIndex = list(self._formats).index(_SEGMENTATION)
        self._ui.exportButton.connect("clicked(bool)", self.export)

    def update(self) -> None:
        """Show whether there is anything to write."""
        toolTip = _("Write the chosen segment, or all segments, to a file that you choose.")
        enable(self._ui.exportButton, self._missing(), toolTip)

    def export(self) -> None:
        """Ask for a path and write: Slicer's own formats at once, the others in the worker's thread."""
        session, ui = self._shared.session, self._ui
        if self._missing():
            return
        ending = ui.exportFormatCombo.itemData(ui.exportFormatCombo.currentIndex)
        if ending == _DICOM and not self._haveHighdicom():
            return
        files = (None, None, False)
        if ending == _DICOM and (files := self._askDicomFiles()) is None:
            return
        path = self._askPath(ending)
        if path is None:
            return
        folder, series, derive = files
        from SAMLiverTumorLib.mrml.api.export_segments import prepareExport

        segmentIds = None if ui.exportAllCheckBox.checked else [session.segmentId]
        try:
            prepared = prepareExport(
                session.segmentationNode, session.volumeNode, path, segmentIds, folder, series, True, derive
            )
            if prepared.isOfScene:
                with slicer.util.WaitCursor():
                    self._report(prepared, prepared.write())
                return
        except SAMLiverTumorError as error:
            session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> tuple[str, ...]:
            progress(0, None)
            return prepared.write()

        title = _("Writing {name}").format(name=path.name)
        self._shared.tasks.start("export segments", title, work, lambda notes: self._report(prepared, notes))
        self._shared.follow()

    def _report(self, prepared: SegmentExport, notes: tuple[str, ...]) -> None:
        session = self._shared.session
        for note in notes:
            session.say(note)
        session.say(_("Written: {path}.").format(path=prepared.path))

    def _askPath(self, ending: str) -> Path | None:
        """The path to write to; None if the user cancels."""
        session = self._shared.session
        isAll = self._ui.exportAllCheckBox.checked
        name = session.segmentationNode.GetName() if isAll else self._shared.state.segmentName
        proposed = "".join(c if c.isalnum() or c in " -_" else "_" for c in name).strip() or "segmentation"
        title = _("Write segments to a file")
        start = str(Path(self._folder) / (proposed + ending))
        chosen = qt.QFileDialog.getSaveFileName(
            self._ui.exportButton, title, start, f"{self._formats[ending]} (*{ending})"
        )
        if not chosen:
            return None
        path = Path(chosen)
        if not path.name.lower().endswith(ending):
            path = path.with_name(path.name + ending)
            question = _("{path} exists already. Replace it?").format(path=path)
            if path.exists() and not confirm(question):
                return None
        self._folder = str(path.parent)
        return path

    def _askDicomFiles(self) -> tuple[Path, str | None, bool] | None:
        """(folder of the volume's DICOM files, its series where known, whether identifiers may be made up).

        None where nobody knows, or the user does not agree. Asked before the place of the output is.
        """
        from SAMLiverTumorLib.mrml.api.dicom_seg import databaseFiles, rememberedFiles, unknownFiles

        session = self._shared.session
        volumeNode = session.volumeNode
        known = databaseFiles(volumeNode) or rememberedFiles(volumeNode)
        if known is None:
            title = _("Folder of the DICOM files of {volume}").format(volume=volumeNode.GetName())
            folder = qt.QFileDialog.getExistingDirectory(self._ui.exportButton, title, self._dicomFolder)
            if not folder:
                session.say(unknownFiles(volumeNode))
                return None
            self._dicomFolder = folder
            known = (Path(folder), None)
        try:
            return self._checked(*known)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return None

    def _checked(self, folder: Path, series: str | None) -> tuple[Path, str | None, bool] | None:
        """As `_askDicomFiles`, of files that are known.

        :raises InputError: a DICOM SEG cannot refer to them.
        """
        from SAMLiverTumorLib.io.dicom.identifiers import MissingIdentifiers
        from SAMLiverTumorLib.io.dicom.source import read_source
        from SAMLiverTumorLib.io.dicom.stacks import SeveralSeries

        try:
            with slicer.util.WaitCursor():
                read_source(folder, series)
        except SeveralSeries as several:
            title, question = _("Export to DICOM SEG"), _("The folder holds several series. Which is the volume's?")
            stack = chooseSeries(several.stacks, title, question, self._ui.exportButton)
            return None if stack is None else self._checked(folder, stack.uid or stack.number)
        except MissingIdentifiers as missing:
            what = "\n".join(f"{name}: {found}" for name, found in missing.lacking.items())
            question = _(
                "The files of this series lack identifiers that a DICOM SEG refers to them by, as those of 3D-IRCADb "
                "do:\n{what}\nMake them from the series' own UID? The same ones are made each time, and the files stay "
                "as they are."
            ).format(what=what)
            if not confirm(question):
                self._shared.session.say(str(missing))
                return None
            return folder, series, True
        return folder, series, False

    def _haveHighdicom(self) -> bool:
        """Install the package that writes DICOM SEG, after asking the user, if Slicer does not include it."""
        if importlib.util.find_spec("highdicom") is not None:
            return True
        from SAMLiverTumorLib.mrml.application.packages import ensureRequirements

        try:
            ensureRequirements(str(Path(self._shared.requirements).with_name(_REQUIREMENTS)))
        except SAMLiverTumorError as error:
            self._shared.session.say(str(error))
            return False
        importlib.invalidate_caches()
        if importlib.util.find_spec("highdicom") is None:
            text = _("The package highdicom is missing, which DICOM SEG needs; choose another format, or install it.")
            self._shared.session.say(text)
            return False
        return True

    def _missing(self) -> str:
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if not session.segmentId:
            return _("There is no segment to write.")
        return _("Wait until the current job is done.") if session.busy or self._shared.tasks.busy else ""
