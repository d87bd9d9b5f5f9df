"""The section Evaluate: the chosen segment against a reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.evaluation_nodes import TABLE_ATTRIBUTE, plotFromTable, tableFromEvaluation
from SAMLiverTumorLib.mrml.observations import Observations
from SAMLiverTumorLib.mrml.segments import segmentArray
from SAMLiverTumorLib.panel.shared import Shared, enable


class Evaluate:
    """Binds the reference selectors, the table and the plot."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self._observations = Observations()
        self._observed: slicer.vtkMRMLSegmentationNode | None = None
        self._ui.referenceSegmentCombo.connect("activated(int)", self._onChosen)
        self._ui.evaluateButton.connect("clicked(bool)", self.evaluate)
        self._ui.plotButton.connect("clicked(bool)", self.plot)
        self._ui.evaluationTable.verticalHeader().hide()
        self._ui.evaluationTable.setFixedHeight(9 * (self._ui.evaluationTable.fontMetrics().height() + 6))

    def apply(self) -> None:
        """Follow the reference that the parameter node names."""
        node = self._shared.parameters.reference if self._shared.parameters is not None else None
        if node is not self._observed:
            self._observations.clear()
            self._observed = node
            if node is not None:
                kinds = slicer.vtkSegmentation
                for event in (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified):
                    self._observations.add(self, node.GetSegmentation(), event, self.update)

    def update(self) -> None:
        """Show the reference's segments and what is missing."""
        combo, ids = self._ui.referenceSegmentCombo, self._segmentIds()
        names = [self._observed.GetSegmentation().GetSegment(segmentId).GetName() for segmentId in ids]
        if [(combo.itemData(n), combo.itemText(n)) for n in range(combo.count)] != list(zip(ids, names, strict=True)):
            combo.clear()
            for segmentId, name in zip(ids, names, strict=True):
                combo.addItem(name, segmentId)
        chosen = self._referenceId()
        combo.currentIndex = ids.index(chosen) if chosen else -1
        enable(combo, "" if ids else _("Choose a reference."), _("The segment of the reference to compare with."))
        toolTip = _("Compare the chosen segment with the reference, as a whole and lesion by lesion.")
        enable(self._ui.evaluateButton, self._missing(), toolTip)
        noTable = "" if self._tableNode() is not None else _("Press Evaluate first.")
        enable(self._ui.plotButton, noTable, _("Plot the Dice of each lesion."))
        if self._ui.evaluationTable.mrmlTableNode() is not self._tableNode():
            self._ui.evaluationTable.setMRMLTableNode(self._tableNode())
            self._fit()

    def evaluate(self) -> None:
        """Compare in the worker's thread."""
        from SAMLiverTumorLib.evaluation.report import evaluate  # brings scipy

        session, parameters = self._shared.session, self._shared.parameters
        volumeNode, segmentationNode = session.volumeNode, session.segmentationNode
        try:
            predicted = segmentArray(segmentationNode, session.segmentId, volumeNode)
            reference = segmentArray(parameters.reference, self._referenceId(), volumeNode)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return
        name = segmentationNode.GetSegmentation().GetSegment(session.segmentId).GetName()
        voxel = 0.001 * abs(float(np.linalg.det(session.volume.ijk_to_ras[:3, :3])))

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> object:
            return evaluate({name: predicted}, reference, voxel, progress=progress)

        self._shared.tasks.start("evaluate", _("Evaluating"), work, partial(self._show, name))
        self._shared.follow()

    def plot(self) -> None:
        """Show the plot in the layout, where there is one."""
        chartNode = plotFromTable(slicer.mrmlScene, self._tableNode())
        if slicer.app.layoutManager() is not None and hasattr(slicer.modules, "plots"):
            slicer.modules.plots.logic().ShowChartInLayout(chartNode)
        self._shared.session.say(_("Plot: {name}.").format(name=chartNode.GetName()))

    def close(self) -> None:
        """Let go of the scene."""
        self._observations.clear()
        self._observed = None

    def _show(self, name: str, evaluation: object) -> None:
        from SAMLiverTumorLib.evaluation.report import AVERAGING_RULE, EMPTY_RULE

        parameters = self._shared.parameters
        if parameters is None:
            return
        title = _("Evaluation of {name}").format(name=name)
        parameters.evaluation = tableFromEvaluation(slicer.mrmlScene, evaluation, title, self._tableNode())
        self._ui.evaluationTable.setMRMLTableNode(parameters.evaluation)
        self._fit()
        self._ui.evaluationNotesLabel.text = f"{AVERAGING_RULE}\n{EMPTY_RULE}"
        self._ui.evaluationNotesLabel.toolTip = "\n\n".join(evaluation.notes)
        overall = evaluation.overall.dice
        dice = "-" if overall is None else f"{overall:.3f}"
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

    def _segmentIds(self) -> list[str]:
        return list(self._observed.GetSegmentation().GetSegmentIDs()) if self._observed is not None else []

    def _referenceId(self) -> str:
        ids = self._segmentIds()
        chosen = self._shared.parameters.referenceSegmentId if self._shared.parameters is not None else ""
        if chosen in ids:
            return chosen
        # a liver label usually comes first
        segmentation = self._observed.GetSegmentation() if ids else None
        tumors = [one for one in ids if "tumor" in segmentation.GetSegment(one).GetName().lower()]
        return (tumors or ids or [""])[0]

    def _missing(self) -> str:
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if not session.segmentId:
            return _("There is no segment to evaluate.")
        if not self._referenceId():
            return _("Choose a reference segmentation.")
        if session.segmentationNode is self._observed and session.segmentId == self._referenceId():
            return _("The segment cannot be its own reference.")
        if session.busy or self._shared.tasks.busy:
            return _("Wait until the present job is done.")
        return ""

    def _onChosen(self, index: int) -> None:
        if self._shared.parameters is not None:
            self._shared.parameters.referenceSegmentId = self._ui.referenceSegmentCombo.itemData(index)
