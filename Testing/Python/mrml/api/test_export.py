"""The command export: every format out, voxels and places as they were."""

import gzip
import re
import struct

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk
from dicom_case import COLUMNS, ROWS, affine, write_series
from vtk.util.numpy_support import vtk_to_numpy

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.write_image import write_image
from SAMLiverTumorLib.mrml.api.dicom_seg import saveDicomSeg
from SAMLiverTumorLib.mrml.api.export_surfaces import enclosedMl, saveSurface, segmentSurface
from SAMLiverTumorLib.mrml.api.load_dicom import loadDicomSeries
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.label_nodes import addSegmentation

SHAPE = (5, ROWS, COLUMNS)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:10, 1:8] = 1
LABELS[2:4, 4:7, 3:6] = 2
K_INDEX, J_INDEX, I_INDEX = np.ogrid[:40, :60, :60]
BALL = ((I_INDEX - 30) ** 2 + (J_INDEX - 28) ** 2 + (2 * (K_INDEX - 20)) ** 2) < 20**2


def turned():
    """An affine with spacing 1 x 1 x 2 mm, turned about two axes."""
    a, b = 0.5, 0.3
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_s @ about_r @ np.diag([1, 1, 2])
    matrix[:3, 3] = 100, -50, 1500
    return matrix


GRIDS = {"straight": np.diag([-1.0, -1, 2, 1]), "mirrored": np.diag([1.0, -1, 2, 1]), "oblique": turned()}


@pytest.fixture
def label(tmp_path):
    """A label map with 1 and 2 on the grid of the series."""
    write_image(LABELS, affine(), tmp_path / "label.nii.gz")
    return tmp_path / "label.nii.gz"


def segmentation(grid, mask=BALL):
    node = addSegmentation(createScene(), LabelFile("ball", (mask.astype(np.uint8),), {"Ball": (0, 1)}, GRIDS[grid]))
    return node, node.GetSegmentation().GetNthSegmentID(0)


def run(*words):
    return main(["export", *map(str, words)])


def test_every_format_holds_the_voxels_of_the_label_map(label, tmp_path, capsys):
    series = write_series(tmp_path / "ct")
    outputs = [tmp_path / name for name in ("a.dcm", "a.seg.nrrd", "a.nii", "a.nii.gz")]
    names = ("--segment", "2=Liver tumor", "--segment", "1=Liver")
    assert run(label, *names, "--source", series, "--to", *outputs) == 0
    for path in outputs:
        back, _ = onto_grid(read_labels(path), affine(), SHAPE[::-1])
        liver, tumor = ("Liver", "Liver tumor") if not path.name.startswith("a.nii") else ("1", "2")
        np.testing.assert_array_equal(back.segments[liver], LABELS == 1)
        np.testing.assert_array_equal(back.segments[tumor], LABELS == 2)
    lines = capsys.readouterr().out
    # voxels of 0.6 x 0.8 x 2.5 mm: 18 of them, and 3 x 8 x 7 less these
    assert "'Liver tumor' 0.02 ml, 'Liver' 0.18 ml" in lines


def test_codes_names_and_provenance_go_from_seg_nrrd_to_dicom_and_back(label, tmp_path):
    series = write_series(tmp_path / "ct")
    run(label, "--segment", "1=Liver", "--to", tmp_path / "a.seg.nrrd")
    run(tmp_path / "a.seg.nrrd", "--source", series, "--to", tmp_path / "b.dcm")
    run(tmp_path / "b.dcm", "--source", series, "--to", tmp_path / "c.seg.nrrd")
    first, last = (read_labels(tmp_path / name).details["Liver"] for name in ("a.seg.nrrd", "c.seg.nrrd"))
    assert first.terminology.type.meaning == last.terminology.type.meaning == "Liver"
    np.testing.assert_allclose(first.color, last.color, atol=0.01)


def tracked(path):
    return [(str(item.TrackingUID), str(item.TrackingID)) for item in pydicom.dcmread(path).SegmentSequence]


