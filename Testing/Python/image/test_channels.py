"""Further phases and modalities have channels of their own, on the first one's voxels, and are in provenance."""

from dataclasses import replace

import numpy as np
import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.channels import FurtherChannel, further_channel, onto_grid_of, overlap
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.window import PRESETS, Window, percentile_window
from SAMLiverTumorLib.inference.embeddings.memory_cache import image_key
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.segment_volume import segment_volume
from SAMLiverTumorLib.inference.segment_slices import Settings, segment
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume, apply_affine

BOX = Prompts(box=Box((50.5, -25.75, -272.0), np.eye(3), (30, 32, 8)))
ONE_SLICE = Prompts(box=Box((50.5, -25.75, -272.0), np.eye(3), (30, 32, 0)))


def moved(volume, millimeters, array=None, name="arterial"):
    affine = volume.ijk_to_ras.copy()
    affine[:3, 3] += millimeters
    return Volume(volume.array if array is None else array, affine, name)


def linear(affine, shape, name="linear"):
    """A volume whose value at a point is 2 R + 3 A - S: what linear interpolation gives exactly."""
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    points = apply_affine(affine, np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    return Volume((points @ [2.0, 3.0, -1.0]).reshape(shape).astype(np.float64), affine, name)


# -- the grid


def test_a_volume_on_the_same_grid_keeps_its_very_values(phantom):
    other = moved(phantom, (0, 0, 0), phantom.array + 7)
    channel, notes = further_channel(phantom, other)
    assert channel.volume.array.base is other.array.base or (channel.volume.array == other.array).all()
    assert channel.volume.array.dtype == other.array.dtype
    assert notes == ()


def test_another_grid_is_interpolated_at_the_places_of_the_first_ones_voxels():
    first = Volume(np.zeros((8, 20, 20), np.int16), np.diag([-1.5, -1.5, 4.0, 1.0]), "CT")
    turned = np.array([[0.96, 0.28, 0, -40], [-0.28, 0.96, 0, -40], [0, 0, 1.3, -5], [0, 0, 0, 1]])
    turned[:3, :3] *= 0.9
    other = linear(turned, (40, 70, 70))
    result = onto_grid_of(first, other)
    inside = 0
    for ijk in ((3, 4, 2), (10, 10, 5), (18, 2, 6), (7, 15, 1)):
        r, a, s = apply_affine(first.ijk_to_ras, ijk)[0]
        if ((apply_affine(other.ras_to_ijk, (r, a, s)) >= 0).all()) and (
            apply_affine(other.ras_to_ijk, (r, a, s)) <= np.array(other.dimensions) - 1
        ).all():
            inside += 1
            assert result.array[ijk[::-1]] == pytest.approx(2 * r + 3 * a - s, abs=1e-3)
    assert inside >= 3
    assert result.dimensions == first.dimensions
    assert (result.ijk_to_ras == first.ijk_to_ras).all()


def test_outside_of_the_other_volume_the_channel_is_dark(phantom):
    half = Volume(phantom.array[:12], phantom.ijk_to_ras, "half")
    channel, notes = further_channel(phantom, half)
    assert (channel.volume.array[:12] == phantom.array[:12]).all()
    assert (channel.volume.array[12:] == phantom.array.min()).all()
    assert notes == ("'half' covers 60% of 'phantom'; its channel is dark elsewhere.",)


def test_overlap_is_the_share_of_the_smaller_volume(phantom):
    k = phantom.dimensions[2] * phantom.spacing[2]
    assert overlap(phantom, phantom) == 1
    assert overlap(phantom, moved(phantom, (0, 0, k / 4))) == pytest.approx(0.75, abs=0.03)
    assert overlap(phantom, moved(phantom, (0, 0, 2 * k))) == 0
    part = moved(phantom, (0, 0, 5 * phantom.spacing[2]), phantom.array[5:15], "part")
    assert overlap(phantom, part) == overlap(part, phantom) == 1
    assert overlap(phantom, part, of_first=True) == pytest.approx(0.5, abs=0.02)


def test_volumes_that_do_not_overlap_are_refused_and_registration_is_offered(phantom):
    with pytest.raises(InputError, match=r"'arterial' and 'phantom' do not overlap \(0% of the .*--register"):
        further_channel(phantom, moved(phantom, (0, 0, 900)))


# -- windows


def test_a_ct_gets_the_wide_window_and_an_mr_its_percentiles(phantom):
    assert further_channel(phantom, moved(phantom, 0))[0].window == PRESETS["wide"]
    values = np.zeros(phantom.array.shape, np.uint16)
    values[5:, 10:60, 10:60] = np.arange(15 * 50 * 50).reshape(15, 50, 50) % 1000 + 1
    mr = moved(phantom, 0, values, "mr")
    window = further_channel(phantom, mr)[0].window
    assert window.name == "percentile"
    # of 1 to 1000, each 37 or 38 times; the background of zeros does not count
    assert (window.low, window.high) == pytest.approx((6, 995), abs=1)
    assert further_channel(phantom, mr, "10,200")[0].window == Window(10, 200)
    with pytest.raises(InputError, match="'mr' has values 0 to 1000, which are not Hounsfield units"):
        further_channel(phantom, mr, "liver")
    with pytest.raises(InputError, match="one value everywhere"):
        percentile_window(moved(phantom, 0, np.ones(phantom.array.shape, np.int16), "flat"))


# -- what the network sees


def test_each_channel_shows_its_own_volume_in_its_own_window(phantom):
    plane = slice_plane(phantom, "axial", 10)
    red = FurtherChannel(moved(phantom, 0, phantom.array + 20), Window(-100, 155))
    blue = FurtherChannel(moved(phantom, 0, phantom.array * 2), Window(0, 510))
    rgb = plane_to_rgb(phantom, plane, PRESETS["liver"], further=(red, blue))
    alone = plane_to_rgb(phantom, plane, PRESETS["liver"])
    values = phantom.array[10]  # rows run toward posterior and columns toward the left, as its axes do
    assert (rgb[..., 1] == alone[..., 1]).all()
    assert (rgb[..., 0] == np.rint(np.clip(values + 20.0 + 100, 0, 255))).all()
    assert (rgb[..., 2] == np.rint(np.clip(values * 2.0 / 2, 0, 255))).all()
    one = plane_to_rgb(phantom, plane, PRESETS["liver"], further=(red,))
    assert (one[..., 0] == rgb[..., 0]).all()
    assert (one[..., 1:] == alone[..., 1:]).all()


def test_embeddings_of_other_pixels_or_windows_of_any_channel_have_other_names(phantom):
    plane = slice_plane(phantom, "axial", 10)
    base = FurtherChannel(moved(phantom, 0), Window(-100, 155))
    brighter = moved(phantom, 0, phantom.array + 1)
    images = [
        plane_to_rgb(phantom, plane, PRESETS["liver"]),
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(base,)),
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(base, base)),
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(replace(base, window=Window(-90, 155)),)),
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(replace(base, volume=brighter),)),
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(base, replace(base, volume=brighter))),
    ]
    assert len({image_key(rgb, (1.5, 1.5), "model") for rgb in images}) == len(images)


