"""Gantry tilt and uneven distances: resampled where positions say, segmentations back on the original slices."""

import numpy as np
import pydicom
import pytest
from dicom_case import ORIGIN, SPACING, STEP, write_series
from scipy import ndimage

from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.volume import apply_affine

ROWS, COLUMNS, COUNT = 40, 30, 16
TILT = np.tan(np.radians(12))
STRAIGHT = np.array([[1, 0, 0], [0, 1, 0]], float)
TURNED = np.array([[1, 0, 0], [0, np.cos(np.radians(15)), -np.sin(np.radians(15))]])


def usual(k):
    return STEP * k


def two_distances(k):
    return STEP * k if k < 8 else STEP * 8 + 2 * STEP * (k - 8)


def jittered(k):
    return STEP * k + 0.4 * np.sin(7.0 * k)


SHAPES = {
    # name: (height of slice k, shift along y per mm of height, directions of columns and rows)
    "tilt": (usual, TILT, STRAIGHT),
    "tilt downwards": (usual, -TILT, STRAIGHT),
    "tilt in the orientation": (usual, 0.0, TURNED),
    "tilt of one degree": (usual, np.tan(np.radians(1)), STRAIGHT),
    "uneven by drift": (lambda k: float(np.cumsum([0, *(STEP * 1.004 ** np.arange(20))])[k]), 0.0, STRAIGHT),
    "two distances": (two_distances, 0.0, STRAIGHT),
    "jitter": (jittered, 0.0, STRAIGHT),
    "tilt and two distances": (two_distances, TILT, STRAIGHT),
}


def positions(shape):
    """Of each slice's first pixel, (slice, 3), LPS."""
    height, shear, _ = SHAPES[shape]
    return np.array([[ORIGIN[0], ORIGIN[1] + shear * height(k), ORIGIN[2] + height(k)] for k in range(COUNT)]).round(4)


def places(shape):
    """LPS of every pixel, (slice, row, column, 3), by the definition of DICOM (PS3.3, C.7.6.2.1.1)."""
    across, down = SHAPES[shape][2]
    j, i = np.indices((ROWS, COLUMNS))[..., None]
    return positions(shape)[:, None, None] + i * SPACING[1] * across + j * SPACING[0] * down


def field(points):
    """A density that is linear in space, HU; linear interpolation has to give it exactly at every place."""
    x, y, z = np.moveaxis(points, -1, 0)
    return 3.0 * (x + 20) - 5.0 * (y + 10) + 7.0 * (z - 110)


def inside(points):
    """A tumor: a ball of 9 mm."""
    return ((points - (-22.0, 2.0, 119.0)) ** 2).sum(axis=-1) < 81


def written(folder, shape):
    """The series, and (voxels' LPS, (slice, row, column, 3))."""
    where, points = positions(shape), places(shape)
    words = np.rint(field(points)).astype(int) + 1024
    assert words.min() >= 0 and words.max() < 4096
    turned = [float(f"{x:.6f}") for x in SHAPES[shape][2].ravel()]
    return write_series(
        folder,
        COUNT,
        change=lambda k: {"ImagePositionPatient": where[k].tolist(), "PixelData": words[k].astype("<u2")},
        Rows=ROWS,
        Columns=COLUMNS,
        ImageOrientationPatient=turned,
    )


