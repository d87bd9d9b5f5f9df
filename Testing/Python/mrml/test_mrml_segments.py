"""Writing masks into segments: nothing else changes (invariants 1 and 2), the user's editing rules hold."""

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.datasets.store.outline_origin import plain_origin
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.segments.segments import (
    LIVER_TUMOR_TERMINOLOGY,
    PROVENANCE_TAG,
    SegmentWriter,
    addTumorSegment,
    createSegmentation,
    provenance,
    segmentArray,
    setProvenance,
)

EDITOR = slicer.vtkMRMLSegmentEditorNode
SEGMENTATION = slicer.vtkMRMLSegmentationNode


class Case:
    """A volume with a segmentation of two segments, A and B, that share one labelmap."""

    def __init__(self, phantom):
        self.scene = createScene()
        self.volume_node = addVolumeNode(self.scene, phantom)
        self.node = createSegmentation(self.scene, self.volume_node)
        self.a, self.b = addTumorSegment(self.node, "A"), addTumorSegment(self.node, "B")
        self.volume = volumeFromNode(self.volume_node)
        self.writer = SegmentWriter(self.scene, self.node, self.volume_node)

    def mask(self, i, j, k):
        """A mask of the voxels in three half-open ranges."""
        array = np.ones((k[1] - k[0], j[1] - j[0], i[1] - i[0]), bool)
        return Mask.from_array(array, self.volume, (i[0], j[0], k[0]))

    def array(self, segment_id):
        return segmentArray(self.node, segment_id, self.volume_node)

    def segment(self, segment_id):
        return self.node.GetSegmentation().GetSegment(segment_id)

    def share_labelmaps(self):
        self.node.GetSegmentation().CollapseBinaryLabelmaps(False)
        assert self.labelmap(self.a) is self.labelmap(self.b)

    def labelmap(self, segment_id):
        return self.segment(segment_id).GetRepresentation("Binary labelmap")

    def editor_node(self):
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "User's Segment Editor")
        node.SetAndObserveSegmentationNode(self.node)
        node.SetAndObserveSourceVolumeNode(self.volume_node)
        node.SetSelectedSegmentID(self.b)
        node.SetMaskMode(SEGMENTATION.EditAllowedEverywhere)
        return node


@pytest.fixture
def case(phantom):
    return Case(phantom)


def test_a_mask_is_written_exactly_and_nothing_but_the_segment_changes(case, phantom):
    users_points = case.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    users_points.AddControlPointWorld(1, 2, 3)
    modified = users_points.GetMTime()
    mask = case.mask((10, 20), (30, 45), (3, 9))
    added = case.writer.write(case.a, mask)
    assert np.array_equal(case.array(case.a), mask.full())
    assert case.array(case.a).sum() == 10 * 15 * 6
    assert np.array_equal(added.full(), mask.full())
    assert not case.array(case.b).any()
    assert np.array_equal(slicer.util.arrayFromVolume(case.volume_node), phantom.array)
    assert users_points.GetMTime() == modified


def test_refining_takes_back_what_the_prompts_had_added(case):
    first = case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    refined = case.mask((14, 24), (32, 40), (3, 7))
    second = case.writer.write(case.a, refined, previous=first)
    assert np.array_equal(case.array(case.a), refined.full())
    assert np.array_equal(second.full(), refined.full())


def test_a_second_tumor_in_the_same_segment_never_takes_from_the_first(case):
    first_tumor = case.mask((10, 20), (30, 40), (3, 9)).full()
    case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    # covers the first tumor and reaches beyond it on both sides, then is refined to something elsewhere
    second = case.writer.write(case.a, case.mask((5, 30), (30, 40), (3, 9)))
    assert second.count == (5 + 10) * 10 * 6
    assert not (second.full() & first_tumor).any()
    refined = case.mask((22, 26), (30, 35), (3, 9))
    third = case.writer.write(case.a, refined, previous=second)
    assert np.array_equal(case.array(case.a), first_tumor | refined.full())
    # nothing left of the second prompt: the first tumor is whole
    empty = Mask.from_array(np.zeros((1, 1, 1), bool), case.volume)
    assert case.writer.write(case.a, empty, previous=third).count == 0
    assert np.array_equal(case.array(case.a), first_tumor)


