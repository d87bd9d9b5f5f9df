"""DICOM SEG read: files of dcmqi, and every kind that highdicom writes, on the grid of the series they are of."""

import io
import warnings

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_case import affine, write_series
from highdicom.color import CIELabColor
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.datasets.cases import find_cases, load_case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels

SHAPE = (5, 12, 10)
LIVER = np.zeros(SHAPE, bool)
LIVER[1:4, 3:9, 2:7] = True
TUMOR = np.zeros(SHAPE, bool)
TUMOR[2:5, 5:8, 4:9] = True
GAP = np.zeros(SHAPE, bool)
GAP[[0, 4], 3, 3] = True


def write_seg(folder, pixels, kind="BINARY", names=("Liver", "Tumor"), change=None, series=None, **options):
    """A SEG by highdicom over a series of five slices; `pixels` are (k, j, i) or (k, j, i, segment)."""
    headers = [pydicom.dcmread(file) for file in sorted(write_series(folder / "ct", **CT, **(series or {})).iterdir())]
    described = [
        highdicom.seg.SegmentDescription(
            n,
            name,
            codes.SCT.AnatomicalStructure,
            codes.SCT.Liver,
            "MANUAL",
            display_color=CIELabColor.from_rgb(200, 100, 50),
        )
        for n, name in enumerate(names, 1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = highdicom.seg.Segmentation(
            headers, pixels, kind, described, highdicom.UID(), 9, highdicom.UID(), 1, "m", "m", "1", "0", **options
        )
    if change is not None:
        change(data)
    data.save_as(folder / "seg.dcm")
    return folder / "seg.dcm"


CT = {
    "PatientID": "1",
    "PatientName": "Test^Case",
    "PatientBirthDate": "",
    "PatientSex": "",
    "AccessionNumber": "",
    "StudyID": "1",
    "StudyDate": "",
    "StudyTime": "",
}


def on_series(labels):
    """The segments on the whole grid of the series."""
    return onto_grid(labels, affine(), SHAPE[::-1])[0].segments


def test_liver_of_dcmqi_is_that_of_its_nrrd_voxel_by_voxel(shared_data):
    seg, nrrd = read_labels(shared_data / "dcmqi" / "liver.dcm"), read_labels(shared_data / "dcmqi" / "liver_seg.nrrd")
    np.testing.assert_allclose(seg.ijk_to_ras, nrrd.ijk_to_ras, atol=1e-6)
    np.testing.assert_array_equal(seg.segments["Liver"], nrrd.segments["1"])
    # as its header has them
    assert seg.details["Liver"].terminology.type.value == "T-62000"
    assert seg.details["Liver"].algorithm == "SlicerEditor"


def test_overlapping_segments_are_read_whole(tmp_path):
    labels = read_labels(write_seg(tmp_path, np.stack([LIVER, TUMOR], -1).astype(np.uint8)))
    assert (LIVER & TUMOR).any()
    segments = on_series(labels)
    np.testing.assert_array_equal(segments["Liver"], LIVER)
    np.testing.assert_array_equal(segments["Tumor"], TUMOR)
    assert len(labels.layers) == 2


def test_segments_apart_share_a_layer(tmp_path):
    labels = read_labels(write_seg(tmp_path, (LIVER & ~TUMOR) + 2 * TUMOR.astype(np.uint8)))
    assert len(labels.layers) == 1 and labels.entries == {"Liver": (0, 1), "Tumor": (0, 2)}
    np.testing.assert_array_equal(on_series(labels)["Tumor"], TUMOR)


def test_slices_without_a_frame_are_empty(tmp_path):
    labels = read_labels(write_seg(tmp_path, GAP, names=["Speck"]))
    assert labels.layers[0].shape == SHAPE
    np.testing.assert_array_equal(on_series(labels)["Speck"], GAP)


def test_gap_is_measured_by_positions_where_no_spacing_is_stated(tmp_path):
    """Slices 0, 2 and 4 alone: by the positions they are neighbors 5 mm apart; the header knows better."""
    mask = np.zeros(SHAPE, bool)
    mask[[0, 2, 4], 3, 3] = True

    def without(data):
        del data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    stated = read_labels(write_seg(tmp_path / "a", mask, names=["x"]))
    assert stated.layers[0].shape[0] == 5
    unstated = read_labels(write_seg(tmp_path / "b", mask, names=["x"], change=without))
    assert unstated.layers[0].shape[0] == 3 and unstated.ijk_to_ras[2, 2] == pytest.approx(5.0)


def as_jpeg_2000(data):
    """Frames compressed as Pillow does: highdicom wants another package for it."""
    frames = []
    for frame in data.pixel_array.reshape(-1, data.Rows, data.Columns):
        stream = io.BytesIO()
        Image.fromarray(frame).save(stream, "JPEG2000", no_jp2=True)
        frames.append(stream.getvalue())
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.PixelData = encapsulate(frames)


def deflated(data):
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=str)
def test_fractions_count_from_one_half_on(tmp_path, syntax):
    fractions = np.zeros(SHAPE)
    fractions[2, 4, 2:6] = 0.2, 0.49, 0.51, 1.0
    options = {"max_fractional_value": 200}
    if syntax == JPEG2000Lossless:
        options["change"] = as_jpeg_2000
    elif syntax:
        options["transfer_syntax_uid"] = syntax
    labels = read_labels(write_seg(tmp_path, fractions, "FRACTIONAL", ["Liver"], **options))
    assert np.argwhere(on_series(labels)["Liver"]).tolist() == [[2, 4, 4], [2, 4, 5]]
    assert "0.5" in labels.notes[0] and "probability" in labels.notes[0]


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless], ids=str)
def test_label_maps_are_read(tmp_path, syntax):
    options = {"transfer_syntax_uid": syntax} if syntax else {}
    pixels = ((LIVER & ~TUMOR) + 2 * TUMOR).astype(np.uint8)
    labels = read_labels(write_seg(tmp_path, pixels, "LABELMAP", **options))
    np.testing.assert_array_equal(on_series(labels)["Liver"], LIVER & ~TUMOR)
    np.testing.assert_array_equal(on_series(labels)["Tumor"], TUMOR)


