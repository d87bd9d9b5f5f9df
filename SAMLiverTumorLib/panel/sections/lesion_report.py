"""The part of section Evaluate that measures the lesions of the chosen segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode, spacingNote
from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource
from SAMLiverTumorLib.mrml.nodes.lesion_nodes import TABLE_ATTRIBUTE, hideDiameters, showDiameters, tableFromLesions
from SAMLiverTumorLib.mrml.segments.segments import provenance
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.lesion_report.table import LesionReport


class Lesions:
    """Connects the button Lesion report, the check box for the diameters and the table."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self._report: LesionReport | None = None
        self._ui.lesionReportButton.connect("clicked(bool)", self.measure)
        self._ui.lesionDiametersCheckBox.connect("toggled(bool)", self._onDiameters)
        self._ui.lesionTable.verticalHeader().hide()
        self._fit()

    def update(self) -> None:
        """Show the table and what is missing."""
        toolTip = _(
            "Measure each lesion of the chosen segment: volume, diameters, HU, nearest lesion. With the liver chosen "
            "under Stay inside also its share of the liver and its distance to the liver's border."
        )
        enable(self._ui.lesionReportButton, self._missing(), toolTip)
        tableNode = self._tableNode()
        if tableNode is None:
            self._report = None
        if self._ui.lesionTable.mrmlTableNode() is not tableNode:
            self._ui.lesionTable.setMRMLTableNode(tableNode)
            self._fit()

    def measure(self) -> None:
        """Measure in the worker's thread."""
        session = self._shared.session
        try:
            grid = gridFromNode(session.volumeNode)
            voxels = slicer.util.arrayFromVolume(session.volumeNode)
            # a copy, because prompts may change the segment meanwhile
            segment = segmentSource(session.segmentationNode, session.segmentId).copied()
            inside = session.inside()
            entries = provenance(session.segmentationNode, session.segmentId)
            lost = spacingNote(session.volumeNode)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> _Measured:
            from SAMLiverTumorLib.evaluation.lesion_report.measure import measure_lesions  # brings scipy

            def step(done: int, total: int | None) -> None:
                raise_if_cancelled(cancelled)
                progress(done, total)

            step(0, None)
            # checks every voxel of a float volume for NaN
            volume = Volume(voxels, grid.ijk_to_ras, grid.name)
            mask, notes = segment.onGrid(grid)
            step(0, None)
            liver, noted = inside.onGrid(grid) if inside is not None else (None, ())
            report = measure_lesions(mask, volume, liver, 0.0, entries, (*notes, *noted), step)
            return _Measured(segment.name, report, lost)

        self._shared.tasks.start("lesions", _("Measuring the lesions"), work, self._show)
        self._shared.follow()

    def _show(self, measured: _Measured) -> None:
        parameters, report = self._shared.parameters, measured.report
        if parameters is None:
            return
        title = _("Lesions of {name}").format(name=measured.name)
        parameters.lesions = tableFromLesions(slicer.mrmlScene, report, title, self._tableNode())
        self._report = report
        self._onDiameters()
        self._ui.lesionTable.setMRMLTableNode(parameters.lesions)
        self._ui.lesionTable.toolTip = "\n\n".join(report.notes)
        self._fit()
        if measured.lost:
            self._shared.session.say(measured.lost)
        count = len(report.rows)
        text = _("{count} lesions, {volume} ml. For research; not a medical device.")
        if count == 1:
            text = _("{count} lesion, {volume} ml. For research; not a medical device.")
        self._shared.session.say(text.format(count=count, volume=f"{report.total_ml:.2f}"))

    def _onDiameters(self, checked: bool | None = None) -> None:
        """Show the diameters of the last report, or remove them."""
        tableNode = self._tableNode()
        if tableNode is None:
            return
        if not self._ui.lesionDiametersCheckBox.checked:
            hideDiameters(slicer.mrmlScene, tableNode)
        elif self._report is not None:
            showDiameters(slicer.mrmlScene, self._report, tableNode)

    def _fit(self) -> None:
        """Fit the table's height to its rows, at most six, with header and scroll bar."""
        table = self._ui.lesionTable
        table.resizeColumnsToContents()
        table.resizeRowsToContents()
        tableNode = self._tableNode()
        count = tableNode.GetNumberOfRows() if tableNode is not None else 0
        table.setFixedHeight((min(max(count, 1), 6) + 2) * (table.fontMetrics().height() + 6))

    def _tableNode(self) -> slicer.vtkMRMLTableNode | None:
        parameters = self._shared.parameters
        node = parameters.lesions if parameters is not None else None
        return node if node is not None and node.GetAttribute(TABLE_ATTRIBUTE) else None

    def _missing(self) -> str:
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if not session.segmentId:
            return _("There is no segment to measure.")
        if session.busy or self._shared.tasks.busy:
            return _("Wait until the current job is done.")
        return ""


class _Measured(NamedTuple):
    """A segment's name, its lesions, and a warning about the volume's spacing, if any."""

    name: str
    report: LesionReport
    lost: str
