"""`Volume` refuses what cannot be used, copies nothing and names its content."""

import numpy as np
import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.volume import Volume, apply_affine

AFFINE = np.diag([0.8, 0.7, 5.0, 1.0])


def test_voxels_are_a_read_only_view_of_the_source():
    source = np.zeros((3, 4, 5), np.int16)
    volume = Volume(source, AFFINE)
    assert np.shares_memory(volume.array, source)
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        volume.ijk_to_ras[0, 0] = 1
    source[0, 0, 0] = 7  # the source itself stays as writable as it was
    assert volume.array[0, 0, 0] == 7


def test_changing_the_affine_given_does_not_move_the_volume():
    affine = AFFINE.copy()
    volume = Volume(np.zeros((3, 4, 5), np.int16), affine)
    affine[0, 3] = 100
    assert volume.ijk_to_ras[0, 3] == 0


def test_dimensions_spacing_and_volume_follow_from_shape_and_affine():
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0, 0, 2.0], [0.6, 0.8, 0], [-0.8, 0.6, 0]]) * [0.7, 0.7, 2.5]
    volume = Volume(np.zeros((3, 4, 5), np.float32), turned)
    assert volume.dimensions == (5, 4, 3)
    assert volume.spacing == pytest.approx((0.7, 0.7, 5.0))
    assert volume.voxel_volume_ml == pytest.approx(0.7 * 0.7 * 5.0 / 1000)
    # i=1, j=2, k=3 by hand: (15, 0.7 * (0.6 + 1.6), 0.7 * (-0.8 + 1.2))
    assert apply_affine(volume.ijk_to_ras, [1, 2, 3])[0] == pytest.approx([15.0, 1.54, 0.28])
    assert apply_affine(volume.ras_to_ijk, [15.0, 1.54, 0.28])[0] == pytest.approx([1, 2, 3])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_refused(value):
    array = np.zeros((3, 4, 5), np.float32)
    array[1, 2, 3] = value
    with pytest.raises(InputError, match=r"'CT'.*NaN or infinite.*replace"):
        Volume(array, AFFINE, "CT")


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5), (0, 4, 5)])
def test_arrays_that_are_no_volume_are_refused(shape):
    with pytest.raises(InputError, match="'CT'"):
        Volume(np.zeros(shape, np.int16), AFFINE, "CT")


@pytest.mark.parametrize("kind", [bool, complex, "U3"])
def test_voxels_that_are_no_grey_values_are_refused(kind):
    with pytest.raises(InputError, match="integers or floats"):
        Volume(np.zeros((3, 4, 5), kind), AFFINE, "CT")


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([0.8, 0.7, 0.0, 1.0]),
        np.diag([0.8, 0.7, 1e-9, 1.0]),
        np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.diag([0.8, np.nan, 5.0, 1.0]),
        np.diag([0.8, np.inf, 5.0, 1.0]),
        np.eye(3),
    ],
    ids=["zero", "tiny", "parallel", "nan", "infinite", "3x3"],
)
def test_affines_that_do_not_place_a_volume_are_refused(affine):
    with pytest.raises(InputError, match=r"'CT'.*(spacing|position)"):
        Volume(np.zeros((3, 4, 5), np.int16), affine, "CT")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1000, 1500, True),
        (-1024, 240, True),
        (-120, 300, True),  # a crop with fat in it
        (0, 255, False),  # 8-bit
        (0, 4095, False),  # CT without its rescale, or MR
        (-30, 900, False),  # nothing as dark as fat or air
        (-3, 9, False),  # normalized MR
    ],
)
def test_hounsfield_units_are_told_from_other_values(low, high, expected):
    array = np.linspace(low, high, 60).reshape(3, 4, 5)
    assert Volume(array, AFFINE).looks_like_hounsfield is expected


def test_hash_names_voxels_type_shape_and_position():
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    name = Volume(array, AFFINE).voxel_hash
    assert Volume(array.copy(), AFFINE.copy(), "another name").voxel_hash == name
    assert Volume(np.asfortranarray(array), AFFINE).voxel_hash == name
    changed = array.copy()
    changed[2, 3, 4] += 1
    moved = AFFINE.copy()
    moved[0, 3] = 0.1
    others = [
        Volume(changed, AFFINE),
        Volume(array.reshape(3, 5, 4), AFFINE),
        Volume(array.view(np.uint16), AFFINE),
        Volume(array, moved),
    ]
    assert len({name, *(other.voxel_hash for other in others)}) == 5


def test_mask_keeps_only_the_box_that_holds_it_and_gives_back_the_whole():
    volume = Volume(np.zeros((6, 7, 8), np.int16), AFFINE)
    whole = np.zeros((6, 7, 8), bool)
    whole[2, 3, 4] = whole[4, 3, 6] = True
    mask = Mask.from_array(whole, volume)
    assert mask.origin == (4, 3, 2)
    assert mask.array.shape == (3, 1, 3)
    assert mask.count == 2
    assert mask.volume_ml == pytest.approx(2 * 0.8 * 0.7 * 5.0 / 1000)
    assert (mask.full() == whole).all()
    part = Mask.from_array(whole[1:, 2:, 3:], volume, (3, 2, 1))
    assert part.origin == mask.origin
    assert (part.full() == whole).all()


def test_empty_mask_has_no_voxel():
    volume = Volume(np.zeros((6, 7, 8), np.int16), AFFINE)
    mask = Mask.from_array(np.zeros((6, 7, 8), bool), volume)
    assert mask.count == 0
    assert mask.volume_ml == 0
    assert mask.full().shape == (6, 7, 8)
    assert not mask.full().any()
