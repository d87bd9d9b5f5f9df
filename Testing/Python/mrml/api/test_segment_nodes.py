"""`segmentNodes` in a real scene with real weights: what it writes, and that it changes nothing else."""

import json

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import Cancelled, InputError, ModelError, PromptError
from SAMLiverTumorLib.image.window import parse_window
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings, segment
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.mrml.api.segment import segmentNodes
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, createPromptNodes, promptsFromNodes, volumeFromNode
from SAMLiverTumorLib.mrml.scene_files import saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import (
    PROVENANCE_TAG,
    SegmentWriter,
    addTumorSegment,
    createSegmentation,
    provenance,
    segmentArray,
)

# The phantom's lesion: a ball of 14 mm around voxel (34, 44, 10).
CENTER = np.array([50.5, -25.75, -272.0])


def off_center(right, anterior, superior):
    """A world point by its distance (mm) from the lesion's center."""
    return CENTER + np.array([right, anterior, superior])


class Case:
    """A scene with the phantom, a box on its center slice and a segmentation with one segment of the user's."""

    def __init__(self, phantom):
        self.scene = createScene()
        self.volumeNode = addVolumeNode(self.scene, phantom)
        self.includeNode, self.excludeNode, self.roiNode = createPromptNodes(self.scene)
        self.roiNode.SetCenter(*CENTER)
        self.roiNode.SetSize(30, 32, 2)
        self.segmentationNode = createSegmentation(self.scene, self.volumeNode)
        self.theirs = addTumorSegment(self.segmentationNode, "Theirs")
        # half of the lesion on its center slice, so that another segment has to leave it alone
        half = Mask.from_array(np.ones((3, 30, 8), bool), volumeFromNode(self.volumeNode), (26, 30, 9))
        writer = SegmentWriter(self.scene, self.segmentationNode, self.volumeNode)
        writer.write(self.theirs, half)

    def segment(self, pool, **options):
        usual = {"excludeNode": self.excludeNode, "roiNode": self.roiNode, "segmentationNode": self.segmentationNode}
        options = {**usual, "segmentName": "Ours", **options}
        return segmentNodes(self.volumeNode, pool=pool, **options)

    def array(self, segmentId):
        return segmentArray(self.segmentationNode, segmentId, self.volumeNode)

    def state(self):
        """Everything in the scene that a user could miss: nodes and their content, voxels, segments, tags."""
        nodes = [self.scene.GetNthNode(n) for n in range(self.scene.GetNumberOfNodes())]
        xml = {node.GetID(): slicer.util.arrayFromVolume(node).tobytes() for node in nodes if node is self.volumeNode}
        for node in nodes:
            if node.IsA("vtkMRMLMarkupsNode"):
                points = [node.GetNthControlPointPositionVector(n) for n in range(node.GetNumberOfControlPoints())]
                xml[node.GetID()] = (node.GetName(), str(points), node.GetMTime())
        segmentation = self.segmentationNode.GetSegmentation()
        segments = {}
        for segmentId in segmentation.GetSegmentIDs():
            tag = vtk.reference("")
            segmentation.GetSegment(segmentId).GetTag(PROVENANCE_TAG, tag)
            name = segmentation.GetSegment(segmentId).GetName()
            segments[segmentId] = (name, str(tag), self.array(segmentId).tobytes())
        return [node.GetID() for node in nodes], xml, segments


@pytest.fixture
def case(phantom):
    return Case(phantom)


def test_the_mask_lands_on_the_lesion_in_a_new_segmentation_on_the_volumes_grid(case, pool):
    before = case.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    segmentationNode, segmentId, result = segmentNodes(case.volumeNode, roiNode=case.roiNode, pool=pool)
    assert case.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before + 1
    assert segmentationNode.GetSegmentation().GetSegment(segmentId).GetName() == "Liver tumor"
    mask = segmentArray(segmentationNode, segmentId, case.volumeNode)
    assert np.array_equal(mask, result.mask.full())
    assert mask.sum() == mask[10].sum() == result.mask.count
    j, i = np.indices((96, 96))
    disc = np.hypot((i - 34) * 1.5, (j - 44) * 1.5) < 14
    assert 2 * (mask[10] & disc).sum() / (mask[10].sum() + disc.sum()) > 0.85