def test_what_cannot_be_shown_is_refused(phantom):
    plane = slice_plane(phantom, "axial", 10)
    channel = FurtherChannel(moved(phantom, 0), PRESETS["wide"])
    with pytest.raises(InputError, match="3 further volumes are too many"):
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(channel,) * 3)
    with pytest.raises(InputError, match="take the place of channels 'windows'"):
        plane_to_rgb(phantom, plane, PRESETS["liver"], "windows", (channel,))
    small = FurtherChannel(Volume(phantom.array[:5], phantom.ijk_to_ras, "small"), PRESETS["wide"])
    with pytest.raises(InputError, match="'small' has other voxels"):
        plane_to_rgb(phantom, plane, PRESETS["liver"], further=(small,))


# -- masks and provenance


@pytest.fixture
def darker(phantom):
    """The phantom in a phase in which the lesion enhances less."""
    return moved(phantom, 0, np.where((phantom.array > 20) & (phantom.array < 80), 0, phantom.array).astype(np.int16))


def test_masks_of_one_channel_are_the_same_with_and_without_the_option(phantom, pool):
    alone = segment(phantom, ONE_SLICE, pool)
    again = segment(phantom, ONE_SLICE, pool, Settings(further=()))
    assert (alone.mask.full() == again.mask.full()).all()
    assert alone.provenance == again.provenance
    assert "further" not in alone.provenance


def test_the_same_volume_in_every_channel_gives_the_mask_of_one(phantom, pool):
    channel = FurtherChannel(phantom, Window(-45, 105))
    settings = Settings(window=Window(-45, 105), model="lite-medsam")
    alone = segment(phantom, ONE_SLICE, pool, settings).mask.full()
    assert (segment(phantom, ONE_SLICE, pool, replace(settings, further=(channel, channel))).mask.full() == alone).all()


def test_another_phase_changes_the_mask_and_is_named_in_provenance(phantom, darker, pool):
    channel, _ = further_channel(phantom, darker)
    result = segment(phantom, ONE_SLICE, pool, Settings(further=(channel,)))
    assert (result.mask.full() != segment(phantom, ONE_SLICE, pool).mask.full()).any()
    (said,) = result.provenance["further"]
    assert said == {"name": "arterial", "voxels": darker.voxel_hash, "window": [-160.0, 240.0]}


def test_a_run_through_the_volume_depends_on_every_channel(phantom, darker, pool):
    stack = PlaneStack(phantom, "axial")
    channel, _ = further_channel(phantom, darker)
    result = segment_volume(stack, BOX, pool, Settings(further=(channel,)))
    alone = segment_volume(stack, BOX, pool, Settings())
    assert result.provenance["basis"]["further"][0]["voxels"] == darker.voxel_hash
    assert "further" not in alone.provenance["basis"]
    assert (result.mask().full() != alone.mask().full()).any()
