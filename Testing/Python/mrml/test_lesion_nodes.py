"""A lesion report in the scene: the table, the lines of the diameters, and nothing of the user's changed."""

import numpy as np
import pytest
import slicer

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.api.lesion_report import lesionReport
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.nodes.lesion_nodes import DIAMETER_ATTRIBUTE, hideDiameters, showDiameters
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, createSegmentation, setProvenance


@pytest.fixture
def case(phantom):
    """(scene, volume node, segmentation node, tumor ID, liver ID): two tumors of 40 and 4 voxels of 9 mm3."""
    scene = createScene()
    volumeNode = addVolumeNode(scene, phantom)
    segmentationNode = createSegmentation(scene, volumeNode)
    tumor, liver = np.zeros((2, *phantom.array.shape), bool)
    tumor[10, 40, 30:70] = True
    tumor[14, 40, 30:34] = True
    liver[5:16, 30:50, 20:75] = True
    ids = []
    for name, array in (("tumor", tumor), ("liver", liver)):
        ids.append(addTumorSegment(segmentationNode, name))
        SegmentWriter(scene, segmentationNode, volumeNode).write(ids[-1], Mask.from_array(array, phantom))
    return scene, volumeNode, segmentationNode, *ids


def column(tableNode, title):
    table = tableNode.GetTable()
    return [table.GetColumnByName(title).GetValue(n) for n in range(table.GetNumberOfRows())]


def test_the_table_has_a_row_for_each_lesion(case):
    _, volumeNode, segmentationNode, tumor, liver = case
    tableNode, lines, _report = lesionReport(volumeNode, segmentationNode, tumor)
    assert tableNode.GetName() == "Lesions of tumor" and lines == []
    assert column(tableNode, "Lesion") == ["1", "2"]
    assert column(tableNode, "Volume (ml)") == [0.36, 0.036]
    assert column(tableNode, "Longest axial (mm)") == [60.0, 6.0]
    assert column(tableNode, "Perpendicular (mm)") == [1.5, 1.5]
    # three slices of 4 mm lie between
    assert column(tableNode, "Nearest (mm)") == [12.0, 12.0]
    # without a liver there is no share: a text, since Slicer would show NaN as "nan"
    assert column(tableNode, "Share of liver (%)") == ["-", "-"]
    again = lesionReport(volumeNode, segmentationNode, tumor, (segmentationNode, liver), tableNode=tableNode)
    assert again.tableNode is tableNode
    assert column(tableNode, "Liver border (mm)") == [pytest.approx(5 * 1.5), pytest.approx(4.0)]
    assert column(tableNode, "Share of liver (%)") == [
        pytest.approx(100 * 40 / (11 * 20 * 55), abs=0.005),
        pytest.approx(100 * 4 / (11 * 20 * 55), abs=0.005),
    ]


def test_diameters_are_locked_lines_of_the_right_length_in_a_folder(case):
    scene, volumeNode, segmentationNode, tumor, _ = case
    _, lines, _ = lesionReport(volumeNode, segmentationNode, tumor, diameters=True)
    assert [line.GetName() for line in lines] == [
        "Lesion 1, longest",
        "Lesion 1, perpendicular",
        "Lesion 2, longest",
        "Lesion 2, perpendicular",
    ]
    assert [line.GetMeasurement("length").GetValue() for line in lines] == pytest.approx([60, 1.5, 6, 1.5])
    assert all(line.GetLocked() for line in lines)
    # the views show name and length
    assert all(line.GetDisplayNode().GetPropertiesLabelVisibility() for line in lines)
    assert [line.GetPropertiesLabelText().strip() for line in lines[:2]] == ["60.00mm", "1.500mm"]
    hierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    (folder,) = {hierarchyNode.GetItemParent(hierarchyNode.GetItemByDataNode(line)) for line in lines}
    assert hierarchyNode.GetItemName(folder) == "Diameters of Lesions of tumor"


def test_a_second_report_takes_away_the_lines_of_the_first_and_nothing_else(case):
    scene, volumeNode, segmentationNode, tumor, _ = case
    own = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "Lesion 1, longest")
    own.AddControlPointWorld(0, 0, 0)
    own.AddControlPointWorld(1, 2, 3)
    selectionNode = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    selectionNode.SetReferenceActivePlaceNodeClassName(own.GetClassName())
    selectionNode.SetReferenceActivePlaceNodeID(own.GetID())
    tableNode, _, report = lesionReport(volumeNode, segmentationNode, tumor, diameters=True)
    lines = showDiameters(scene, report, tableNode, lesions=1)
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLMarkupsLineNode") for n in range(3)]
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == 3
    assert [bool(node.GetAttribute(DIAMETER_ATTRIBUTE)) for node in nodes] == [False, True, True]
    assert selectionNode.GetActivePlaceNodeID() == own.GetID()
    hierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchyNode.GetItemParent(hierarchyNode.GetItemByDataNode(lines[0]))
    hideDiameters(scene, tableNode)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == 1
    assert own.GetNumberOfControlPoints() == 2
    assert not hierarchyNode.GetItemName(folder)


def test_volume_and_segments_are_as_they_were(case):
    _, volumeNode, segmentationNode, tumor, liver = case
    setProvenance(segmentationNode, tumor, {"models": [{"id": "m", "sha256": "ab"}]})
    before = slicer.util.arrayFromVolume(volumeNode).copy()
    time = segmentationNode.GetMTime()
    report = lesionReport(volumeNode, segmentationNode, tumor, (segmentationNode, liver), diameters=True).report
    assert report.models == (("m", "ab"),)
    assert (slicer.util.arrayFromVolume(volumeNode) == before).all()
    assert segmentationNode.GetMTime() == time


def test_lines_lie_where_the_lesion_does_under_a_transform(case):
    scene, volumeNode, segmentationNode, tumor, _ = case
    transformNode = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    matrix = np.array([[0, -1, 0, 30], [1, 0, 0, -20], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    before = lesionReport(volumeNode, segmentationNode, tumor).report.rows[0]
    transformNode.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    for node in (volumeNode, segmentationNode):
        node.SetAndObserveTransformNodeID(transformNode.GetID())
    _, lines, _ = lesionReport(volumeNode, segmentationNode, tumor, diameters=True)
    ends = [np.array(lines[0].GetNthControlPointPositionWorld(n)) for n in range(2)]
    moved = [matrix[:3, :3] @ end + matrix[:3, 3] for end in before.axial.longest.ends_ras]
    assert np.allclose(sorted(map(list, ends)), sorted(map(list, moved)), atol=1e-4)


def test_what_fails_leaves_the_scene_as_it_was(case, tmp_path):
    scene, volumeNode, segmentationNode, tumor, _ = case
    count = scene.GetNumberOfNodes()
    with pytest.raises(InputError):
        lesionReport(volumeNode, segmentationNode, "no such segment")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="not a folder"):
        lesionReport(volumeNode, segmentationNode, tumor, outFolder=tmp_path / "file")
    assert scene.GetNumberOfNodes() == count


def test_the_files_are_those_of_the_console_program(case, tmp_path):
    pytest.importorskip("matplotlib")
    _, volumeNode, segmentationNode, tumor, _ = case
    report = lesionReport(volumeNode, segmentationNode, tumor, outFolder=tmp_path / "out").report
    assert (tmp_path / "out" / "lesions.csv").read_text("utf-8") == report.as_csv()
    assert len(list((tmp_path / "out").iterdir())) == 4