@pytest.mark.parametrize("shared", (True, False))
def test_writing_to_b_changes_no_voxel_of_a_even_where_they_overlap(case, shared):
    case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    case.writer.write(case.b, case.mask((60, 64), (30, 40), (3, 9)))
    if shared:
        case.share_labelmaps()
    before = case.array(case.a)
    added = case.writer.write(case.b, case.mask((15, 30), (35, 45), (5, 12)))
    assert np.array_equal(case.array(case.a), before)
    assert case.array(case.b).sum() == 4 * 10 * 6 + 15 * 10 * 7
    # taking it back does not touch A either
    case.writer.write(case.b, case.mask((16, 17), (36, 37), (6, 7)), previous=added)
    assert np.array_equal(case.array(case.a), before)
    assert case.array(case.b).sum() == 4 * 10 * 6 + 1


def test_overwriting_all_segments_holds_where_the_user_chose_it(case):
    editor_node = case.editor_node()
    editor_node.SetOverwriteMode(EDITOR.OverwriteAllSegments)
    case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    overlap = case.mask((15, 30), (30, 40), (3, 9))
    SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node)).write(case.b, overlap)
    assert np.array_equal(case.array(case.b), overlap.full())
    assert case.array(case.a).sum() == 5 * 10 * 6


def test_overwriting_visible_segments_spares_the_hidden_ones(case):
    editor_node = case.editor_node()
    editor_node.SetOverwriteMode(EDITOR.OverwriteVisibleSegments)
    hidden = addTumorSegment(case.node, "hidden")
    for segment_id in (case.a, hidden):
        case.writer.write(segment_id, case.mask((10, 20), (30, 40), (3, 9)))
    case.node.GetDisplayNode().SetSegmentVisibility(hidden, False)
    SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node)).write(
        case.b, case.mask((15, 30), (30, 40), (3, 9))
    )
    assert case.array(case.a).sum() == 5 * 10 * 6
    assert case.array(hidden).sum() == 10 * 10 * 6


def test_masking_inside_a_segment_holds_and_refused_voxels_are_not_reported_as_added(case):
    case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    editor_node = case.editor_node()
    editor_node.SetOverwriteMode(EDITOR.OverwriteNone)
    editor_node.SetMaskMode(SEGMENTATION.EditAllowedInsideSingleSegment)
    editor_node.SetMaskSegmentID(case.a)
    writer = SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node))
    added = writer.write(case.b, case.mask((15, 30), (35, 45), (3, 9)))
    inside = case.mask((15, 20), (35, 40), (3, 9)).full()
    assert np.array_equal(case.array(case.b), inside)
    assert np.array_equal(added.full(), inside)
    assert case.array(case.a).sum() == 10 * 10 * 6


def test_masking_outside_other_segments_holds(case):
    case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    editor_node = case.editor_node()
    editor_node.SetMaskMode(SEGMENTATION.EditAllowedOutsideAllSegments)
    added = SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node)).write(
        case.b, case.mask((15, 30), (30, 40), (3, 9))
    )
    assert np.array_equal(added.full(), case.mask((20, 30), (30, 40), (3, 9)).full())


def test_the_editable_intensity_range_holds(case):
    editor_node = case.editor_node()
    editor_node.SetSourceVolumeIntensityMask(True)
    editor_node.SetSourceVolumeIntensityMaskRange(0, 60)
    mask = case.mask((20, 50), (30, 60), (8, 12))
    added = SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node)).write(case.b, mask)
    hu = slicer.util.arrayFromVolume(case.volume_node)
    expected = mask.full() & (hu >= 0) & (hu <= 60)
    assert 100 < expected.sum() < mask.count
    assert np.array_equal(case.array(case.b), expected)
    assert np.array_equal(added.full(), expected)


def test_the_users_segment_editor_node_is_only_read(case):
    editor_node = case.editor_node()
    editor_node.SetOverwriteMode(EDITOR.OverwriteNone)
    modified = editor_node.GetMTime()
    writer = SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node))
    writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    assert editor_node.GetMTime() == modified
    assert editor_node.GetSelectedSegmentID() == case.b


def test_masking_by_a_segment_that_is_gone_is_said_and_nothing_is_written(case):
    editor_node = case.editor_node()
    editor_node.SetMaskMode(SEGMENTATION.EditAllowedInsideSingleSegment)
    editor_node.SetMaskSegmentID("gone")
    with pytest.raises(InputError, match="Segment Editor, Masking"):
        SegmentWriter(case.scene, case.node, case.volume_node, EditorRules(editor_node)).write(
            case.a, case.mask((10, 20), (30, 40), (3, 9))
        )
    assert not case.array(case.a).any()