def test_frames_that_begin_within_a_byte_are_read(tmp_path):
    """One bit a voxel: 11 x 9 pixels are no whole number of bytes."""
    mask = np.random.default_rng(0).random((5, 11, 9)) < 0.5
    size = {"Rows": 11, "Columns": 9, "PixelData": bytes(2 * 11 * 9 + 2)}
    labels = read_labels(write_seg(tmp_path, mask, names=["Noise"], series=size))
    np.testing.assert_array_equal(labels.segments["Noise"], mask)


def test_deflated_file_is_read(tmp_path):
    labels = read_labels(write_seg(tmp_path, LIVER, names=["Liver"], change=deflated))
    np.testing.assert_array_equal(on_series(labels)["Liver"], LIVER)


def test_two_segments_of_one_name_are_told_apart(tmp_path):
    labels = read_labels(write_seg(tmp_path, np.stack([LIVER, TUMOR], -1).astype(np.uint8), names=("Liver", "Liver")))
    assert list(labels.entries) == ["Liver", "Liver (2)"]
    np.testing.assert_allclose(labels.details["Liver (2)"].color, np.array([200, 100, 50]) / 255, atol=0.01)


def test_evaluate_takes_a_seg_or_its_folder(tmp_path, capsys):
    seg = write_seg(tmp_path, LIVER, names=["Liver"])
    assert main(["evaluate", str(seg), str(tmp_path)]) == 0
    assert "1.0000" in capsys.readouterr().out


def test_fractional_threshold_is_told_by_evaluate(tmp_path, capsys):
    seg = write_seg(tmp_path, LIVER.astype(float), "FRACTIONAL", ["Liver"])
    assert main(["evaluate", str(seg), str(seg)]) == 0
    assert "voxels from 0.5 on" in capsys.readouterr().out


def test_segs_are_labels_to_train_on_by_the_names_of_their_files(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    for patient in ("ann", "bob"):
        write_seg(tmp_path / patient, np.stack([LIVER, TUMOR], -1).astype(np.uint8))
        (tmp_path / patient / "seg.dcm").rename(tmp_path / "labels" / f"{patient}_seg.dcm")
        (tmp_path / patient / "ct").rename(tmp_path / "images" / patient)
    cases = find_cases(tmp_path / "images", tmp_path / "labels")
    assert [case.name for case in cases] == ["ann", "bob"]
    case = load_case(cases[1], {"Liver": "liver", "Tumor": "tumor"})
    np.testing.assert_array_equal(case.tumor, TUMOR)
    np.testing.assert_array_equal(case.liver, LIVER | TUMOR)


def other_class(data):
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


def uneven(data):
    data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [-30, -12.5, 103.1]


def without_position(data):
    del data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def unknown_segment(data):
    data.SegmentSequence[0].SegmentNumber = 3


def too_short(data):
    data.PixelData = data.PixelData[:10]


def huge(data):
    data.Rows = data.Columns = 65535


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_class, "no segmentation"),
        (uneven, "uneven distances"),
        (without_position, "no ImagePositionPatient"),
        (unknown_segment, "does not describe"),
        (too_short, "damaged"),
        (huge, "claims 65535 x 65535"),
    ],
)
def test_what_cannot_be_read_right_is_refused(tmp_path, change, message):
    seg = write_seg(tmp_path, LIVER, names=["Liver"], change=change)
    with pytest.raises(InputError, match=message):
        read_labels(seg)


def test_folder_with_two_segs_or_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM segmentation"):
        read_labels(write_series(tmp_path / "ct"))
    for name in ("a", "b"):
        write_seg(tmp_path / name, LIVER, names=["Liver"]).rename(tmp_path / f"{name}.dcm")
    with pytest.raises(InputError, match=r"2 DICOM segmentations.*a\.dcm \(series 9\), b\.dcm \(series 9\)"):
        read_labels(tmp_path)
