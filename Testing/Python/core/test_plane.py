"""Planes show the same slice image of the same patient, whatever the order and direction of the stored axes."""

from itertools import product

import numpy as np
import pytest
from geometry import PATIENT_DIMENSIONS, PATIENT_SPACING, STORAGE_ORDERS, patient_ras, patient_value, rotation, stored

from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.image.sampling import mask_to_voxels, sample_plane, voxels_to_slice_mask
from SAMLiverTumorLib.plane import ORIENTATIONS, box_section, oblique_plane, slice_at, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

RIGHT, ANTERIOR, SUPERIOR = (n - 1 for n in PATIENT_DIMENSIONS)
TURN = rotation((1, 2, 3), 17)

# Patient grid position (r, a, s) seen at a slice image's column u and row v, written down from what
# radiologists look at: patient left and posterior to the right, posterior and inferior at the bottom.
SEEN = {
    "axial": lambda u, v, n: (RIGHT - u, ANTERIOR - v, n),
    "coronal": lambda u, v, n: (RIGHT - u, n, SUPERIOR - v),
    "sagittal": lambda u, v, n: (n, ANTERIOR - u, SUPERIOR - v),
}
SHAPES = {"axial": (6, 7), "coronal": (5, 7), "sagittal": (5, 6)}
NORMALS = {"axial": 2, "coronal": 1, "sagittal": 0}


def middle_ras(name, n, turn):
    """The center of the patient's slice n, world RAS in mm."""
    position = [(size - 1) / 2 for size in PATIENT_DIMENSIONS]
    position[NORMALS[name]] = n
    return patient_ras(*position, turn)


@pytest.mark.parametrize("turn", [None, TURN], ids=["straight", "oblique"])
@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("storage", STORAGE_ORDERS, ids=str)
def test_every_storage_order_shows_the_same_slice_image_of_the_patient(storage, name, turn):
    volume = stored(*storage, turn)
    rows, columns = SHAPES[name]
    count = PATIENT_DIMENSIONS[NORMALS[name]]
    assert slice_count(volume, name) == count
    v, u = np.indices((rows, columns))
    for n in range(count):
        plane = slice_plane(volume, name, slice_at(volume, name, middle_ras(name, n, turn)).index)
        assert plane.shape == (rows, columns)
        assert (sample_plane(volume, plane) == patient_value(*SEEN[name](u, v, n))).all()
        for step in (-1, 1):
            neighbor = min(max(n + step, 0), count - 1)
            expected = patient_value(*SEEN[name](u, v, neighbor))
            assert (sample_plane(volume, plane, step) == expected).all(), "neighbors come in the patient's order"
        corners = [(column, row) for column in (0, columns - 1) for row in (0, rows - 1)]
        for column, row in corners:
            ras = patient_ras(*SEEN[name](column, row, n), turn)
            assert (plane.to_ras @ [column, row, 0, 1])[:3] == pytest.approx(ras, abs=1e-6)
            assert plane.from_ras(ras)[0] == pytest.approx([column, row, 0], abs=1e-6)
        above = patient_ras(*SEEN[name](0, 0, n + 1), turn)
        assert plane.from_ras(above)[0] == pytest.approx([0, 0, 1], abs=1e-6)


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("storage", STORAGE_ORDERS[::5], ids=str)
def test_a_drawn_mask_lands_in_the_voxels_it_was_drawn_on(storage, name):
    volume = stored(*storage)
    plane = slice_at(volume, name, middle_ras(name, 2, None))
    image = np.zeros(plane.shape, bool)
    pixels = [(1, 2), (1, 3), (4, 1)]
    for row, column in pixels:
        image[row, column] = True
    mask = mask_to_voxels(image, plane, volume)
    values = sorted(volume.array[mask.full()].tolist())
    assert values == sorted(int(patient_value(*SEEN[name](column, row, 2))) for row, column in pixels)
    assert (voxels_to_slice_mask(mask.full(), plane) == image).all()


@pytest.mark.parametrize("storage", STORAGE_ORDERS[::7], ids=str)
def test_the_nearest_slice_is_found_and_halfway_goes_to_the_superior_one(storage):
    volume = stored(*storage)

    def shown(s):
        plane = slice_at(volume, "axial", patient_ras(3, 3, s))
        return int(sample_plane(volume, plane)[0, 0]) % 10  # the s of patient_value

    positions = (-0.5, -0.49, 0.49, 0.5, 0.51, 1.5, 2.5, 3.49, 4.49, 4.5)
    assert [shown(s) for s in positions] == [0, 0, 0, 1, 1, 2, 3, 3, 4, 4]
    for outside in (-0.6, 4.6):
        with pytest.raises(PromptError, match=r"outside 'patient'.*axial"):
            slice_at(volume, "axial", patient_ras(3, 3, outside))