def test_findings_keep_their_identity_through_slicers_file_and_scene(label, tmp_path):
    series, uid = write_series(tmp_path / "ct"), "1.2.826.0.1.3680043.8.498.7"
    run(label, "--segment", "1=Liver", "--segment", "2=Liver tumor", "--source", series, "--to", tmp_path / "a.dcm")
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.SegmentSequence[1].TrackingUID, data.SegmentSequence[1].TrackingID = uid, "lesion 3: segment | VII"
    data.save_as(tmp_path / "a.dcm")
    liver = tracked(tmp_path / "a.dcm")[0]
    run(tmp_path / "a.dcm", "--source", series, "--to", tmp_path / "b.seg.nrrd")
    run(tmp_path / "b.seg.nrrd", "--source", series, "--to", tmp_path / "c.dcm")
    # Slicer's files cannot hold the bar, which parts one tag from the next
    assert tracked(tmp_path / "c.dcm") == [liver, (uid, "lesion 3: segment / VII")]
    # the scene's own copy of that file, and a SEG in it
    scene = createScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "b.seg.nrrd"))
    assert storage.ReadData(node)
    saveDicomSeg(node, loadDicomSeries(series, scene=scene), tmp_path / "d.dcm", series)
    assert tracked(tmp_path / "d.dcm") == tracked(tmp_path / "c.dcm")
    # an identifier that somebody broke is no reason to write a broken file
    node.GetSegmentation().GetNthSegment(1).SetTag("DICOM.TrackingUID", "seven")
    saveDicomSeg(node, volumeOf(scene), tmp_path / "e.dcm", series)
    first, second = tracked(tmp_path / "e.dcm")
    assert first == liver and re.fullmatch(r"[0-9.]{10,64}", second[0]) and second[1] == "lesion 3: segment / VII"


def volumeOf(scene):
    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)[0]


def nifti(path, qform, sform, order="<"):
    """A CT whose qform and sform differ in the last bits, as real files' do, and with a name in its texts."""
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, COLUMNS, ROWS, 5, 1, 1, 1, 1)
    struct.pack_into(order + "2h", header, 70, 4, 16)
    struct.pack_into(order + "8f", header, 76, -1.0, 0.6, 0.8, 2.5, 0, 0, 0, 0)
    struct.pack_into(order + "3f", header, 108, 352, 1, 0)
    header[123] = 2
    header[148:160] = b"Jane Patient"
    struct.pack_into(order + "2h", header, 252, 1, 1)
    struct.pack_into(order + "6f", header, 256, *qform)
    struct.pack_into(order + "12f", header, 280, *np.asarray(sform, float).ravel())
    header[344:348] = b"n+1\0"
    voxels = np.arange(LABELS.size, dtype=np.dtype(np.int16).newbyteorder(order)) - 500
    path.write_bytes(bytes(header) + voxels.tobytes())
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_keeps_the_affine_of_its_source_to_the_last_bit(tmp_path, order):
    quarter = np.sin(np.pi / 8)
    sform = [[0.42426407, -0.5656854, 0.0, 12.300001], [0.42426407, 0.5656854, 0, -7.7], [0, 0, -2.5, 100.1]]
    source = nifti(tmp_path / "ct.nii", (0.92387955, quarter, 0, 12.300001, -7.7, 100.1), sform, order)
    image = sitk.ReadImage(str(source))
    label = sitk.GetImageFromArray(LABELS)
    label.CopyInformation(image)
    sitk.WriteImage(label, str(tmp_path / "label.nrrd"))
    for name in ("out.nii", "out.nii.gz"):
        assert run(tmp_path / "label.nrrd", "--source", source, "--to", tmp_path / name) == 0
        data = (tmp_path / name).read_bytes()
        header = (gzip.decompress(data) if name.endswith("gz") else data)[:348]
        for first, last in ((76, 108), (123, 124), (252, 328)):
            assert header[first:last] == source.read_bytes()[first:last]
        assert b"Jane" not in header
        back = sitk.ReadImage(str(tmp_path / name))
        assert back.GetOrigin() == image.GetOrigin() and back.GetDirection() == image.GetDirection()
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back), LABELS)


def test_overlap_in_a_label_map_goes_to_the_last_segment_and_is_reported(tmp_path, capsys):
    from SAMLiverTumorLib.mrml.scene_files import saveSegmentation

    masks = (LABELS > 0).astype(np.uint8), (LABELS == 2).astype(np.uint8)
    entries = {"Liver": (0, 1), "Tumor": (1, 1)}
    saveSegmentation(addSegmentation(createScene(), LabelFile("x", masks, entries, affine())), tmp_path / "x.seg.nrrd")
    write_image(LABELS.astype(np.int16), affine(), tmp_path / "ct.nrrd")
    assert run(tmp_path / "x.seg.nrrd", "--source", tmp_path / "ct.nrrd", "--to", tmp_path / "x.nii.gz") == 0
    assert "18 voxels belong to several segments" in capsys.readouterr().out
    np.testing.assert_array_equal(read_labels(tmp_path / "x.nii.gz").layers[0], LABELS)


