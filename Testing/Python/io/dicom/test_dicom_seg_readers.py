"""DICOM SEG as other programs read it: dcmqi, through which Slicer loads it, and GDCM, which is in SimpleITK."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dcmqi_case import by_dcmqi, in_order, marked
from dicom_case import ORIGIN, SPACING, STEP, write_series

from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails

# 99 pixels a frame: with one bit each, frames do not begin with a byte.
SHAPE = (6, 11, 9)
# One in three, on slices 1, 2 and 4 alone, and a part of it with more around.
RANDOM = np.random.default_rng(7)
LIVER, TUMOR = (RANDOM.random((2, *SHAPE)) < 0.35).astype(np.uint8)
LIVER[[0, 3, 5]], TUMOR[[0, 1, 5]] = 0, 0
# GDCM leaves out the last pixels of a file where they do not fill a byte.
LIVER[:, -1, -2:], TUMOR[:, -1, -2:] = 0, 0
UID = "1.2.826.0.1.3680043.8.498.21"
# Turned about two axes, as the cosines of rows, columns and normal.
ROW = np.array([np.cos(0.3), np.sin(0.3), 0.0])
COLUMN = np.array([-np.sin(0.3) * np.cos(0.2), np.cos(0.3) * np.cos(0.2), np.sin(0.2)])
NORMAL = np.cross(ROW, COLUMN)


@pytest.fixture
def ct(tmp_path):
    """An oblique series of six slices."""
    shown = {"Rows": SHAPE[1], "Columns": SHAPE[2], "PixelData": np.zeros(SHAPE[1:], np.uint16)}
    turned = [float(f"{x:.8f}") for x in (*ROW, *COLUMN)]
    at = [[round(float(x), 6) for x in ORIGIN + k * STEP * NORMAL] for k in range(SHAPE[0])]
    return write_series(
        tmp_path / "ct",
        SHAPE[0],
        change=lambda k: {"ImagePositionPatient": at[k], "ImageOrientationPatient": turned},
        **shown,
    )


def places():
    """LPS of each voxel, (k, j, i, 3), by the definition of DICOM (PS3.3, C.7.6.2.1.1)."""
    k, j, i = np.indices(SHAPE)[..., None]
    return ORIGIN + i * SPACING[1] * ROW + j * SPACING[0] * COLUMN + k * STEP * NORMAL


def written(path, source, *names):
    details = {"Liver tumor": SegmentDetails((0.9, 0.38, 0.0), tracking_uid=UID, tracking_id="lesion 2")}
    masks = {"Liver": LIVER, "Liver tumor": TUMOR}
    layers, entries = tuple(masks[name] for name in names), {name: (n, 1) for n, name in enumerate(names)}
    write_dicom_seg(LabelFile("made", layers, entries, source.ijk_to_ras, details=details), source, path)
    return path


def test_dcmqi_finds_every_voxel_of_overlapping_segments_in_its_place(ct, tmp_path):
    path = written(tmp_path / "seg.dcm", read_source(ct), "Liver", "Liver tumor")
    images, described, complaints = by_dcmqi(path, tmp_path / "out")
    assert "absent" not in complaints and "rror" not in complaints
    assert (LIVER & TUMOR).any()
    for number, mask in ((1, LIVER), (2, TUMOR)):
        np.testing.assert_allclose(marked(images[number], number), in_order(places()[mask == 1]), atol=2e-3)
        assert images[number].GetSpacing() == pytest.approx((SPACING[1], SPACING[0], STEP))
    assert [described[n]["SegmentLabel"] for n in (1, 2)] == ["Liver", "Liver tumor"]
    tumor = described[2]
    assert tumor["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "4147007"
    assert tumor["AnatomicRegionSequence"]["CodeValue"] == "10200004"
    assert (tumor["TrackingUniqueIdentifier"], tumor["TrackingIdentifier"]) == (UID, "lesion 2")
    assert tumor["recommendedDisplayRGBValue"] == pytest.approx([230, 97, 0], abs=2)


@pytest.mark.parametrize(
    ("labels", "series"),
    [("chaos3/liver.nii.gz", "chaos3/dicom"), ("dcmqi/liver.dcm", "dcmqi/ct-3slice")],
    ids=["chaos3", "dcmqi"],
)
def test_dcmqi_and_gdcm_read_real_labels_voxel_by_voxel(shared_data, tmp_path, labels, series):
    before, source = read_labels(shared_data / labels), read_source(shared_data / series)
    write_dicom_seg(before, source, tmp_path / "seg.dcm")
    images, _, _ = by_dcmqi(tmp_path / "seg.dcm", tmp_path / "out")
    before, _ = onto_grid(before, source.ijk_to_ras, source.dimensions)
    (mask,) = before.segments.values()
    indices = np.c_[np.argwhere(mask)[:, ::-1], np.ones(mask.sum())]
    expected = in_order((indices @ source.ijk_to_ras.T)[:, :3] * (-1, -1, 1))
    for image, value in ((images[1], 1), (sitk.ReadImage(str(tmp_path / "seg.dcm")), 255)):
        np.testing.assert_allclose(marked(image, value), expected, atol=5e-3)


def test_gdcm_finds_every_voxel_of_one_segment_in_its_place(ct, tmp_path):
    image = sitk.ReadImage(str(written(tmp_path / "seg.dcm", read_source(ct), "Liver tumor")))
    np.testing.assert_allclose(marked(image, 255), in_order(places()[TUMOR == 1]), atol=2e-3)


def test_gdcm_stacks_the_frames_of_several_segments_without_their_places(ct, tmp_path):
    # what it does, so that nobody takes it for what we write: one image of all frames, in their order in the file, with
    # the first frame's position and a spacing of 1 mm
    path = written(tmp_path / "seg.dcm", read_source(ct), "Liver", "Liver tumor")
    image, header = sitk.ReadImage(str(path)), pydicom.dcmread(path)
    array = sitk.GetArrayFromImage(image) == 255
    groups = header.PerFrameFunctionalGroupsSequence
    assert image.GetSize() == (SHAPE[2], SHAPE[1], len(groups)) and image.GetSpacing() == (1, 1, 1)
    for frame, group in zip(array, groups, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        k = round(float((place - ORIGIN) @ NORMAL) / STEP)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(frame, (LIVER, TUMOR)[number - 1][k] == 1)
