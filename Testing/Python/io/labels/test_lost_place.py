"""Labels of the scan's very voxels under a header that says another place: exact, refused with the reason, or said."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from support.nifti_files import AFFINE, scan, write_nifti

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.datasets.cases import CaseFiles, load_case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.label_files import compare_labels
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels

CT, LABELS = scan()
RESTORED = "--same-voxels"


def straight(signs, spacing=(1.5, 1.5, 4.0), origin=AFFINE[:3, 3]):
    affine = np.diag([*np.multiply(signs, spacing), 1.0])
    affine[:3, 3] = origin
    return affine


def half_voxel():
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ (0.5, 0.5, 0.5)
    return affine


# What np.eye(4) becomes in a NIfTI file has its rows turned: NumPy's array was never in the scan's order.
LOST = {
    "np.eye(4)": (straight((1, 1, 1), (1, 1, 1), (0, 0, 0)), "its spacing is 1 x 1 x 1 mm"),
    "SimpleITK's default": (straight((-1, -1, 1), (1, 1, 1), (0, 0, 0)), "its spacing is 1 x 1 x 1 mm"),
    "spacing alone": (straight((-1, -1, 1), origin=(0, 0, 0)), "its first voxel is at 0, 0, 0"),
    "signs turned": (np.diag([-1, -1, 1, 1]) @ AFFINE, "the signs of x and y are turned round"),
    "one sign turned": (np.diag([1, -1, 1, 1]) @ AFFINE, "the signs of y are turned round"),
    "half a voxel": (half_voxel(), "half a voxel off"),
}


@pytest.fixture
def ct(tmp_path):
    return write_nifti(tmp_path / "ct.nii", CT)


@pytest.fixture
def reference(tmp_path):
    return write_nifti(tmp_path / "reference.nii", LABELS)


def written(path, affine, array=LABELS):
    """By SimpleITK, which writes every affine."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(("affine", "why"), LOST.values(), ids=LOST)
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_labels_whose_place_was_lost_are_refused_with_the_reason(tmp_path, ct, reference, affine, why, suffix):
    path = written(tmp_path / f"label.{suffix}", affine)
    volume, labels = read_volume(ct), read_labels(path)
    for attempt in (
        lambda: onto_grid(labels, volume.ijk_to_ras, volume.dimensions),
        lambda: compare_labels(labels, read_labels(reference), "2", "2"),
        lambda: compare_labels(read_labels(reference), labels, "2", "2"),
        lambda: load_case(CaseFiles("case", ct, path)),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        told = str(caught.value)
        assert why.replace("its", "the scan's") in told or why in told
        assert "size, 40 x 32 x 12 voxels" in told
        assert RESTORED in told


@pytest.mark.parametrize(("affine", "why"), LOST.values(), ids=LOST)
def test_the_way_out_gives_the_scans_place_to_the_very_voxels(tmp_path, ct, reference, affine, why, capsys):
    path = written(tmp_path / "label.nrrd", affine)
    words = ["export", str(path), "--source", str(ct), "--to", str(tmp_path / "new.nii.gz")]
    assert main(words) == 2
    assert why in capsys.readouterr().err
    assert main([*words, RESTORED]) == 0
    assert np.array_equal(read_labels(tmp_path / "new.nii.gz").segments["2"], LABELS == 2)
    assert main(["evaluate", str(tmp_path / "new.nii.gz"), str(reference), "--segment", "2", "--label", "2"]) == 0
    case = load_case(CaseFiles("case", ct, tmp_path / "new.nii.gz"))
    assert np.array_equal(case.tumor, LABELS == 2)


def test_the_way_out_is_for_labels_of_the_same_size_alone(tmp_path, ct, capsys):
    path = written(tmp_path / "label.nrrd", np.eye(4), LABELS[1:])
    words = ["export", str(path), "--to", str(tmp_path / "new.nii.gz"), RESTORED]
    assert main([*words, "--source", str(ct)]) == 2
    assert "(40, 32, 11) voxels and 'ct.nii' (40, 32, 12)" in capsys.readouterr().err
    assert main(words) == 2
    assert "name that as well" in capsys.readouterr().err


def test_axes_in_another_order_at_the_same_place_are_exact_in_training_too(tmp_path, ct, reference, capsys):
    flip = np.array([[1, 0, 0, 0], [0, -1, 0, 31], [0, 0, -1, 11], [0, 0, 0, 1.0]])
    turn = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    for name, affine, array in (
        ("flipped", AFFINE @ flip, LABELS[::-1, ::-1]),
        # voxel (i, j, k) of the file is voxel (k, i, j) of the scan
        ("turned", AFFINE @ turn, LABELS.transpose(2, 0, 1)),
    ):
        path = written(tmp_path / f"{name}.nrrd", affine, array)
        case = load_case(CaseFiles("case", ct, path))
        assert np.array_equal(case.tumor, LABELS == 2)
        assert case.notes == ()
        assert main(["evaluate", str(path), str(reference), "--segment", "2", "--label", "2"]) == 0
        assert "1.000" in capsys.readouterr().out


def test_a_rounded_header_is_the_same_place(tmp_path, ct):
    affine = AFFINE.copy()
    affine[0, 0], affine[0, 3] = -1.50001, affine[0, 3] + 0.004
    case = load_case(CaseFiles("case", ct, written(tmp_path / "label.nrrd", affine)))
    assert np.array_equal(case.tumor, LABELS == 2)
    assert case.notes == ()


def test_the_scan_may_be_the_one_that_lost_its_place(tmp_path, reference):
    bare = write_nifti(tmp_path / "bare.nii", CT, changes=[(80, "3f", (1, 1, 1)), (252, "2h", (0, 0))])
    with pytest.raises(InputError, match=r"the scan's spacing is 1 x 1 x 1 mm.* it has 1.5 x 1.5 x 4 mm"):
        load_case(CaseFiles("case", bare, reference))


def test_voxels_in_numpys_order_without_place_are_called_that(tmp_path, ct):
    path = written(tmp_path / "label.nrrd", np.eye(4), LABELS.transpose(2, 1, 0))
    with pytest.raises(InputError, match=r"axes in another order \(12 x 32 x 40 voxels\).*1 x 1 x 1 mm"):
        load_case(CaseFiles("case", ct, path))


@pytest.mark.parametrize("slices", [2, 6], ids=["within", "reaching outside"])
def test_labels_of_the_scans_size_somewhere_else_are_taken_there_and_said(tmp_path, reference, slices, capsys):
    affine = AFFINE.copy()
    affine[2, 3] += 4.0 * slices  # another phase of the same scanner
    path = written(tmp_path / "label.nrrd", affine)
    report = tmp_path / "figures.json"
    words = ["evaluate", str(path), str(reference), "--segment", "2", "--label", "2", "--json", str(report)]
    assert main(words) == 0
    moved = np.zeros_like(LABELS, shape=(12 + slices, 32, 40))
    moved[slices:] = LABELS == 2
    there = np.zeros_like(moved)
    there[:12] = LABELS == 2
    dice = 2 * (moved & there).sum() / (moved.sum() + there.sum())
    figures = json.loads(report.read_text())
    assert figures["overall"]["dice"] == pytest.approx(dice, abs=1e-6)
    assert any(f"very size and lies up to {4 * slices} mm off" in note for note in figures["notes"])
    assert f"very size and lies up to {4 * slices} mm off" in capsys.readouterr().out
