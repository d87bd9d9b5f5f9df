"""DICOM SEG from the scene and from `segment`: on the images' own voxels, by whoever can write it."""

import sys
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import slicer
import slicer.util
from cli_case import ONE_SLICE
from dicom_case import affine, write_series

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.inference.segment_slices import segment
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.api import dicom_seg as dicom_seg_api
from SAMLiverTumorLib.mrml.api.dicom_seg import exportDicomSeg, saveDicomSeg
from SAMLiverTumorLib.mrml.api.load_dicom import loadDicomSeries
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, createSegmentation, setProvenance
from SAMLiverTumorLib.prompts import Box, Prompts

MASK = np.zeros((5, 12, 10), bool)
MASK[1:4, 4:7, 3:9] = True
SHA = "ab" * 32


@pytest.fixture
def outlined(tmp_path):
    """(segmentation with a tumor, its volume, folder of the series); both nodes are shown elsewhere by a transform."""
    scene = createScene()
    folder = write_series(tmp_path / "ct")
    volumeNode = loadDicomSeries(folder, scene=scene)
    moved = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved.SetMatrixTransformToParent(
        slicer.util.vtkMatrixFromArray(np.array([[0, 1, 0, 5], [-1, 0, 0, 7], [0, 0, 1, 9], [0, 0, 0, 1.0]]))
    )
    volumeNode.SetAndObserveTransformNodeID(moved.GetID())
    segmentationNode = createSegmentation(scene, volumeNode)
    segmentId = addTumorSegment(segmentationNode, "Liver tumor")
    mask = Mask.from_array(MASK, gridFromNode(volumeNode))
    SegmentWriter(scene, segmentationNode, volumeNode).write(segmentId, mask)
    setProvenance(segmentationNode, segmentId, {"models": [{"id": "mobile-sam", "sha256": SHA}], "prompts": {}})
    return segmentationNode, volumeNode, folder


def test_file_has_the_place_of_the_images_whatever_moves_them_in_the_scene(outlined, tmp_path):
    segmentationNode, volumeNode, folder = outlined
    path = exportDicomSeg(segmentationNode, volumeNode, tmp_path, folder)
    assert path == tmp_path / "Liver tumors.dcm"
    back, _ = onto_grid(read_labels(path), affine(), MASK.shape[::-1])
    np.testing.assert_array_equal(back.segments["Liver tumor"], MASK)
    (segment_item,) = pydicom.dcmread(path).SegmentSequence
    assert SHA in segment_item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    # nothing is replaced
    assert exportDicomSeg(segmentationNode, volumeNode, tmp_path, folder).name == "Liver tumors 2.dcm"


def test_new_segments_carry_terminology_of_tumor_and_liver(outlined):
    segmentationNode, _, _ = outlined
    liver = addTumorSegment(segmentationNode, "Liver")
    segmentation = segmentationNode.GetSegmentation()
    assert segmentation.GetNthSegment(0).GetTerminology().split("~")[1:3] == [
        "SCT^49755003^Morphologically Altered Structure",
        "SCT^4147007^Mass",
    ]
    assert segmentation.GetSegment(liver).GetTerminology().split("~")[1:3] == [
        "SCT^123037004^Anatomical Structure",
        "SCT^10200004^Liver",
    ]


