"""A case of 3D-IRCADb becomes a volume node and a segmentation node whose segments Slicer understands."""

import uuid

import numpy as np
import pydicom
import pytest
import slicer
import slicer.util
import vtk
from ircadb_case import ORIGIN, SERIES, SPACING, Patient, boxes, hounsfield, usual_masks

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.identifiers import MissingIdentifiers
from SAMLiverTumorLib.mrml.api.dicom_seg import rememberedFiles, saveDicomSeg
from SAMLiverTumorLib.mrml.api.load_ircadb import FOLDER_TAG, addingIrcadbCase, loadIrcadbCase
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import volumeFromNode
from SAMLiverTumorLib.mrml.segments.segments import LIVER_TUMOR_TERMINOLOGY, provenance, segmentArray


@pytest.fixture
def loaded(tmp_path):
    """(volume node, segmentation node, name -> segment ID)."""
    createScene()
    volumeNode, segmentationNode = loadIrcadbCase(Patient(1).write_zips(tmp_path))
    segmentation = segmentationNode.GetSegmentation()
    ids = {segmentation.GetSegment(each).GetName(): each for each in segmentation.GetSegmentIDs()}
    return volumeNode, segmentationNode, ids


def test_voxels_and_place_are_those_of_the_files(loaded):
    volumeNode, segmentationNode, ids = loaded
    volume, masks = volumeFromNode(volumeNode), usual_masks()
    assert volumeNode.GetName() == "3Dircadb1.1" and (volume.array == hounsfield(masks)).all()
    assert (volume.ijk_to_ras @ [0, 0, 0, 1])[:3] == pytest.approx([20, 30, 100])
    tumor = masks["livertumor01"] | masks["livertumor02"]
    assert (segmentArray(segmentationNode, ids["liver tumor"], volumeNode) == tumor).all()
    for name, folder in {"livertumor01": "livertumor01", "liver": "liver", "portal vein": "portalvein"}.items():
        assert (segmentArray(segmentationNode, ids[name], volumeNode) == masks[folder]).all(), name


def test_a_dicom_seg_of_a_case_gets_the_one_frame_of_reference_of_its_series(tmp_path):
    case = Patient(1).write(tmp_path)
    createScene()
    volumeNode, segmentationNode = loadIrcadbCase(case)
    folder, series = rememberedFiles(volumeNode)
    assert (folder, series) == ((case / "PATIENT_DICOM").absolute(), None)
    with pytest.raises(MissingIdentifiers, match="no FrameOfReferenceUID"):
        saveDicomSeg(segmentationNode, volumeNode, tmp_path / "a.dcm", folder)
    first = segmentationNode.GetSegmentation().GetNthSegmentID(0)
    notes = saveDicomSeg(
        segmentationNode, volumeNode, tmp_path / "a.dcm", folder, segmentIds=[first], deriveFrameOfReference=True
    )
    data = pydicom.dcmread(tmp_path / "a.dcm")
    expected = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, SERIES + ' FrameOfReferenceUID').int}"
    assert data.FrameOfReferenceUID == expected and expected in notes[0]
    assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    masks = usual_masks()
    found = np.zeros_like(masks["liver"])
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True):
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        found[round((z - ORIGIN[2]) / SPACING[2])] = pixels > 0
    assert (found == masks["livertumor01"] | masks["livertumor02"]).all()
    # of a case in zip files the one with the scan is remembered: a segmentation can refer to its slices
    volumeNode, _ = loadIrcadbCase(Patient(2).write_zips(tmp_path))
    source, _ = rememberedFiles(volumeNode)
    assert "PATIENT_DICOM.zip" in source.parts


def test_segments_overlap_without_taking_voxels_from_each_other(loaded):
    volumeNode, segmentationNode, ids = loaded
    inside = segmentArray(segmentationNode, ids["liver"], volumeNode)
    assert (segmentArray(segmentationNode, ids["liver cyst"], volumeNode) & inside).sum() == 2 * 3 * 3


def test_slicers_terminology_logic_reads_every_segments_terms(loaded):
    _, segmentationNode, ids = loaded
    logic = slicer.vtkSlicerTerminologiesModuleLogic
    read = {}
    for name, segmentId in ids.items():
        text = segmentationNode.GetSegmentation().GetSegment(segmentId).GetTerminology()
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(text, entry), name
        assert logic.SerializeTerminologyEntry(entry) == text, name
        read[name] = entry
    assert read["liver tumor"].GetRegionObject().GetCodeMeaning() == "Liver"
    assert read["left adrenal tumor"].GetRegionObject().GetCodeValue() == "23451007"
    assert read["left adrenal tumor"].GetRegionModifierObject().GetCodeMeaning() == "Left"
    assert read["portal vein"].GetTypeObject().GetCodeMeaning() == "Portal vein"
    segment = segmentationNode.GetSegmentation().GetSegment(ids["liver tumor"])
    assert segment.GetTerminology() == LIVER_TUMOR_TERMINOLOGY


def test_segments_have_colors_that_tell_them_apart_and_say_where_they_are_from(loaded):
    _, segmentationNode, ids = loaded
    segmentation = segmentationNode.GetSegmentation()
    colors = {name: segmentation.GetSegment(segmentId).GetColor() for name, segmentId in ids.items()}
    assert len(set(colors.values())) == len(colors)
    assert colors["liver"] == pytest.approx((221 / 255, 130 / 255, 101 / 255), abs=1e-3)
    text = vtk.reference("")
    assert segmentation.GetSegment(ids["liver cyst"]).GetTag(FOLDER_TAG, text) and str(text) == "liverkyst"
    (entry,) = provenance(segmentationNode, ids["liver tumor"])
    assert entry["folders"] == ["livertumor01", "livertumor02"] and entry["license"] == "CC BY-NC-ND 3.0"


def test_structures_are_added_one_by_one(tmp_path):
    from SAMLiverTumorLib.io.ircadb.cases import read_ircadb

    case = read_ircadb(Patient(1).write(tmp_path))
    counts = [nodes[1].GetSegmentation().GetNumberOfSegments() for nodes in addingIrcadbCase(createScene(), case)]
    assert counts == list(range(9))


def test_an_empty_mask_is_an_empty_segment(tmp_path):
    masks = boxes(
        liver=((1, 4, 4), (10, 30, 30)), gallbladder=((0, 0, 0), (0, 0, 0)), livertumor=((2, 8, 8), (4, 9, 9))
    )
    volumeNode, segmentationNode = loadIrcadbCase(Patient(2, masks).write(tmp_path), createScene())
    segmentId = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName("gallbladder")
    assert not np.any(segmentArray(segmentationNode, segmentId, volumeNode))


def test_nothing_is_added_for_a_case_that_is_refused(tmp_path):
    scene = createScene()
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError):
        loadIrcadbCase(tmp_path, scene)
    assert scene.GetNumberOfNodes() == before
