"""Label maps and Slicer segmentations read from files."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE = np.array([[-1.5, 0, 0, 101.5], [0, -1.5, 0, 40.25], [0, 0, 4.0, -312.0], [0, 0, 0, 1]])


def write(path, array, affine=AFFINE, vector=False):
    """Save an array (k, j, i) with an IJK-to-RAS affine through SimpleITK."""
    image = sitk.GetImageFromArray(array, isVector=vector)
    lps = LPS @ affine
    if image.GetDimension() == 3:
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def label_map():
    array = np.zeros((6, 8, 10), np.uint8)
    array[1:5, 2:7, 3:9] = 1
    array[2:4, 3:5, 4:6] = 2
    return array


def oblique():
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 0.9, 2.5])
    affine[:3, 3] = (10, -20, 30)
    return affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("affine", [AFFINE, oblique()], ids=["straight", "oblique"])
def test_label_map_keeps_voxels_values_and_position_in_every_format(tmp_path, label_map, suffix, affine):
    labels = read_labels(write(tmp_path / f"label{suffix}", label_map, affine))
    assert dict(labels.label_values) == {"1": 1, "2": 2}
    assert np.array_equal(labels.segments["1"], label_map == 1)
    assert np.array_equal(labels.segments["2"], label_map == 2)
    assert labels.segments["2"].dtype == bool
    assert np.allclose(labels.ijk_to_ras, affine, atol=1e-4)
    assert labels.dimensions == (10, 8, 6)
    assert labels.voxel_volume_ml == pytest.approx(abs(np.linalg.det(affine[:3, :3])) / 1000)


def test_nrrd_in_ras_space_lies_where_its_header_says(tmp_path):
    header = (
        "NRRD0004\ntype: unsigned char\ndimension: 3\nspace: right-anterior-superior\nsizes: 2 1 1\n"
        "space directions: (2,0,0) (0,3,0) (0,0,4)\nkinds: domain domain domain\nencoding: raw\n"
        "space origin: (5,6,7)\n\n"
    )
    (tmp_path / "ras.nrrd").write_bytes(header.encode() + b"\x00\x01")
    labels = read_labels(tmp_path / "ras.nrrd")
    voxel = labels.ijk_to_ras @ [*np.argwhere(labels.segments["1"])[0][::-1], 1]
    assert np.allclose(voxel[:3], (7, 6, 7))


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint16, np.float32, np.float64])
def test_integer_values_are_labels_whatever_their_type(tmp_path, kind):
    array = np.zeros((2, 3, 4), kind)
    array[0, 0, 0], array[1, 2, 3] = 7, 30000
    labels = read_labels(write(tmp_path / "label.nrrd", array))
    assert dict(labels.label_values) == {"7": 7, "30000": 30000}
    assert np.argwhere(labels.segments["30000"]).tolist() == [[1, 2, 3]]


def test_map_without_labels_has_no_segment(tmp_path):
    assert dict(read_labels(write(tmp_path / "label.nrrd", np.zeros((2, 3, 4), np.uint8))).segments) == {}


def test_single_volume_stored_with_four_dimensions_is_read(tmp_path, label_map):
    image = sitk.JoinSeries([sitk.GetImageFromArray(label_map)])
    sitk.WriteImage(image, str(tmp_path / "label.nii.gz"))
    assert np.array_equal(read_labels(tmp_path / "label.nii.gz").segments["2"], label_map == 2)


@pytest.mark.parametrize(
    ("array", "vector", "message"),
    [
        (np.full((2, 3, 4), 0.5, np.float32), False, "not integers"),
        (np.full((2, 3, 4), np.nan, np.float32), False, "not integers"),
        (np.zeros((3, 4), np.uint8), False, "two-dimensional"),
        (np.zeros((2, 3, 4, 5), np.uint8), False, "4 dimensions"),
        (np.zeros((2, 3, 4, 3), np.uint8), True, "color or vector"),
        (np.arange(2000, dtype=np.int16).reshape(2, 20, 50), False, "looks like an image"),
        (np.arange(0, 2**27, 2**16, dtype=np.int32).reshape(2, 32, 32), False, "looks like an image"),
    ],
    ids=["float", "nan", "2d", "4d", "rgb", "ct", "wide"],
)
def test_file_that_is_no_label_map_is_refused(tmp_path, array, vector, message):
    with pytest.raises(InputError, match=message):
        read_labels(write(tmp_path / "label.nrrd", array, vector=vector))


def test_missing_file_folder_and_text_file_are_refused(tmp_path):
    (tmp_path / "label.nrrd").write_text("no image")
    (tmp_path / "label.txt").write_text("no image")
    for name, message in (
        ("none.nrrd", "does not exist"),
        ("", "holds no DICOM segmentation"),
        ("label.txt", "not an image file"),
    ):
        with pytest.raises(InputError, match=message):
            read_labels(tmp_path / name)
    with pytest.raises(InputError, match=r"label\.nrrd"):
        read_labels(tmp_path / "label.nrrd")


def test_dicom_image_is_refused_with_what_to_do(shared_data):
    with pytest.raises(InputError, match=r"no segmentation \(CT Image Storage\); name a DICOM SEG"):
        read_labels(shared_data / "dcmqi" / "ct-3slice" / "01.dcm")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated_file_is_refused(tmp_path, suffix):
    array = np.random.default_rng(0).integers(0, 3, (30, 40, 50), np.uint8)
    path = write(tmp_path / f"label{suffix}", array)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="label"):
        read_labels(path)


def segmentation_file(path, segments):
    """Save name -> (mask, geometry) as Slicer does, through its own nodes; returns the number of layers."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for number, (name, (mask, affine)) in enumerate(segments):
        image = slicer.vtkOrientedImageData()
        k, j, i = mask.shape
        image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = mask.ravel()
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(affine.ravel().tolist())
        image.SetImageToWorldMatrix(matrix)
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment, f"id{number}")
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    storage.SetCropToMinimumExtent(True)
    assert storage.WriteData(node)
    return node.GetSegmentation().GetNumberOfLayers()


