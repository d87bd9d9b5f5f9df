"""What NIfTI headers say of place: which of two answers is taken, that it is said, and what is refused."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from support.nifti_files import AFFINE, SPACING, nifti_bytes, scan, write_nifti

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import spacingNote

CT, LABELS = scan()
PIXDIM, CODES, QUATERNION, SFORM, UNITS = 80, 252, 256, 280, 123


def rows(affine):
    return (SFORM, "12f", tuple(float(x) for x in np.asarray(affine)[:3].ravel()))


def read(tmp_path, *changes, array=CT):
    """(volume, what is said of it)."""
    notes = []
    return read_volume(write_nifti(tmp_path / "ct.nii", array, changes=changes), note=notes.append), notes


def test_headers_that_agree_say_nothing(tmp_path):
    volume, notes = read(tmp_path)
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert notes == []


def test_a_rounded_spacing_is_the_same_spacing(tmp_path):
    volume, notes = read(tmp_path, (PIXDIM, "3f", (1.503, 1.497, 4.01)))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert notes == []


def test_a_lost_pixdim_leaves_the_sform_and_is_said(tmp_path):
    volume, (note,) = read(tmp_path, (PIXDIM, "3f", (1, 1, 1)))
    assert np.allclose(volume.spacing, SPACING)  # as nibabel; ITK reads 1 x 1 x 1 mm
    assert volume.voxel_volume_ml == pytest.approx(0.009)
    assert "1.5 x 1.5 x 4 mm by its sform and 1 x 1 x 1 mm by its pixdim" in note
    assert "Taken is the sform's" in note


def test_an_unscaled_sform_takes_the_spacing_of_pixdim_and_is_said(tmp_path):
    unscaled = AFFINE.copy()
    unscaled[:3, :3] = np.diag([-1, -1, 1])
    volume, (note,) = read(tmp_path, (CODES, "2h", (0, 1)), rows(unscaled))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert "Taken is the pixdim's" in note


def test_two_spacings_that_can_both_be_true_are_refused_with_a_way_out(tmp_path):
    thick = AFFINE.copy()
    thick[2, 2] = 5.0  # slices of 5 mm every 4 mm
    with pytest.raises(InputError) as caught:
        read(tmp_path, rows(thick))
    told = str(caught.value)
    assert "1.5 x 1.5 x 5 mm by its sform" in told
    assert "1.5 x 1.5 x 4 mm by its pixdim" in told
    assert "correct the spacing in the Volumes module and save it as .nrrd" in told


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
def test_a_negative_pixdim_is_its_size(tmp_path, codes):
    volume, notes = read(tmp_path, (PIXDIM, "3f", (-1.5, 1.5, 4)), (CODES, "2h", codes))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert [("negative" in note) for note in notes] == ([] if codes[1] else [True])


@pytest.mark.parametrize("lost", [0.0, float("nan")])
def test_a_pixdim_that_is_no_distance_leaves_the_sform(tmp_path, lost):
    volume, (note,) = read(tmp_path, (PIXDIM, "3f", (1.5, 1.5, lost)))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert "no spacing in its pixdim" in note


def test_a_sform_of_zeros_leaves_the_qform(tmp_path):
    volume, (note,) = read(tmp_path, rows(np.zeros((3, 4))))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert "its qform is taken" in note


def test_a_qform_elsewhere_is_said(tmp_path):
    # 10 degrees about S and 20 mm to the right: half a turn, then the ten degrees
    turn = np.radians(95)
    volume, (note,) = read(tmp_path, (QUATERNION, "6f", (0, 0, np.sin(turn), 50.0, 24.0, -300.0)))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert "sform and its qform lie up to" in note


@pytest.mark.parametrize("qfac", [1, -1])
def test_a_qform_alone_lies_where_itk_puts_it(tmp_path, qfac):
    axis = np.array((0.1, -0.7, 0.4))
    path = write_nifti(
        tmp_path / "ct.nii",
        CT,
        changes=[(CODES, "2h", (1, 0)), (76, "f", (qfac,)), (QUATERNION, "6f", (*axis, 7.0, -8.0, 9.0))],
    )
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    assert np.allclose(read_volume(path).ijk_to_ras, np.diag([-1, -1, 1, 1]) @ lps, atol=1e-4)


def test_a_file_without_place_lies_as_in_slicer_and_is_said(tmp_path):
    volume, (note,) = read(tmp_path, (CODES, "2h", (0, 0)))
    assert np.allclose(volume.ijk_to_ras, np.diag([-1.5, -1.5, 4, 1]))
    assert "check left and right" in note
    labels = read_labels(write_nifti(tmp_path / "label.nii", LABELS, changes=[(CODES, "2h", (0, 0))]))
    assert np.allclose(labels.ijk_to_ras, volume.ijk_to_ras)
    assert "check left and right" in labels.notes[0]


def test_an_analyze_file_is_read_as_one_without_place(tmp_path):
    # where NIfTI has its codes, Analyze has other things
    whole = nifti_bytes(CT, changes=[(344, "4s", (bytes(4),)), (108, "f", (0.0,)), (CODES, "2h", (513, 7))])
    (tmp_path / "old.hdr").write_bytes(whole[:348])
    (tmp_path / "old.img").write_bytes(whole[352:])
    notes = []
    volume = read_volume(tmp_path / "old.hdr", note=notes.append)
    assert np.array_equal(volume.array, CT)
    assert np.allclose(volume.spacing, SPACING)
    assert "Analyze" in notes[0]


@pytest.mark.parametrize(("unit", "factor", "name"), [(1, 0.001, "meters"), (3, 1000.0, "microns")])
def test_other_units_become_millimeters_and_are_said(tmp_path, unit, factor, name):
    scaled = AFFINE.copy()
    scaled[:3] *= factor
    changes = [rows(scaled), (PIXDIM, "3f", tuple(np.array(SPACING) * factor)), (UNITS, "B", (unit,))]
    volume, (note,) = read(tmp_path, *changes, (QUATERNION, "6f", (0, 0, 1, *(scaled[:3, 3]))))
    assert np.allclose(volume.ijk_to_ras, AFFINE, atol=1e-3)
    assert name in note


@pytest.mark.parametrize("unit", [1, 3])
def test_a_unit_that_cannot_be_is_ignored_and_said(tmp_path, unit):
    volume, (note,) = read(tmp_path, (UNITS, "B", (unit,)))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert "can only be true" in note


def test_a_sheared_sform_leaves_a_straight_qform_and_is_said(tmp_path):
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.2
    volume, (note,) = read(tmp_path, rows(sheared))
    assert np.allclose(volume.ijk_to_ras, AFFINE)
    assert "not at right angles; its qform is taken" in note


def test_labels_tell_what_was_taken_as_scans_do(tmp_path):
    path = write_nifti(tmp_path / "label.nii", LABELS, changes=[(PIXDIM, "3f", (1, 1, 1))])
    labels = read_labels(path)
    assert labels.voxel_volume_ml == pytest.approx(0.009)
    assert "Taken is the sform's" in labels.notes[0]
    assert struct.unpack_from("<3f", path.read_bytes(), PIXDIM) == (1, 1, 1)


def in_scene(path):
    """The volume node as Slicer's own dialog loads it."""
    scene = createScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    storage_node = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage_node.SetFileName(str(path))
    assert storage_node.ReadData(node)
    node.SetAndObserveStorageNodeID(storage_node.GetID())
    return node


def test_the_panel_tells_what_slicer_took_from_a_header_that_contradicts_itself(tmp_path):
    good = in_scene(write_nifti(tmp_path / "good.nii", CT))
    assert spacingNote(good) == ""
    lost = in_scene(write_nifti(tmp_path / "lost.nii", CT, changes=[(PIXDIM, "3f", (1, 1, 1))]))
    assert np.allclose(lost.GetSpacing(), 1.0)  # as ITK reads it
    assert "Slicer takes the other, and shows other mm and ml" in spacingNote(lost)
    thick = AFFINE.copy()
    thick[2, 2] = 5.0
    assert "volumes in ml depend on it" in spacingNote(
        in_scene(write_nifti(tmp_path / "t.nii", CT, changes=[rows(thick)]))
    )
    (tmp_path / "lost.nii").unlink()
    assert spacingNote(lost) == ""