def test_volume_and_the_users_markups_are_not_changed(case, pool, phantom):
    users = case.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    users.AddControlPointWorld(*CENTER)
    users.SetNthControlPointLabel(0, "portal vein")
    modified = [node.GetMTime() for node in (users, case.roiNode)]
    voxels = case.volumeNode.GetImageData().GetMTime()
    case.segment(pool, includeNode=users)
    assert [node.GetMTime() for node in (users, case.roiNode)] == modified
    assert case.volumeNode.GetImageData().GetMTime() == voxels
    assert np.array_equal(slicer.util.arrayFromVolume(case.volumeNode), phantom.array)


def test_segment_b_changes_no_voxel_of_segment_a_and_a_second_run_adds_to_what_is_there(case, pool):
    theirs = case.array(case.theirs)
    assert theirs.sum() == 3 * 30 * 8
    segmented = case.segment(pool)
    ours = case.array(segmented.segmentId)
    assert segmented.segmentId != case.theirs
    assert (ours & theirs).any()
    assert np.array_equal(case.array(case.theirs), theirs)
    case.roiNode.SetCenter(*off_center(0, 0, 4))
    again = case.segment(pool)
    assert again.segmentId == segmented.segmentId
    both = case.array(again.segmentId)
    assert np.array_equal(both[10], ours[10])
    assert np.array_equal(both, ours | again.result.mask.full())
    assert np.array_equal(case.array(case.theirs), theirs)
    assert case.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2
    assert len(provenance(case.segmentationNode, again.segmentId)) == 2


def test_the_users_masking_and_overwrite_mode_are_kept_to(case, pool):
    theirs = case.array(case.theirs)
    editorNode = case.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editorNode.SetAndObserveSegmentationNode(case.segmentationNode)
    editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    editorNode.SetOverwriteMode(editorNode.OverwriteNone)
    segmented = case.segment(pool, segmentEditorNode=editorNode)
    assert (segmented.result.mask.full() & theirs).any()
    assert np.array_equal(case.array(segmented.segmentId), segmented.result.mask.full() & ~theirs)
    editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    editorNode.SetOverwriteMode(editorNode.OverwriteAllSegments)
    segmented = case.segment(pool, segmentEditorNode=editorNode)
    assert np.array_equal(case.array(case.theirs), theirs & ~segmented.result.mask.full())


def test_provenance_names_model_prompts_window_and_versions_and_survives_seg_nrrd(case, pool, tmp_path):
    segmented = case.segment(pool, settings=Settings(window=parse_window("-150,250")))
    saveSegmentation(case.segmentationNode, tmp_path / "a.seg.nrrd")
    readNode = case.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storageNode = slicer.vtkMRMLSegmentationStorageNode()
    storageNode.SetFileName(str(tmp_path / "a.seg.nrrd"))
    assert storageNode.ReadData(readNode)
    (entry,) = provenance(readNode, segmented.segmentId)
    assert entry == json.loads(json.dumps(segmented.result.provenance))
    sha256 = "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"
    assert entry["models"] == [{"id": "lite-medsam", "sha256": sha256, "window": [-150, 250]}]
    assert entry["prompts"]["box"]["center"] == [50.5, -25.75, -272]
    assert entry["prompts"]["box"]["size"] == [30, 32, 2]
    assert (entry["orientation"], entry["channels"]) == ("axial", "single")
    assert set(entry["versions"]) == {"sam-liver-tumor", "torch", "segment-anything"}


def test_quality_reaches_the_network(case, pool):
    plain = case.segment(pool).result
    best = case.segment(pool, settings=Settings(quality="best")).result
    assert [each.provenance["quality"] for each in (plain, best)] == ["full", "best"]
    assert [a.predicted_iou == b.predicted_iou for a, b in zip(plain.slices, best.slices, strict=True)] == [False]