@pytest.mark.parametrize("affine", [AFFINE, oblique()], ids=["straight", "oblique"])
def test_overlapping_segments_saved_by_slicer_come_back_on_their_own_layers(tmp_path, affine):
    liver, tumor, dot = np.zeros((3, 8, 9, 10), bool)
    liver[2:5, 3:6, 2:7] = True
    tumor[3:7, 4:8, 5:9] = True
    dot[7, 8, 9] = True
    segments = [("liver", (liver, affine)), ("L\u00e4sion: 1", (tumor, affine))]
    layers = segmentation_file(tmp_path / "case.seg.nrrd", [*segments, ("liver", (dot, affine))])
    assert layers == 2
    labels = read_labels(tmp_path / "case.seg.nrrd")
    assert labels.from_slicer
    assert len(labels.layers) == 2
    assert list(labels.segments) == ["liver", "L\u00e4sion: 1", "liver (2)"]
    # The file is cropped to its segments, and yet each voxel is where it was.
    assert labels.dimensions == (8, 6, 6)
    moved, notes = onto_grid(labels, affine, (10, 9, 8))
    assert notes == ()
    for name, mask in zip(moved.segments, (liver, tumor, dot), strict=True):
        assert np.array_equal(moved.segments[name], mask)


def test_single_segment_saved_by_slicer_is_a_named_segment(tmp_path):
    mask = np.zeros((8, 9, 10), bool)
    mask[3, 4, 5] = True
    segmentation_file(tmp_path / "case.seg.nrrd", [("tumor", (mask, AFFINE))])
    labels = read_labels(tmp_path / "case.seg.nrrd")
    assert list(labels.segments) == ["tumor"]
    assert labels.segments["tumor"].sum() == 1
    voxel = labels.ijk_to_ras @ [*np.argwhere(labels.segments["tumor"])[0][::-1], 1]
    assert np.allclose(voxel, AFFINE @ [5, 4, 3, 1])


def test_segmentation_of_old_slicer_has_one_layer_per_segment(tmp_path):
    layers = np.zeros((2, 3, 4, 2), np.uint8)
    layers[0, 0, 0, 0] = layers[1, 2, 3, 1] = 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number, name in enumerate(("a", "b")):
        image.SetMetaData(f"Segment{number}_ID", name)
        image.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(image, str(tmp_path / "old.seg.nrrd"))
    labels = read_labels(tmp_path / "old.seg.nrrd")
    assert np.argwhere(labels.segments["a"]).tolist() == [[0, 0, 0]]
    assert np.argwhere(labels.segments["b"]).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(("field", "value"), [("Layer", "3"), ("Layer", "x"), ("LabelValue", "1.5")])
def test_segmentation_with_a_damaged_header_is_refused(tmp_path, field, value):
    image = sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8))
    for key, text in {"ID": "a", "Layer": "0", "LabelValue": "1", field: value}.items():
        image.SetMetaData(f"Segment0_{key}", text)
    sitk.WriteImage(image, str(tmp_path / "bad.seg.nrrd"))
    with pytest.raises(InputError, match="save it again"):
        read_labels(tmp_path / "bad.seg.nrrd")


def test_damaged_gzip_is_refused(tmp_path, label_map):
    path = write(tmp_path / "label.nii.gz", label_map)
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[: len(raw) - 100]))
    with pytest.raises(InputError, match="truncated"):
        read_labels(path)


def test_real_segmentation_of_slicer_users_is_read(shared_data):
    """The dcmqi example: a plain NRRD label map of a liver on 3 CT slices."""
    labels = read_labels(shared_data / "dcmqi" / "liver_seg.nrrd")
    assert labels.dimensions == (512, 512, 3)
    assert list(labels.label_values.values()) == [1]
    assert np.allclose(labels.ijk_to_ras[:3, 3], (235.2, 226.8, -128.69))
