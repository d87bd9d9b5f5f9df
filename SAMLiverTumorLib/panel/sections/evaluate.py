"""The section Evaluate: compares the chosen segment with a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode, spacingNote
from SAMLiverTumorLib.mrml.nodes.evaluation_nodes import TABLE_ATTRIBUTE, hasPlot, plotFromTable, tableFromEvaluation
from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.panel.voxel_source_selector import Reference

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.metrics.evaluate import Evaluation


class Evaluate:
    """Connects the reference, the table and the plot."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self.reference = Reference(shared, self.update)
        self._ui.evaluateButton.connect("clicked(bool)", self.evaluate)
        self._ui.plotButton.connect("clicked(bool)", self.plot)
        self._ui.evaluationTable.verticalHeader().hide()
        self._ui.evaluationTable.setFixedHeight(9 * (self._ui.evaluationTable.fontMetrics().height() + 6))

    def apply(self) -> None:
        """Apply the reference chosen in the parameter node."""
        self.reference.apply()

    def update(self) -> None:
        """Show the reference's segments and what is missing."""
        self.reference.update()
        toolTip = _("Compare the chosen segment with the reference, as a whole and lesion by lesion.")
        enable(self._ui.evaluateButton, self._missing(), toolTip)
        noTable = "" if self._tableNode() is not None else _("Press Evaluate first.")
        if not noTable and not hasPlot(self._tableNode()):
            noTable = _("There is no lesion to plot.")
        enable(self._ui.plotButton, noTable, _("Plot the Dice of each lesion."))
        if self._ui.evaluationTable.mrmlTableNode() is not self._tableNode():
            self._ui.evaluationTable.setMRMLTableNode(self._tableNode())
            self._fit()

    def evaluate(self) -> None:
        """Compare in the worker's thread, on the volume's grid."""
        session = self._shared.session
        segmentationNode = session.segmentationNode
        try:
            grid = gridFromNode(session.volumeNode)
            # a copy, because prompts may change the segment meanwhile
            segment = segmentSource(segmentationNode, session.segmentId).copied()
            reference = self.reference.source()
            lost = spacingNote(session.volumeNode)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return
        voxel = 0.001 * abs(float(np.linalg.det(grid.ijk_to_ras[:3, :3])))

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> _Compared:
            from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate  # brings scipy

            def step(done: int, total: int | None) -> None:
                raise_if_cancelled(cancelled)
                progress(done, total)

            masks, notes = [], [lost] * bool(lost)
            for source in (segment, reference):
                step(0, None)
                mask, noted = source.onGrid(grid)
                masks.append(mask)
                notes += noted
            step(0, None)
            return _Compared(segment.name, evaluate({segment.name: masks[0]}, masks[1], voxel, progress=step), notes)

        self._shared.tasks.start("evaluate", _("Evaluating"), work, self._show)
        self._shared.follow()

    def plot(self) -> None:
        """Show the plot in the layout, if there is one."""
        chartNode = plotFromTable(slicer.mrmlScene, self._tableNode())
        if slicer.app.layoutManager() is not None and hasattr(slicer.modules, "plots"):
            slicer.modules.plots.logic().ShowChartInLayout(chartNode)
        self._shared.session.say(_("Plot: {name}.").format(name=chartNode.GetName()))

    def close(self) -> None:
        """Release the scene."""
        self.reference.close()

    def _show(self, compared: _Compared) -> None:
        from SAMLiverTumorLib.evaluation.metrics.evaluate import AVERAGING_RULE, EMPTY_RULE

        parameters, evaluation = self._shared.parameters, compared.evaluation
        if parameters is None:
            return
        title = _("Evaluation of {name}").format(name=compared.name)
        parameters.evaluation = tableFromEvaluation(slicer.mrmlScene, evaluation, title, self._tableNode())
        self._ui.evaluationTable.setMRMLTableNode(parameters.evaluation)
        self._fit()
        self._ui.evaluationNotesLabel.text = "\n".join([*compared.notes, AVERAGING_RULE, EMPTY_RULE])
        self._ui.evaluationNotesLabel.toolTip = "\n\n".join(evaluation.notes)
        overall = evaluation.overall.dice
        dice = "-" if overall is None else f"{overall:.3f}"
        for note in compared.notes:
            self._shared.session.say(note)
        text = _("Dice {dice}; {found} of {count} lesions found.")
        self._shared.session.say(text.format(dice=dice, found=len(evaluation.found), count=len(evaluation.lesions)))

    def _fit(self) -> None:
        table = self._ui.evaluationTable
        table.resizeColumnsToContents()
        table.resizeRowsToContents()

    def _tableNode(self) -> slicer.vtkMRMLTableNode | None:
        parameters = self._shared.parameters
        node = parameters.evaluation if parameters is not None else None
        return node if node is not None and node.GetAttribute(TABLE_ATTRIBUTE) else None

    def _missing(self) -> str:
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if not session.segmentId:
            return _("There is no segment to evaluate.")
        if self.reference.missing:
            return self.reference.missing
        if self.reference.isSegment(session.segmentationNode, session.segmentId):
            return _("The segment cannot be its own reference.")
        if session.busy or self._shared.tasks.busy:
            return _("Wait until the current job is done.")
        return ""


class _Compared(NamedTuple):
    """A segment's name, its evaluation, and notes on resampling both to one grid."""

    name: str
    evaluation: Evaluation
    notes: list[str]
