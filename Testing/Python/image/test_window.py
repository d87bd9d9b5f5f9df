"""CT numbers become 8-bit slice images exactly, on a copy, and only where they are CT numbers."""

from fractions import Fraction

import numpy as np
import pytest
from geometry import STORAGE_ORDERS, patient_ras, stored

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.window import PRESETS, Window, check_window, parse_window
from SAMLiverTumorLib.plane import slice_at, slice_plane
from SAMLiverTumorLib.volume import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def ct():
    return Volume(np.random.default_rng(0).integers(-1024, 1500, (5, 12, 14)).astype(np.int16), LPS, "CT")


@pytest.mark.parametrize(
    ("name", "level", "width"), [("liver", 30, 150), ("wide", 40, 400), ("lesion", 60, 100)], ids=str
)
def test_presets_are_the_named_level_and_width(name, level, width):
    window = PRESETS[name]
    assert (window.low, window.high) == (level - width / 2, level + width / 2)
    assert parse_window(name) is window


@pytest.mark.parametrize("window", [*PRESETS.values(), Window(0, 255), Window(-37.5, 81.25)], ids=str)
def test_every_ct_number_is_rounded_to_the_nearest_grey(window):
    values = np.arange(-1024, 3072, dtype=np.int16)
    low, high = Fraction(window.low), Fraction(window.high)
    grey = window.to_uint8(values)
    assert grey.dtype == np.uint8
    for value, shown in zip(values.tolist(), grey.tolist(), strict=True):
        exact = min(max((value - low) * 255 / (high - low), 0), 255)
        # where two greys are equally near either is right
        assert abs(shown - exact) <= Fraction(1, 2), value
    assert grey[values <= window.low].max(initial=0) == 0
    assert grey[values >= window.high].min(initial=255) == 255


def test_values_of_the_liver_window_by_hand():
    # (value + 45) * 1.7: black, 1.7, 76.5 (either way), 85, 178.5, white
    shown = Window(-45, 105).to_uint8(np.array([-1000, -45, -44, 5, 60, 105, 3000], np.int16))
    assert shown.tolist() == [0, 0, 2, 85, 178, 255, 255]


def test_slice_images_are_copies_and_leave_the_voxels_alone(ct):
    before = ct.array.copy()
    for channels in ("single", "windows", "neighbors"):
        rgb = plane_to_rgb(ct, slice_plane(ct, "axial", 2), PRESETS["liver"], channels)
        assert rgb.shape == (12, 14, 3)
        assert rgb.dtype == np.uint8
        assert not np.shares_memory(rgb, ct.array)
        rgb[:] = 0  # the caller's to change
        assert (ct.array == before).all()


def grey(values, low, high):
    return np.clip((values.astype(float) - low) * 255 / (high - low), 0, 255)


def test_channels_are_what_their_mode_says(ct):
    plane = slice_plane(ct, "axial", 2)
    here = ct.array[2]
    single = plane_to_rgb(ct, plane, PRESETS["liver"])
    assert (single[..., 0] == single[..., 1]).all()
    assert (single[..., 0] == single[..., 2]).all()
    assert single[..., 0] == pytest.approx(grey(here, -45, 105), abs=0.501)
    windows = plane_to_rgb(ct, plane, PRESETS["liver"], "windows")
    for channel, (low, high) in enumerate([(-160, 240), (-45, 105), (10, 110)]):
        assert windows[..., channel] == pytest.approx(grey(here, low, high), abs=0.501)
    neighbors = plane_to_rgb(ct, plane, PRESETS["liver"], "neighbors")
    for channel in range(3):
        assert neighbors[..., channel] == pytest.approx(grey(ct.array[1 + channel], -45, 105), abs=0.501)


def test_the_last_slice_is_its_own_neighbor(ct):
    rgb = plane_to_rgb(ct, slice_plane(ct, "axial", 4), PRESETS["liver"], "neighbors")
    assert (rgb[..., 2] == rgb[..., 1]).all()
    assert rgb[..., 0] == pytest.approx(grey(ct.array[3], -45, 105), abs=0.501)


def test_neighbors_come_in_the_same_order_however_the_volume_is_stored():
    images = []
    for storage in STORAGE_ORDERS:
        volume = stored(*storage)
        plane = slice_at(volume, "axial", patient_ras(3, 3, 2))
        images.append(plane_to_rgb(volume, plane, Window(0, 700), "neighbors"))
    assert len(np.unique(np.array(images), axis=0)) == 1
    assert not (images[0][..., 0] == images[0][..., 2]).all()


def test_unknown_channel_modes_are_refused(ct):
    with pytest.raises(InputError, match=r"'color'.*single, windows, neighbors"):
        plane_to_rgb(ct, slice_plane(ct, "axial", 2), PRESETS["liver"], "color")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_refused_on_values_that_are_not_hounsfield_naming_the_way_out(name):
    eight_bit = Volume(np.arange(60, dtype=np.uint8).reshape(3, 4, 5) * 4, LPS, "lits8")
    with pytest.raises(InputError, match=r"'lits8'.*not Hounsfield.*'custom' with 0 and 236.*--window 0,236"):
        plane_to_rgb(eight_bit, slice_plane(eight_bit, "axial", 1), PRESETS[name])
    with pytest.raises(InputError, match=r"'lits8' is not in Hounsfield.*choose channels 'single' or 'neighbors'"):
        plane_to_rgb(eight_bit, slice_plane(eight_bit, "axial", 1), Window(0, 255), "windows")


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 65535), (-3, 9), (0, 1e-6), (-2e4, 4e4)])
def test_a_window_of_the_users_own_works_on_any_range(low, high):
    values = np.linspace(low, high, 60).reshape(3, 4, 5)
    volume = Volume(values, LPS, "MR")
    window = Window(low, high)
    check_window(volume, window)
    rgb = plane_to_rgb(volume, slice_plane(volume, "axial", 1), window)
    assert rgb[..., 0] == pytest.approx(grey(values[1], low, high), abs=0.51)


def test_windows_are_parsed():
    assert (parse_window("-45,105").low, parse_window("-45,105").high) == (-45.0, 105.0)
    assert parse_window("0, 255").name == "custom"


@pytest.mark.parametrize("text", ["bone", "", "1", "1,2,3", "a,b", "1;2"])
def test_what_is_no_window_is_refused_naming_the_choices(text):
    with pytest.raises(InputError, match=r"liver, wide, lesion or LOW,HIGH"):
        parse_window(text)


@pytest.mark.parametrize("text", ["5,5", "105,-45", "nan,3", "0,inf"])
def test_windows_without_a_range_are_refused(text):
    with pytest.raises(InputError, match="above the lower"):
        parse_window(text)