def lps(volume):
    """LPS of every voxel, (k, j, i, 3)."""
    k, j, i = np.indices(volume.array.shape)
    points = apply_affine(volume.ijk_to_ras, np.stack([i, j, k], axis=-1).reshape(-1, 3)) * (-1, -1, 1)
    return points.reshape(*volume.array.shape, 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_voxel_has_the_density_of_its_place_and_the_note_says_how(tmp_path, shape):
    read = read_dicom(written(tmp_path / "ct", shape))
    points = lps(read.volume)
    # on grids at right angles
    vectors = read.volume.ijk_to_ras[:3, :3] / read.volume.spacing
    assert vectors.T @ vectors == pytest.approx(np.eye(3), abs=1e-5)
    covered = read.volume.array > -1000
    # the last plane of a distance that no whole number of steps makes up repeats the last slice
    within = covered & (points[..., 2] <= places(shape)[..., 2].max() + 1e-3)
    # within the planes, two voxels from the edge, over which a slice's last pixel reaches
    away = ndimage.binary_erosion(covered, np.ones((1, 5, 5)))
    apart = np.abs(read.volume.array - field(points))[within & away]
    # stored and resampled values are each rounded to whole HU
    assert apart.size > 0.5 * COUNT * ROWS * COLUMNS and apart.max() < 1.6
    # nothing that was measured is cut off
    assert covered.sum() >= 0.97 * COUNT * ROWS * COLUMNS
    told = " ".join(read.notes)
    assert ("gantry tilt" in told) == ("tilt" in shape) and ("uneven distances" in told) == (
        "two" in shape or "jitter" in shape or "uneven" in shape
    )
    assert "linear interpolation" in told
    if "tilt" in shape:
        assert f" {15.0 if 'orientation' in shape else 1.0 if 'one' in shape else 12.0} degrees" in told


def test_steps_keep_their_number_where_they_wobble_and_take_the_smallest_where_there_are_two(tmp_path):
    assert read_dicom(written(tmp_path / "a", "jitter")).volume.array.shape == (COUNT, ROWS, COLUMNS)
    volume = read_dicom(written(tmp_path / "b", "two distances")).volume
    assert volume.spacing[2] == pytest.approx(STEP) and volume.array.shape[0] == 8 + 7 * 2 + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_segmentation_is_written_on_the_original_slices(tmp_path, shape):
    folder = written(tmp_path / "ct", shape)
    volume = read_dicom(folder).volume
    mask = inside(lps(volume))
    labels = LabelFile("made", (mask.astype(np.uint8),), {"Liver tumor": (0, 1)}, volume.ijk_to_ras)
    notes = write_dicom_seg(labels, read_source(folder), tmp_path / "seg.dcm")
    assert "written on the original slices" in notes[0]
    images = {x.SOPInstanceUID: x for x in (pydicom.dcmread(file) for file in folder.iterdir())}
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    points = places(shape)
    original = np.zeros((COUNT, ROWS, COLUMNS), bool)
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True):
        image = images[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(list(image.ImagePositionPatient))
        original[image.InstanceNumber - 1] = pixels > 0
    # every pixel whose surroundings, half a voxel to each side, are all tumor or all not is what its place says
    reach = np.array([SPACING[1], SPACING[0], volume.spacing[2]]) / 2 + 0.01
    corners = [inside(points + reach * sign) for sign in np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T]
    sure_in, sure_out = np.all(corners, axis=0), ~np.any(corners, axis=0)
    assert sure_in.sum() > 500 and original[sure_in].all() and not original[sure_out].any()
    ml = original.sum(axis=(1, 2)) @ thickness(shape) * SPACING[0] * SPACING[1] / 1000
    assert ml == pytest.approx(4 / 3 * np.pi * 9**3 / 1000, rel=0.05)
    # and comes back to the volume that was outlined
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), volume.ijk_to_ras, volume.dimensions)
    differ = back.segments["Liver tumor"] != mask
    if "two" in shape:
        # what lay between two slices is that of the nearer one
        between = np.arange(9, len(mask), 2)
        assert 0 < differ[between].sum() < 0.25 * mask.sum()
        differ[between] = False
    assert not differ.any()


def thickness(shape):
    """Of each slice, from middle to middle, mm along the normal."""
    normal = np.cross(*SHAPES[shape][2])
    gaps = np.diff(positions(shape) @ normal)
    return (np.append(gaps[0], gaps) + np.append(gaps, gaps[-1])) / 2


def test_frames_at_uneven_distances_say_their_own_thickness(tmp_path):
    folder = written(tmp_path / "ct", "two distances")
    volume = read_dicom(folder).volume
    mask = inside(lps(volume)).astype(np.uint8)
    labels = LabelFile("made", (mask,), {"Liver tumor": (0, 1)}, volume.ijk_to_ras)
    write_dicom_seg(labels, read_source(folder), tmp_path / "seg.dcm")
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    frames = data.PerFrameFunctionalGroupsSequence
    assert len(frames) == COUNT
    told = {
        round(float(f.PlanePositionSequence[0].ImagePositionPatient[2]), 3): f.PixelMeasuresSequence[0].SliceThickness
        for f in frames
    }
    for place, mm in zip(positions("two distances"), thickness("two distances"), strict=True):
        assert told[round(float(place[2]), 3)] == pytest.approx(mm)
