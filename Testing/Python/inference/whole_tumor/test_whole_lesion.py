"""Whole lesions from one slice, with a threshold in the network's place: spheres have the volume that spheres have."""

import numpy as np
import pytest

from SAMLiverTumorLib.errors import ModelError, PromptError
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.whole_tumor.channels import SliceMask
from SAMLiverTumorLib.inference.whole_tumor.lesion_network import load_lesion_network, save_lesion_network
from SAMLiverTumorLib.inference.whole_tumor.whole_lesion import segment_lesion
from SAMLiverTumorLib.models.networks.lesion_unet import LesionUnet
from SAMLiverTumorLib.models.weights import save_weights
from SAMLiverTumorLib.plane import oblique_plane, slice_at
from SAMLiverTumorLib.volume import Volume, apply_affine

GREY = Window(0, 255)
LIVER, TUMOR = 200.0, 100.0


def darker(channels):
    """Darker than halfway between liver and tumor, but not black: grey 150 is 0."""
    grey = channels[0]
    return np.where(grey > -2.5, -10.0 * grey, -5.0).astype(np.float32)


def spheres(spacing, count, *balls):
    """A volume with spheres (center in mm from the middle, radius), voxels partly in one being partly as dark.

    k runs upward, j to the back and i to the left; the middle of the volume is at RAS 0.
    """
    k, j, i = count
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ [(i - 1) / 2, (j - 1) / 2, (k - 1) / 2]
    index = np.stack(np.meshgrid(np.arange(k), np.arange(j), np.arange(i), indexing="ij"), -1)[..., ::-1]
    share = np.zeros(count)
    offsets = [(n + 0.5) / 3 - 0.5 for n in range(3)]
    for offset in np.stack(np.meshgrid(offsets, offsets, offsets), -1).reshape(-1, 3):
        ras = (index + offset) @ affine[:3, :3].T + affine[:3, 3]
        inside = np.zeros(count, bool)
        for center, radius in balls:
            inside |= np.square(ras - center).sum(axis=-1) < radius**2
        share += inside / 27
    return Volume((LIVER + (TUMOR - LIVER) * share).astype(np.float32), affine), share


def on_slice(volume, share, point, name="axial"):
    """The true mask on the slice through a point."""
    plane = slice_at(volume, name, np.array(point, float))
    return SliceMask(plane, voxels_to_slice_mask(share > 0.5, plane))


def ml(radius):
    return 4 / 3 * np.pi * radius**3 / 1000


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    ("spacing", "count", "radius"),
    [
        ((0.7, 0.7, 0.5), (80, 60, 60), 9.0),
        ((0.7, 0.7, 5.0), (16, 70, 70), 16.0),
        ((0.9, 0.9, 8.0), (14, 110, 110), 30.0),
        ((1.5, 1.5, 2.0), (60, 80, 80), 45.0),
    ],
)
def test_a_sphere_has_its_volume_at_every_spacing_from_every_side(spacing, count, radius, name):
    volume, share = spheres(spacing, count, ((1.0, 2.0, 1.0), radius))
    found = segment_lesion(darker, volume, GREY, [on_slice(volume, share, (1, 2, 1), name)])
    assert found.mask.volume_ml == pytest.approx(ml(radius), rel=0.06)
    both = np.count_nonzero(found.mask.full() & (share > 0.5))
    assert 2 * both / (found.mask.count + np.count_nonzero(share > 0.5)) > 0.96
    assert not found.cut and found.crops <= 3


def test_probability_and_mask_agree():
    volume, share = spheres((0.7, 0.7, 2.0), (24, 60, 60), ((0, 0, 0), 12.0))
    found = segment_lesion(darker, volume, GREY, [on_slice(volume, share, (0, 0, 1))])
    np.testing.assert_array_equal(found.probability.inside().full(), found.mask.full())


def test_from_near_its_pole_a_large_lesion_is_followed_beyond_the_first_crop():
    # 4 mm below the pole of a sphere of 40 mm the section has a radius of 17.4 mm: a crop of 70 mm for 80
    volume, share = spheres((1.0, 1.0, 2.0), (60, 110, 110), ((0, 0, 0), 40.0))
    found = segment_lesion(darker, volume, GREY, [on_slice(volume, share, (0, 0, 37))])
    assert found.crops >= 3 and not found.cut
    assert found.mask.volume_ml == pytest.approx(ml(40), rel=0.04)


def test_a_lesion_of_a_few_voxels_is_found():
    volume, share = spheres((0.7, 0.7, 1.0), (20, 40, 40), ((0.2, 0.1, 0.3), 2.0))
    found = segment_lesion(darker, volume, GREY, [on_slice(volume, share, (0, 0, 0.3))])
    assert found.mask.volume_ml == pytest.approx(ml(2), rel=0.3)


def test_an_oblique_slice_does_as_well():
    volume, _ = spheres((0.8, 0.8, 1.5), (50, 90, 90), ((3, -2, 1), 15.0))
    c, s = np.cos(0.5), np.sin(0.5)
    to_ras = np.eye(4)
    to_ras[:3, :3], to_ras[:3, 3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]], [3, -2, 1]
    plane = oblique_plane(volume, to_ras)
    v, u = np.indices(plane.shape)
    points = apply_affine(plane.to_ras, np.stack([u, v, np.zeros_like(u)], -1).reshape(-1, 3))
    mask = (np.square(points - [3, -2, 1]).sum(axis=1) < 15**2).reshape(plane.shape)
    found = segment_lesion(darker, volume, GREY, [SliceMask(plane, mask)])
    assert found.mask.volume_ml == pytest.approx(ml(15), rel=0.05)