def test_under_a_rotated_parent_transform_the_very_same_voxels_are_found(case, pool):
    expected = case.segment(pool).result.mask.full()
    transform = vtk.vtkTransform()
    transform.Translate(31.7, -12.2, 45.9)
    transform.RotateWXYZ(31, 3, -1, 2)
    transformNode = case.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transformNode.SetMatrixTransformToParent(transform.GetMatrix())
    for node in (case.volumeNode, case.roiNode, case.segmentationNode):
        node.SetAndObserveTransformNodeID(transformNode.GetID())
    encoded = pool.predictor("lite-medsam").encoded
    segmented = case.segment(pool, segmentName="Rotated")
    assert np.array_equal(segmented.result.mask.full(), expected)
    assert np.array_equal(case.array(segmented.segmentId), expected)
    assert pool.predictor("lite-medsam").encoded == encoded
    # and in the world the segment is where the turned lesion is
    center = transform.TransformPoint(CENTER)
    found = np.argwhere(expected)[:, ::-1].mean(axis=0)
    world = volumeFromNode(case.volumeNode).ijk_to_ras @ [*found, 1]
    assert np.linalg.norm(world[:3] - center) < 2


def broken_writer(case, monkeypatch):
    def write(self, segmentId, mask, previous=None):
        raise InputError("the labelmap lies on another grid")

    monkeypatch.setattr(SegmentWriter, "write", write)


def damaged_record(case, monkeypatch):
    case.segmentationNode.GetSegmentation().GetSegment(case.theirs).SetTag(PROVENANCE_TAG, "{not json")


def exclude_alone(case, monkeypatch):
    case.roiNode.SetSize(0, 0, 0)
    case.excludeNode.AddControlPointWorld(*CENTER)


def box_outside(case, monkeypatch):
    case.roiNode.SetCenter(1000, 0, 0)


FAILURES = [
    (exclude_alone, {}, PromptError, "exclude points only"),
    (box_outside, {}, PromptError, "lies outside 'phantom'"),
    (lambda *_: None, {"roiNode": None}, PromptError, "no prompts"),
    (lambda *_: None, {"settings": Settings("nosuch")}, ModelError, "'nosuch' is neither"),
    (lambda *_: None, {"settings": Settings(orientation="diagonal")}, InputError, "Unknown orientation"),
    (lambda *_: None, {"cancel": lambda: True}, Cancelled, "nothing was changed"),
    (broken_writer, {}, InputError, "another grid"),
    (broken_writer, {"segmentationNode": None}, InputError, "another grid"),
    (broken_writer, {"segmentName": "Theirs"}, InputError, "another grid"),
    (damaged_record, {"segmentName": "Theirs"}, InputError, "damaged"),
]


@pytest.mark.parametrize(("prepare", "options", "error", "text"), FAILURES)
def test_a_failing_run_leaves_the_scene_as_it_was(case, pool, monkeypatch, prepare, options, error, text):
    prepare(case, monkeypatch)
    before = case.state()
    with pytest.raises(error, match=text):
        case.segment(pool, **options)
    assert case.state() == before


def test_a_declined_download_leaves_the_scene_as_it_was(case, tmp_path):
    questions = []

    def decline(question):
        questions.append(question)
        return False

    before = case.state()
    with pytest.raises(ModelError, match="declined"):
        case.segment(PredictorPool(decline, ModelStore(tmp_path / "store"), "cpu"))
    assert case.state() == before
    assert len(questions) == 1
    assert get_model("lite-medsam").title in questions[0]


def test_a_network_that_marks_nothing_leaves_the_scene_as_it_was(case, pool, monkeypatch):
    import SAMLiverTumorLib.inference.segment_slices as module

    monkeypatch.setattr(module, "within", lambda box, shape: np.zeros(shape, bool))
    before = case.state()
    with pytest.raises(PromptError, match="marked no voxel"):
        case.segment(pool)
    assert case.state() == before


def test_scene_and_library_give_the_same_mask(case, pool):
    case.includeNode.AddControlPointWorld(*CENTER)
    inScene = case.segment(pool, includeNode=case.includeNode)
    prompts = promptsFromNodes(case.includeNode, case.excludeNode, case.roiNode)
    direct = segment(volumeFromNode(case.volumeNode), prompts, pool)
    assert inScene.result.mask.count > 50
    assert np.array_equal(case.array(inScene.segmentId), direct.mask.full())