def test_only_the_changed_box_is_handed_to_the_segment_editor(case, monkeypatch):
    handed = []
    logic = case.writer._logic

    class Recorder:
        def __getattr__(self, name):
            return getattr(logic, name)

        def ModifySegmentByLabelmap(self, node, segment_id, image, mode, *flags):
            handed.append((mode, image.GetExtent()))
            logic.ModifySegmentByLabelmap(node, segment_id, image, mode, *flags)

    monkeypatch.setattr(case.writer, "_logic", Recorder())
    add, remove = (getattr(slicer.vtkSlicerSegmentEditorLogic, f"ModificationMode{m}") for m in ("Add", "Remove"))
    first = case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    assert handed == [(add, (10, 19, 30, 39, 3, 8))]
    handed.clear()
    # one column more on one side, one row less on the other
    second = case.writer.write(case.a, case.mask((10, 21), (31, 40), (3, 9)), previous=first)
    assert handed == [(remove, (10, 19, 30, 30, 3, 8)), (add, (20, 20, 31, 39, 3, 8))]
    handed.clear()
    case.writer.write(case.a, case.mask((10, 21), (31, 40), (3, 9)), previous=second)
    assert handed == []
    # and the segment's own labelmap stays as small as what it holds
    assert case.labelmap(case.a).GetExtent() == (10, 20, 31, 39, 3, 8)


def test_writing_to_a_segment_that_is_gone_is_refused(case):
    case.node.GetSegmentation().RemoveSegment(case.b)
    with pytest.raises(InputError, match=f"no segment with the ID '{case.b}'"):
        case.writer.write(case.b, case.mask((10, 20), (30, 40), (3, 9)))


def test_undo_and_redo_restore_every_voxel_of_every_segment_at_least_50_times(case):
    states = []
    for n in range(55):
        states.append((case.array(case.a), case.array(case.b)))
        case.writer.saveStateForUndo()
        case.writer.write((case.a, case.b)[n % 2], case.mask((10 + n, 12 + n), (30, 40), (3, 9)))
    final = case.array(case.a), case.array(case.b)
    assert final[0].sum() > states[-1][0].sum() - 1
    for a, b in reversed(states):
        assert case.writer.undo()
        assert np.array_equal(case.array(case.a), a)
        assert np.array_equal(case.array(case.b), b)
    assert not case.writer.canUndo
    assert not case.writer.undo()
    while case.writer.canRedo:
        case.writer.redo()
    assert np.array_equal(case.array(case.a), final[0])
    assert np.array_equal(case.array(case.b), final[1])


def test_writing_leaves_no_editor_node_that_is_saved_or_shown(case):
    case.writer.write(case.a, case.mask((10, 20), (30, 40), (3, 9)))
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode", case.scene)
    assert node.GetHideFromEditors()
    assert not node.GetSaveWithScene()


def test_terminology_is_read_by_slicer_as_a_mass_in_the_liver(case):
    entry = slicer.vtkSlicerTerminologyEntry()
    terminologies = slicer.vtkSlicerTerminologiesModuleLogic
    assert terminologies.DeserializeTerminologyEntry(case.segment(case.a).GetTerminology(), entry)
    codes = [
        (part.GetCodingSchemeDesignator(), part.GetCodeValue(), part.GetCodeMeaning())
        for part in (entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetRegionObject())
    ]
    assert codes == [
        ("SCT", "49755003", "Morphologically Altered Structure"),
        ("SCT", "4147007", "Mass"),
        ("SCT", "10200004", "Liver"),
    ]
    assert terminologies.SerializeTerminologyEntry(entry) == LIVER_TUMOR_TERMINOLOGY


def test_provenance_of_version_0_1_is_read_and_goes_on(case):
    old = {"models": [{"id": "mobile-sam"}], "quality": "fast", "zoom": "auto"}
    setProvenance(case.node, case.a, old)
    assert provenance(case.node, case.a) == [old]
    setProvenance(case.node, case.a, {"quality": "full"})
    assert provenance(case.node, case.a) == [old, {"quality": "full"}]
    assert plain_origin(provenance(case.node, case.a), np.zeros(3))[0]["models"] == [{"id": "mobile-sam"}]


def test_provenance_is_a_list_without_repeats_and_has_no_separator_of_slicers_in_it(case):
    entry = {"model": "a|b:c~^\\ \n ü", "window": [-45.0, 105.0]}
    setProvenance(case.node, case.a, entry)
    setProvenance(case.node, case.a, entry)
    setProvenance(case.node, case.a, {"model": "other"})
    setProvenance(case.node, case.a, entry)
    assert provenance(case.node, case.a) == [entry, {"model": "other"}, entry]
    assert provenance(case.node, case.b) == []
    text = vtk.reference("")
    assert case.segment(case.a).GetTag(PROVENANCE_TAG, text)
    assert "|" not in str(text)
    assert "\n" not in str(text)
