"""Segments and label maps of the scene on a volume's grid; segments as VTK's own resampling sees them."""

import numpy as np
import pytest
import slicer
import slicer.util
from session_case import Case

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode
from SAMLiverTumorLib.mrml.nodes.label_sources import labelSource, segmentSource
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import segmentLabelmap


@pytest.fixture
def case():
    return Case()


def box(case):
    """Voxels of a box away from all borders, and of a part of it."""
    array = np.zeros(case.volume.array.shape, bool)
    array[3:6, 5:9, 10:17] = True
    part = array.copy()
    part[4:] = False
    return array, part


def test_a_segment_that_shares_a_cropped_labelmap_lies_where_it_was_painted(case):
    array, part = box(case)
    case.paint(case.b, array & ~part)
    case.paint(case.a, part)
    case.node.GetSegmentation().CollapseBinaryLabelmaps(True)
    labelmap, _ = segmentLabelmap(case.node, case.a)
    cropped = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.CopyImage(labelmap, cropped, [9, 18, 4, 9, 2, 6])
    labelmap.DeepCopy(cropped)
    assert labelmap is segmentLabelmap(case.node, case.b)[0]
    assert labelmap.GetExtent()[::2] == (9, 4, 2)
    mask, notes = segmentSource(case.node, case.a).onGrid(gridFromNode(case.volume_node))
    assert np.array_equal(mask, part)
    assert notes == ()


def test_under_a_transform_it_is_resampled_as_vtk_does(case):
    case.paint(case.a, box(case)[0])
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    matrix[:3, 3] = (1.7, -0.6, 2.3)
    transform_node = case.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform_node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    case.node.SetAndObserveTransformNodeID(transform_node.GetID())
    mask, notes = segmentSource(case.node, case.a).onGrid(gridFromNode(case.volume_node))
    assert mask.sum() > 50
    assert np.array_equal(mask, case.array())
    assert "nearest neighbor" in notes[0]


def test_an_empty_segment_has_no_voxels_and_nothing_to_tell(case):
    mask, notes = segmentSource(case.node, case.a).onGrid(gridFromNode(case.volume_node))
    assert mask.shape == case.volume.array.shape
    assert not mask.any()
    assert notes == ()


def test_a_copy_stays_as_it_was_when_the_segment_is_written_to(case):
    case.paint(case.a, box(case)[1])
    live = segmentSource(case.node, case.a)
    copied = live.copied()
    live.array[:] = 0
    grid = gridFromNode(case.volume_node)
    assert not live.onGrid(grid)[0].any()
    assert np.array_equal(copied.onGrid(grid)[0], box(case)[1])


def test_a_label_map_without_image_or_of_fractions_says_what_to_do(case):
    node = case.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "probabilities")
    with pytest.raises(InputError, match="'probabilities' has no image data; load it again"):
        labelSource(node, 1)
    slicer.util.updateVolumeFromArray(node, np.full((2, 3, 4), 0.5, np.float32))
    with pytest.raises(InputError, match="'probabilities' does not hold one integer per voxel; convert it"):
        labelSource(node, 1)