def test_what_cannot_be_exported_is_refused(outlined, tmp_path):
    segmentationNode, volumeNode, folder = outlined
    with pytest.raises(InputError, match="not known"):
        exportDicomSeg(segmentationNode, volumeNode, tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        exportDicomSeg(segmentationNode, volumeNode, tmp_path / "none", folder)
    other = write_series(tmp_path / "other", PixelSpacing=[0.7, 0.6])
    with pytest.raises(InputError, match="another voxel grid"):
        saveDicomSeg(segmentationNode, volumeNode, tmp_path / "a.dcm", other)
    empty = createSegmentation(volumeNode.GetScene(), volumeNode)
    with pytest.raises(InputError, match="no segment"):
        exportDicomSeg(empty, volumeNode, tmp_path, folder)


class Plugin:
    """Stands for Slicer's exporter, which runs a program of the application: notes what it was asked."""

    def examineForExport(self, item):
        self.item = item
        return [SimpleNamespace(directory="")]

    def export(self, exportables):
        Plugin.asked = self.item, exportables[0].directory
        (Plugin.folder / "subject_hierarchy_export.SEG.dcm").write_text("by Slicer")
        return Plugin.answer


class Hierarchy:
    """Stands for the subject hierarchy, whose items need the application."""

    def __init__(self, volumeNode):
        self.volumeNode, self.parents = volumeNode, {1: 7, 2: 8}

    def GetItemByDataNode(self, node):
        return 1 if node is self.volumeNode else 2

    def GetItemParent(self, item):
        return self.parents[item]

    def SetItemParent(self, item, parent):
        self.parents[item] = parent


@pytest.mark.parametrize("answer", ["", "no terminology"])
def test_volume_of_the_dicom_database_is_left_to_slicers_exporter(outlined, tmp_path, monkeypatch, answer):
    segmentationNode, volumeNode, folder = outlined
    out = tmp_path / "out"
    out.mkdir()
    Plugin.folder, Plugin.answer = out, answer
    hierarchy = Hierarchy(volumeNode)
    known = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in folder.iterdir()}
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", SimpleNamespace(DICOMSegmentationPluginClass=Plugin))
    monkeypatch.setattr(dicom_seg_api, "inSlicerApplication", lambda: True)
    monkeypatch.setattr(
        slicer, "dicomDatabase", SimpleNamespace(fileForInstance=lambda uid: known.get(uid, "")), raising=False
    )
    monkeypatch.setattr(
        slicer, "vtkMRMLSubjectHierarchyNode", SimpleNamespace(GetSubjectHierarchyNode=lambda scene: hierarchy)
    )
    if answer:
        with pytest.raises(OutputError, match=answer):
            exportDicomSeg(segmentationNode, volumeNode, out)
        return
    assert exportDicomSeg(segmentationNode, volumeNode, out).read_text() == "by Slicer"
    assert Plugin.asked == (2, str(out)) and hierarchy.parents[2] == 7
    # one file gone from the database: Slicer's exporter would fail
    known.popitem()
    with pytest.raises(InputError, match="not known"):
        exportDicomSeg(segmentationNode, volumeNode, out)


@pytest.mark.parametrize("derived", [False, True], ids=["as it is", "without frame of reference"])
def test_segment_writes_a_dicom_seg_of_a_dicom_folder(warm, pool, phantom, tmp_path, capsys, derived):
    spacing = [phantom.spacing[1], phantom.spacing[0]]
    x, y, z = phantom.ijk_to_ras[:3, 3]
    folder = write_series(
        tmp_path / "ct",
        len(phantom.array),
        Rows=96,
        Columns=96,
        PixelSpacing=spacing,
        SliceThickness=4,
        RescaleIntercept=0,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=1,
        change=lambda k: {"ImagePositionPatient": [-x, -y, z + 4.0 * k], "PixelData": phantom.array[k].tobytes()},
        **({"FrameOfReferenceUID": None} if derived else {}),
    )
    out = tmp_path / "tumor.dcm"
    command = ["segment", str(folder), "-o", str(out), ONE_SLICE]
    if derived:
        assert main(command) == 2
        assert "no FrameOfReferenceUID" in (told := capsys.readouterr().err) and "--derive-frame" in told
        command.append("--derive-frame-of-reference")
    assert main(command) == 0
    uid = pydicom.dcmread(out).FrameOfReferenceUID
    assert derived == (f"note: FrameOfReferenceUID {uid} was made from the series' UID" in capsys.readouterr().out)
    volume = read_volume(folder)
    np.testing.assert_allclose(volume.ijk_to_ras, phantom.ijk_to_ras)
    box = Box.from_corners((35.5, -41.75, -272), (65.5, -9.75, -272))
    expected = segment(volume, Prompts(box=box), pool)
    assert expected.mask.count
    back, _ = onto_grid(read_labels(out), volume.ijk_to_ras, volume.dimensions)
    np.testing.assert_array_equal(back.segments["Liver tumor"], expected.mask.full())
    assert back.details["Liver tumor"].models == expected.provenance["models"]


def test_segment_refuses_a_dicom_seg_of_anything_else_before_it_works(phantom_file, tmp_path, capsys):
    assert main(["segment", str(phantom_file), "-o", str(tmp_path / "tumor.dcm"), ONE_SLICE]) == 2
    assert "is no DICOM series" in capsys.readouterr().err