@pytest.mark.parametrize("index", [-1, 5])
def test_slices_that_do_not_exist_are_refused(index):
    with pytest.raises(InputError, match=rf"slices 0 to 4; there is no slice {index}"):
        slice_plane(stored((0, 1, 2), (1, 1, 1)), "axial", index)


def test_unknown_orientations_are_refused():
    with pytest.raises(InputError, match=r"'transverse'.*axial, coronal, sagittal"):
        slice_plane(stored((0, 1, 2), (1, 1, 1)), "transverse", 0)


def test_no_voxel_axis_is_taken_twice_in_a_strongly_turned_volume():
    turn = rotation((1, 0, 0), 45.0) @ rotation((0, 0, 1), 45.0)
    for storage in STORAGE_ORDERS:
        volume = stored(*storage, turn)
        axes = {slice_plane(volume, name, 0).axis for name in ORIENTATIONS}
        assert axes == {0, 1, 2}


def slicer_axes(plane, point):
    """A slice view's matrix as in Slicer: columns right, up and normal of unit length."""
    matrix = np.eye(4)
    matrix[:3, :3] = plane.to_ras[:3, :3] / np.linalg.norm(plane.to_ras[:3, :3], axis=0) * [1, -1, 1]
    matrix[:3, 3] = point
    return matrix


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_an_oblique_plane_along_a_slice_has_its_frame(name):
    volume = stored((2, 0, 1), (-1, 1, -1), TURN)
    straight = slice_at(volume, name, middle_ras(name, 2, TURN))
    plane = oblique_plane(volume, slicer_axes(straight, middle_ras(name, 2, TURN)))
    smallest = min(PATIENT_SPACING)
    expected = straight.to_ras[:3, :3] / np.linalg.norm(straight.to_ras[:3, :3], axis=0)
    expected = expected * [smallest, smallest, straight.spacing[2]]
    assert plane.to_ras[:3, :3] == pytest.approx(expected, abs=1e-9)
    # it covers the slice, voxel borders included, and at most a pixel more on each side
    rows, columns = plane.shape
    for shape, pixels, spacing in ((straight.shape[1], columns, 0), (straight.shape[0], rows, 1)):
        extent = shape * straight.spacing[spacing] / smallest
        assert extent <= pixels <= extent + 3


def test_oblique_planes_contain_every_point_where_they_cut_the_volume():
    volume = stored((0, 2, 1), (1, -1, 1), TURN)
    generator = np.random.default_rng(4)
    center = patient_ras(3, 2.5, 2, TURN)
    for _ in range(20):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(generator.normal(size=3), generator.uniform(0, 180))
        matrix[:3, 3] = center + generator.normal(size=3)
        plane = oblique_plane(volume, matrix)
        points = matrix[:3, 3] + generator.uniform(-9, 9, (400, 2)) @ matrix[:3, :2].T
        ijk = points @ volume.ras_to_ijk[:3, :3].T + volume.ras_to_ijk[:3, 3]
        inside = ((ijk > -0.5) & (ijk < np.array(volume.dimensions) - 0.5)).all(axis=1)
        u, v, w = plane.from_ras(points[inside]).T
        rows, columns = plane.shape
        assert inside.sum() > 10
        assert np.abs(w).max() < 1e-6
        assert u.min() >= 0
        assert v.min() >= 0
        assert u.max() <= columns - 1
        assert v.max() <= rows - 1


def test_a_slice_view_beside_the_volume_is_refused():
    volume = stored((0, 1, 2), (1, 1, 1))
    matrix = np.eye(4)
    matrix[:3, 3] = patient_ras(0, 0, 5)
    with pytest.raises(PromptError, match="does not cut 'patient'"):
        oblique_plane(volume, matrix)


def test_section_of_a_box_agrees_with_its_points_near_the_height():
    corners = np.array(list(product((-3.0, 3.0), (-2.0, 2.0), (-1.0, 1.0)))) @ rotation((1, 1, 0), 40).T
    fine = np.array(list(product(np.linspace(-3, 3, 61), np.linspace(-2, 2, 41), np.linspace(-1, 1, 81))))
    fine = fine @ rotation((1, 1, 0), 40).T
    for height in (-1.5, 0.0, 0.7):
        near = fine[np.abs(fine[:, 2] - height) < 0.05]
        u0, v0, u1, v1 = box_section(corners, height)
        assert [u0, v0] == pytest.approx(near[:, :2].min(axis=0), abs=0.15)
        assert [u1, v1] == pytest.approx(near[:, :2].max(axis=0), abs=0.15)
    assert box_section(corners, 4.0) is None


def test_same_patient_as_a_plain_volume_has_the_slice_image_of_numpy():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    lps = Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]))  # as CT files are stored: the slice image is array[k]
    assert (sample_plane(lps, slice_plane(lps, "axial", 1)) == array[1]).all()
    assert (sample_plane(lps, slice_plane(lps, "coronal", 1)) == array[::-1, 1]).all()
    assert (sample_plane(lps, slice_plane(lps, "sagittal", 1)) == array[::-1, :, 1]).all()