@pytest.mark.parametrize("grid", GRIDS)
def test_surface_lies_where_the_voxels_do_and_encloses_their_volume(grid):
    node, segment = segmentation(grid)
    surface = segmentSurface(node, segment)
    # 2 mm^3 a voxel; positive: the triangles face outward
    assert enclosedMl(surface) == pytest.approx(BALL.sum() * 0.002, rel=0.005)
    points = vtk_to_numpy(surface.GetPoints().GetData())
    center = GRIDS[grid] @ [30, 28, 20, 1]
    distances = np.linalg.norm(points - center[:3], axis=1)
    # the ball has a radius of 20 mm; a surface between voxels is at most one voxel's diagonal off
    assert distances.min() > 20 - 2.5 and distances.max() < 20 + 1.3
    np.testing.assert_allclose(points.mean(axis=0), center[:3], atol=0.05)


def test_surface_of_a_box_is_exact_but_for_its_edges():
    mask = np.zeros((12, 20, 20), bool)
    mask[3:9, 5:15, 5:15] = True
    node, segment = segmentation("straight", mask)
    bounds = np.array(segmentSurface(node, segment).GetBounds()).reshape(3, 2)
    np.testing.assert_allclose(bounds, [[-14.5, -4.5], [-14.5, -4.5], [5, 17]])


def test_surface_in_the_scene_stays_as_it_was():
    node, segment = segmentation("straight")
    segmentSurface(node, segment, 0.5)
    assert node.GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface") is None


@pytest.mark.parametrize(("suffix", "reader"), [(".stl", vtk.vtkSTLReader), (".obj", vtk.vtkOBJReader)])
@pytest.mark.parametrize(("coordinates", "sign"), [("LPS", -1), ("RAS", 1)])
def test_files_say_their_coordinates_and_hold_them(tmp_path, suffix, reader, coordinates, sign):
    node, segment = segmentation("oblique")
    ml = saveSurface(node, [segment], tmp_path / f"ball{suffix}", coordinates=coordinates)
    assert f"SPACE={coordinates}".encode() in (tmp_path / f"ball{suffix}").read_bytes()[:80]
    read = reader()
    read.SetFileName(str(tmp_path / f"ball{suffix}"))
    read.Update()
    center = (GRIDS["oblique"] @ [30, 28, 20, 1])[:3] * [sign, sign, 1]
    points = vtk_to_numpy(read.GetOutput().GetPoints().GetData())
    np.testing.assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, center, atol=0.6)
    assert enclosedMl(read.GetOutput()) == pytest.approx(ml, rel=1e-3)


def test_obj_names_no_file_that_is_not_there(label, tmp_path):
    run(label, "--segment", "2", "--to", tmp_path / "a.obj")
    assert "mtl" not in (tmp_path / "a.obj").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.obj", "label.nii.gz"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "a.dcm"), "needs the DICOM series"),
        (("--to", "a.tif"), "has to end in"),
        (("--to", "a.stl", "--smoothing", "2"), "not between 0 and 1"),
        (("--to", "a.stl", "--segment", "Liver"), "no segment 'Liver'; it has '1', '2'"),
        (("--to", "a.stl", "--segment", "1=x", "--segment", "2=x"), "Two segments"),
        (("--to", "a.nii", "a.nii"), "given twice"),
        (("--to", "a.nii", "--source", "other.nrrd"), "lies on other voxels"),
    ],
)
def test_what_cannot_be_written_is_refused_with_what_to_do(label, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    write_image(LABELS.astype(np.int16), affine() @ np.diag([1.1, 1, 1, 1]), tmp_path / "other.nrrd")
    before = sorted(tmp_path.iterdir())
    assert run(label.name, *words) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_resampled_onto_another_grid_only_when_asked(label, tmp_path, capsys):
    write_image(np.zeros((5, ROWS * 2, COLUMNS), np.int16), affine() @ np.diag([1, 0.5, 1, 1]), tmp_path / "other.nrrd")
    assert run(label, "--source", tmp_path / "other.nrrd", "--resample", "--to", tmp_path / "a.nii") == 0
    assert "resampled by nearest neighbor" in capsys.readouterr().out
    assert read_labels(tmp_path / "a.nii").dimensions == (COLUMNS, ROWS * 2, 5)
