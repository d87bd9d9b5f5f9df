"""Slicer's files: what is written is read back the same, errors leave nothing behind; pictures."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, createPromptNodes, promptsFromNodes, volumeFromNode
from SAMLiverTumorLib.mrml.rendering.render import PICTURES, renderScene
from SAMLiverTumorLib.mrml.scene_files import loadMarkups, loadScene, loadVolume, saveScene, saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import (
    PROVENANCE_TAG,
    SegmentWriter,
    addTumorSegment,
    createSegmentation,
    provenance,
    segmentArray,
    setProvenance,
)

ENTRY = {
    "model": {"id": "lite-medsam", "sha256": "79d8c9dca6db4d69"},
    "prompts": {"include": [[1.5, -2.25, 3.0]], "box": None},
    "trap": "pipe | colon : tilde ~ caret ^ back\\slash \"quotes\" 'n' new\nline tab\t equals := umlaut ü",
}


@pytest.fixture
def filled(phantom):
    """A scene with volume, one filled segment with provenance, prompts; (scene, nodes...)."""
    scene = createScene()
    volume_node = addVolumeNode(scene, phantom)
    segmentation_node = createSegmentation(scene, volume_node)
    segment_id = addTumorSegment(segmentation_node, "Tumor | one")
    volume = volumeFromNode(volume_node)
    mask = Mask.from_array(np.ones((5, 16, 18), bool), volume, (25, 36, 8))
    SegmentWriter(scene, segmentation_node, volume_node).write(segment_id, mask)
    setProvenance(segmentation_node, segment_id, ENTRY)
    prompt_nodes = createPromptNodes(scene)
    center = volume.ijk_to_ras @ (34, 44, 10, 1)
    prompt_nodes[0].AddControlPointWorld(*center[:3])
    prompt_nodes[1].AddControlPointWorld(center[0] + 30, center[1], center[2])
    prompt_nodes[2].SetCenter(*center[:3])
    prompt_nodes[2].SetSize(27, 24, 20)
    return scene, volume_node, segmentation_node, segment_id, prompt_nodes, center[:3]


def tag(segmentation_node, segment_id):
    text = vtk.reference("")
    assert segmentation_node.GetSegmentation().GetSegment(segment_id).GetTag(PROVENANCE_TAG, text)
    return str(text)


def test_seg_nrrd_keeps_voxels_name_terminology_and_provenance_byte_for_byte(filled, tmp_path, capfd):
    scene, volume_node, segmentation_node, segment_id, *_ = filled
    path = tmp_path / "out.seg.nrrd"
    saveSegmentation(segmentation_node, path)
    read_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage_node = slicer.vtkMRMLSegmentationStorageNode()
    storage_node.SetFileName(str(path))
    assert storage_node.ReadData(read_node)
    assert tag(read_node, segment_id) == tag(segmentation_node, segment_id)
    assert provenance(read_node, segment_id) == [ENTRY]
    before, after = (n.GetSegmentation().GetSegment(segment_id) for n in (segmentation_node, read_node))
    assert (after.GetName(), after.GetTerminology()) == ("Tumor | one", before.GetTerminology())
    assert np.array_equal(
        segmentArray(read_node, segment_id, volume_node), segmentArray(segmentation_node, segment_id, volume_node)
    )
    # an independent reader finds the same voxels in the same place
    image = sitk.ReadImage(str(path))
    assert sitk.GetArrayFromImage(image).sum() == 5 * 16 * 18
    # the volume's voxel (0, 0, 0) at R 101.5, A 40.25, S -312 is L -101.5, P -40.25 in ITK
    first = image.TransformPhysicalPointToIndex((-101.5 + 25 * 1.5, -40.25 + 36 * 1.5, -312.0 + 8 * 4.0))
    assert image[first] == 1
    assert image[first[0] - 1, first[1], first[2]] == 0
    assert capfd.readouterr() == ("", "")


def test_existing_files_are_kept_unless_overwriting_was_asked_for(filled, tmp_path):
    scene, _, segmentation_node, *_ = filled
    for name, save, what in (("a.seg.nrrd", saveSegmentation, segmentation_node), ("a.mrb", saveScene, scene)):
        path = tmp_path / name
        path.write_text("precious")
        with pytest.raises(OutputError, match="exists already"):
            save(what, path)
        assert path.read_text() == "precious"
        save(what, path, overwrite=True)
        assert path.stat().st_size > 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mrb", "a.seg.nrrd"]


def test_a_writer_that_fails_leaves_the_old_file_and_says_why(filled, tmp_path, monkeypatch, capfd):
    _, _, segmentation_node, *_ = filled
    path = tmp_path / "a.seg.nrrd"
    path.write_text("precious")

    class Failing(slicer.vtkMRMLSegmentationStorageNode):
        def WriteData(self, node):
            vtk.vtkOutputWindow.GetInstance().DisplayErrorText("ERROR: In x.cxx, line 1\nvtkX (0x1): the disk is full")
            return 0

    monkeypatch.setattr(slicer, "vtkMRMLSegmentationStorageNode", Failing)
    with pytest.raises(OutputError, match="the disk is full"):
        saveSegmentation(segmentation_node, path, overwrite=True)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_outputs_with_a_suffix_that_loses_information_are_refused(filled, tmp_path):
    scene, _, segmentation_node, *_ = filled
    with pytest.raises(OutputError, match=r"\.seg\.nrrd"):
        saveSegmentation(segmentation_node, tmp_path / "a.nii.gz")
    with pytest.raises(OutputError, match=r"\.mrb"):
        saveScene(scene, tmp_path / "a.mrml")
    assert list(tmp_path.iterdir()) == []


def test_mrb_brings_back_volume_segmentation_and_prompts_and_refers_to_nothing_outside(filled, tmp_path):
    scene, volume_node, segmentation_node, segment_id, prompt_nodes, _ = filled
    transform_node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    transform_node.SetMatrixTransformToParent(
        slicer.util.vtkMatrixFromArray(np.array([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]]))
    )
    volume_node.SetAndObserveTransformNodeID(transform_node.GetID())
    segmentation_node.SetAndObserveTransformNodeID(transform_node.GetID())
    expected = volumeFromNode(volume_node), segmentArray(segmentation_node, segment_id, volume_node)
    saveScene(scene, tmp_path / "scene.mrb")
    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        (mrml,) = (n for n in archive.namelist() if n.endswith(".mrml"))
        text = archive.read(mrml).decode()
        assert str(tmp_path) not in text
        assert "SegmentEditor" not in text

    other = createScene()
    loadScene(other, tmp_path / "scene.mrb")
    (volume_node,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", other)
    (segmentation_node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", other)
    volume = volumeFromNode(volume_node)
    assert np.array_equal(volume.array, expected[0].array)
    assert np.allclose(volume.ijk_to_ras, expected[0].ijk_to_ras)
    assert np.array_equal(segmentArray(segmentation_node, segment_id, volume_node), expected[1])
    assert provenance(segmentation_node, segment_id) == [ENTRY]
    read_nodes = [other.GetFirstNodeByName(node.GetName()) for node in prompt_nodes]
    assert promptsFromNodes(*read_nodes).as_dict() == promptsFromNodes(*prompt_nodes).as_dict()
    # and a mask can be written on in the scene that was read
    mask = Mask.from_array(np.ones((2, 3, 4), bool), volume, (1, 2, 3))
    assert SegmentWriter(other, segmentation_node, volume_node).write(segment_id, mask).count == 24
    assert segmentArray(segmentation_node, segment_id, volume_node).sum() == expected[1].sum() + 24


def test_markups_files_of_slicer_are_read_in_the_coordinates_they_name(tmp_path):
    scene = createScene()
    point = {"id": "1", "label": "F-1", "position": [-10.0, 20.0, 35.0], "positionStatus": "defined"}
    undefined = {"id": "2", "label": "F-2", "position": [0.0, 0.0, 0.0], "positionStatus": "undefined"}
    markups = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point, undefined]}
    schema = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    path = tmp_path / "F.mrk.json"
    path.write_text(json.dumps({"@schema": schema + "markups-schema-v1.0.3.json#", "markups": [markups]}))
    assert promptsFromNodes(loadMarkups(scene, path)).include.tolist() == [[10, -20, 35]]

    _, _, roi_node = createPromptNodes(scene)
    roi_node.SetCenter(3, 4, 5)
    roi_node.SetSize(10, 20, 30)
    roi_node.AddDefaultStorageNode(str(tmp_path / "R.mrk.json"))
    assert roi_node.GetStorageNode().WriteData(roi_node)
    box = promptsFromNodes(roiNode=loadMarkups(scene, tmp_path / "R.mrk.json")).box
    assert np.allclose(box.corners.min(axis=0), (-2, -6, -10))
    assert np.allclose(box.corners.max(axis=0), (8, 14, 20))


@pytest.mark.parametrize("suffix", (".nii.gz", ".nrrd", ".mha"))
def test_volumes_are_read_exactly(tmp_path, phantom, suffix):
    image = sitk.GetImageFromArray(phantom.array)
    image.SetSpacing((1.5, 1.5, 4.0))
    # the phantom's columns run to the left and its rows to the back, as ITK's axes do
    image.SetOrigin((-101.5, -40.25, -312.0))
    sitk.WriteImage(image, str(tmp_path / f"CT{suffix}"))
    volume_node = loadVolume(createScene(), tmp_path / f"CT{suffix}")
    volume = volumeFromNode(volume_node)
    assert volume_node.GetName() == "CT"
    # NIfTI may be turned to another axis order, so compare in the world
    point = phantom.ijk_to_ras @ (34, 44, 10, 1)
    i, j, k = np.rint(volume.ras_to_ijk @ point)[:3].astype(int)
    assert volume.array[k, j, i] == phantom.array[10, 44, 34]
    assert volume.array.sum() == phantom.array.sum()


def bad_files(folder):
    (folder / "noise.nii.gz").write_bytes(b"not an image")
    sitk.WriteImage(sitk.Image([8, 8, 8], sitk.sitkVectorUInt8, 3), str(folder / "rgb.nrrd"))
    sitk.WriteImage(sitk.Image([8, 8, 8, 4], sitk.sitkInt16), str(folder / "4d.nrrd"))
    nan = sitk.Image([8, 8, 8], sitk.sitkFloat32)
    nan[1, 2, 3] = float("nan")
    sitk.WriteImage(nan, str(folder / "nan.nrrd"))
    sitk.WriteImage(sitk.Image([64, 64, 64], sitk.sitkInt16), str(folder / "cut.nrrd"))
    (folder / "cut.nrrd").write_bytes((folder / "cut.nrrd").read_bytes()[:2000])
    (folder / "noise.mrk.json").write_text("{")
    (folder / "unknown.mrk.json").write_text('{"markups": [{"type": "Spiral"}]}')
    (folder / "two.mrk.json").write_text('{"markups": [{"type": "Fiducial"}, {"type": "Fiducial"}]}')
    (folder / "noise.mrb").write_bytes(b"not a zip file")


UNUSABLE = (
    *("noise.nii.gz", "rgb.nrrd", "4d.nrrd", "nan.nrrd", "cut.nrrd", "gone.nrrd"),
    *("noise.mrk.json", "unknown.mrk.json", "two.mrk.json", "gone.mrk.json", "noise.mrb", "gone.mrb"),
)


@pytest.mark.parametrize("name", UNUSABLE)
def test_files_that_cannot_be_used_are_refused_by_name_and_leave_the_scene_as_it_was(tmp_path, name, capfd):
    bad_files(tmp_path)
    load = {"json": loadMarkups, "mrb": loadScene}.get(name.rsplit(".", 1)[1], loadVolume)
    scene = createScene()
    nodes, folder = scene.GetNumberOfNodes(), Path.cwd()
    capfd.readouterr()
    with pytest.raises(InputError, match=name.split(".")[0]) as error:
        load(scene, tmp_path / name)
    assert "\n" not in str(error.value)
    assert "0x" not in str(error.value)
    assert scene.GetNumberOfNodes() == nodes
    assert Path.cwd() == folder
    assert capfd.readouterr() == ("", "")


def picture(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(int)


def share(image, red, green, blue):
    """How many pixels are within 40 of a color in every channel."""
    return int((np.abs(image[..., :3] - (red, green, blue)) < 40).all(axis=-1).sum())


def test_pictures_show_ct_outline_and_prompts(filled, tmp_path):
    scene, *_, center = filled
    saveScene(scene, tmp_path / "scene.mrb")
    reason = renderScene(tmp_path / "scene.mrb", tmp_path, center)
    if reason and "no OpenGL library was found" in reason:
        pytest.skip(reason)
    assert reason is None
    for name in PICTURES:
        image = picture(tmp_path / name)
        assert image.shape[:2] == (700, 900)
        # segment (orange), box (yellow)
        assert share(image, 230, 97, 0) > 300
        assert share(image, 255, 217, 26) > 300
        # include (green) and exclude (red) point
        if name != "three_d.png":
            assert share(image, 38, 217, 64) > 30
            assert share(image, 242, 51, 51) > 30
            grey = np.ptp(image[..., :3], axis=-1) < 6
            assert (grey & (image[..., 0] > 60) & (image[..., 0] < 250)).sum() > 40_000
    axial = picture(tmp_path / "axial.png")
    green = np.argwhere((np.abs(axial[..., :3] - (38, 217, 64)) < 40).all(axis=-1)).mean(axis=0)
    # 96 voxels of 1.5 mm fill the height of 700 pixels; their middle, 47.5, is the picture's
    pixels_per_mm = 700 / 144
    assert np.allclose(
        green, (350 + (44 - 47.5) * 1.5 * pixels_per_mm, 450 + (34 - 47.5) * 1.5 * pixels_per_mm), atol=6
    )


SAGITTAL = """
import sys
from pathlib import Path
import numpy as np
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.rendering import render
from SAMLiverTumorLib.mrml.rendering.offscreen_views import SliceView
from SAMLiverTumorLib.volume import Volume
if not render._glWorks():
    sys.exit(3)