def test_a_field_of_view_that_ends_in_the_lesion_ends_it_there():
    # the volume ends at 24.75 mm above the middle, and the sphere around there at its half
    volume, share = spheres((1.0, 1.0, 1.5), (33, 80, 80), ((0, 0, 24.75), 14.0))
    found = segment_lesion(darker, volume, GREY, [on_slice(volume, share, (0, 0, 22))])
    assert found.mask.volume_ml == pytest.approx(ml(14) / 2, rel=0.06) and not found.cut
    # whatever the network says of what lies beyond
    blind = segment_lesion(lambda channels: -10.0 * channels[0], volume, GREY, [on_slice(volume, share, (0, 0, 22))])
    assert blind.mask.volume_ml == pytest.approx(ml(14) / 2, rel=0.12) and blind.crops <= 3 and not blind.cut


def test_a_neighbor_is_not_part_of_it_unless_a_click_says_so():
    volume, share = spheres((1.0, 1.0, 1.0), (50, 70, 70), ((-4.5, -4.5, -4.5), 7.0), ((4.5, 4.5, 4.5), 7.0))
    slices = [on_slice(volume, share, (-4.5, -4.5, -4.5))]
    # 15.6 mm apart, the slice shows one of them, and their boxes overlap
    alone = segment_lesion(darker, volume, GREY, slices)
    assert alone.mask.volume_ml == pytest.approx(ml(7), rel=0.06)
    _, other = spheres((1.0, 1.0, 1.0), (50, 70, 70), ((4.5, 4.5, 4.5), 7.0))
    assert not (alone.mask.full() & (other > 0.5)).any()
    both = segment_lesion(darker, volume, GREY, slices, include=[[4.5, 4.5, 4.5]], previous=alone.mask)
    assert both.mask.volume_ml == pytest.approx(2 * ml(7), rel=0.06)


def test_outlined_slices_stay_as_they_are():
    volume, share = spheres((1.0, 1.0, 2.0), (30, 60, 60), ((0, 0, 0), 12.0))
    prompted = on_slice(volume, share, (0, 0, 1))
    drawn = on_slice(volume, share, (0, 0, 7))
    mask = np.zeros_like(drawn.mask)
    mask[5:9, 5:50] = True  # beyond what the lesion's own box holds
    found = segment_lesion(darker, volume, GREY, [prompted, SliceMask(drawn.plane, mask, outlined=True)])
    layer = found.mask.full()[drawn.plane.index]
    np.testing.assert_array_equal(layer, mask)  # k upward, rows to the back, columns to the left: as in the plane
    np.testing.assert_array_equal(found.probability.inside().full(), found.mask.full())
    assert found.mask.full()[prompted.plane.index].any()


def test_the_network_is_shown_the_mask_before_and_the_clicks():
    volume, share = spheres((1.0, 1.0, 2.0), (30, 60, 60), ((0, 0, 0), 12.0))
    slices = [on_slice(volume, share, (0, 0, 1))]
    seen = []

    def network(channels):
        seen.append(channels)
        return darker(channels)

    first = segment_lesion(network, volume, GREY, slices)
    assert all((channels[[1, 3, 4]] == 0).all() for channels in seen)
    seen.clear()
    segment_lesion(network, volume, GREY, slices, [[0, 0, 5]], [[14, 0, 0]], first.mask)
    (channels,) = seen  # one look is enough
    # its 24 mm are 28 voxels long, give or take a voxel of 2 mm
    assert channels[1].sum() == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.25)
    assert channels[3].sum() > 20 and channels[4].sum() > 20
    assert (channels[1][channels[3] > 0] == 1).all() and (channels[1][channels[4] > 0] == 0).all()


def test_where_nothing_is_found_the_slice_is_all_there_is():
    volume, share = spheres((1.0, 1.0, 2.0), (30, 60, 60), ((0, 0, 0), 12.0))
    prompted = on_slice(volume, share, (0, 0, 1))
    found = segment_lesion(lambda channels: np.full(channels.shape[1:], -5.0, np.float32), volume, GREY, [prompted])
    assert found.mask.count == np.count_nonzero(prompted.mask)
    empty = SliceMask(prompted.plane, np.zeros_like(prompted.mask))
    with pytest.raises(PromptError, match="mark it there"):
        segment_lesion(darker, volume, GREY, [empty])


def test_a_network_is_the_same_after_its_file(tmp_path):
    import torch

    torch.manual_seed(0)
    network = LesionUnet((4, 8, 8))
    save_lesion_network(tmp_path / "a.safetensors", network.state_dict(), (4, 8, 8), {"steps": 3})
    loaded = load_lesion_network(tmp_path / "a.safetensors")
    channels = np.random.default_rng(0).normal(size=(5, 16, 16, 16)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(channels)[None])[0, 0].numpy()
    np.testing.assert_allclose(loaded(channels), expected, atol=0.02)
    assert loaded.card == {"steps": 3}


def test_another_file_is_refused(tmp_path):
    save_weights(tmp_path / "b.safetensors", LesionUnet((4, 8)).state_dict(), {"architecture": "pyramid"})
    with pytest.raises(ModelError, match="no network of whole lesions"):
        load_lesion_network(tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="There is no weight file"):
        load_lesion_network(tmp_path / "c.safetensors")