# soft tissue to the patient's left, and one bright sagittal slice at R 41.5
array = np.full((40, 40, 40), -200, np.int16)
array[:, :, 10] = 235
affine = np.array([[-1.5, 0, 0, 56.5], [0, -1.5, 0, 30], [0, 0, 1.5, -30], [0, 0, 0, 1]])
scene = createScene()
view = SliceView(scene, "Sagittal", addVolumeNode(scene, Volume(array, affine, "CT")), (300, 300))
for name, r in (("bright", 41.5), ("dark", -41.5 + 15)):
    view.show(np.array([r, 0.0, 0.0]))
    assert abs(view.sliceNode.GetSliceToRAS().GetElement(0, 3) - r) < 1e-3, view.sliceNode.GetSliceToRAS()
    view.save(Path(sys.argv[1]) / f"{name}.png")
"""


def test_a_sagittal_view_shows_the_slice_on_the_side_that_was_asked_for(tmp_path):
    done = subprocess.run([sys.executable, "-c", SAGITTAL, str(tmp_path)], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("no OpenGL library was found")
    assert done.returncode == 0, done.stderr
    assert np.median(picture(tmp_path / "bright.png")[..., 0]) == 255
    assert picture(tmp_path / "dark.png")[..., 0].max() == 0


def test_without_opengl_the_reason_and_the_remedy_are_reported(filled, tmp_path, monkeypatch):
    if not sys.platform.startswith("linux"):
        pytest.skip("hides the libraries by the Linux loader's search path")
    scene, *_, center = filled
    saveScene(scene, tmp_path / "scene.mrb")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for library in ("libEGL.so.1", "libEGL.so", "libGL.so.1", "libGL.so", "libOSMesa.so", "libOSMesa.so.8"):
        (hidden / library).write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(hidden))
    monkeypatch.delenv("DISPLAY", raising=False)
    reason = renderScene(tmp_path / "scene.mrb", tmp_path, center)
    assert "no OpenGL library was found" in reason
    assert all(package in reason for package in ("libegl1", "libgl1", "libosmesa6"))
    assert not any((tmp_path / name).exists() for name in PICTURES)


def test_rendering_that_fails_or_hangs_says_so_and_raises_nothing(tmp_path):
    assert "There is no file" in renderScene(tmp_path / "gone.mrb", tmp_path, (-1.0, 2.0, 3.0))
    assert "took more than" in renderScene(tmp_path / "gone.mrb", tmp_path, (0, 0, 0), timeoutSeconds=0.01)
