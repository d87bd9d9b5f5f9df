"""Best quality: averaging over a slice image and its mirror image is symmetric in left and right for any network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.inference.mirror_averaging import mirrored_logits, mirrored_prompts
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.segment_slices import Settings, embed_slice, segment
from SAMLiverTumorLib.models.networks.text_tokens import TextTokens
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import Box, PlanePrompts, Prompts

SLICE = 73
POINT, LAST = (54.0, 46.0), 127.0
BOX = (38.5, 29.5, 69.5, 63.5)


@pytest.fixture(scope="module")
def ct(sample):
    """A slice of the sample case with a 12 ml tumor in voxels i 59..86, j 65..95: slice image, spacing, tumor."""
    volume, labels = sample
    plane = slice_plane(volume, "axial", SLICE)
    near = np.zeros(labels.shape, bool)
    near[62:87, 65:96, 59:87] = True
    rgb = plane_to_rgb(volume, plane, PRESETS["wide"])
    return rgb, plane.spacing[1::-1], voxels_to_slice_mask((labels == 2) & near, plane)


@pytest.fixture(scope="module")
def lite(lite_medsam):
    """LiteMedSAM, told to take every prompt, as a model fine-tuned from it does."""
    every = frozenset({"points", "box", "mask", "text"})
    info = replace(lite_medsam.info, prompts=every, concepts=("liver tumor",))
    return Predictor(replace(lite_medsam, info=info, text=TextTokens({"liver tumor": torch.zeros(2, 256)})))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (8, [7, 6, 5, 4, 3, 2, 1, 0]),  # the whole input
        (4, [3, 2, 1, 0, 4, 5, 6, 7]),  # half of it: the padding stays
        (5, [4, 3, 2, 1, 0, 5, 6, 7]),
    ],
)
def test_logits_are_mirrored_within_the_slice_image(columns, expected):
    geometry = input_geometry((8, columns), (1.0, 1.0), 256)
    assert geometry.resized == (256, 32 * columns)
    row = mirrored_logits(torch.arange(8.0).expand(1, 1, 8, 8), geometry)[0, 0, 3]
    assert row.tolist() == expected


def test_an_image_that_ends_within_a_column_is_mirrored_by_the_mean_of_two():
    # 7 of 16 columns fill 3.5 of the 8: the middle of the first one lies 3 columns before that of the last half
    geometry = input_geometry((16, 7), (1.0, 1.0), 256)
    assert geometry.resized == (256, 112)
    row = mirrored_logits(torch.arange(8.0).expand(1, 8, 8), geometry)[0, 0]
    assert row.tolist() == [2.5, 1.5, 0.5, 0.0, 4.0, 5.0, 6.0, 7.0]


def test_prompts_change_sides():
    geometry = input_geometry((60, 101), (1.0, 1.0), 256)
    there = mirrored_prompts(PlanePrompts([(10, 20), (100, 5)], [1, 0], (9.5, 19.5, 30.5, 40.5)), geometry)
    assert there.points.tolist() == [[90, 20], [0, 5]] and there.labels.tolist() == [1, 0]
    assert there.box == (69.5, 19.5, 90.5, 40.5) and there.mask is None


def test_left_and_right_make_no_difference_to_the_mask(ct, lite):
    rgb, spacing, _ = ct
    here = lite.embed(rgb, spacing, mirrored=True)
    there = lite.embed(rgb[:, ::-1], spacing, mirrored=True)
    point, box = (LAST - POINT[0], POINT[1]), (LAST - BOX[2], BOX[1], LAST - BOX[0], BOX[3])
    mask = lite.predict(here, PlanePrompts(box=BOX)).low_resolution
    pairs = [
        (PlanePrompts(box=BOX), PlanePrompts(box=box)),
        (PlanePrompts([POINT], [1]), PlanePrompts([point], [1])),
        (PlanePrompts([POINT], [1], BOX, mask), PlanePrompts([point], [1], box, mask[..., ::-1])),
    ]
    for prompts, opposite in pairs:
        mask, other = lite.predict(here, prompts), lite.predict(there, opposite)
        # LiteMedSAM was not trained for clicks and may mark nothing for them; its logits are compared all the same
        assert prompts.kinds != {"box"} or mask.mask.any()
        assert np.array_equal(mask.mask, other.mask[:, ::-1])
        assert mask.predicted_iou == pytest.approx(other.predicted_iou, abs=1e-5)
        assert np.abs(mask.low_resolution - other.low_resolution[..., ::-1]).max() <= 1e-3
        # without averaging it does make one
        plain = lite.predict(replace(here, mirror=None), prompts)
        assert np.abs(plain.low_resolution - mask.low_resolution).max() > 0.02


def test_an_image_with_padding_is_mirrored_within_its_own_columns(ct, lite):
    rgb, spacing, tumor = ct
    here = lite.embed(rgb[:, :96], spacing, mirrored=True)
    assert here.geometry.resized == (256, 192)
    mask = lite.predict(here, PlanePrompts(box=BOX)).mask
    assert dice(mask, tumor[:, :96]) > 0.7


def test_averaged_masks_cover_the_tumor(ct, lite):
    rgb, spacing, tumor = ct
    both = lite.embed(rgb, spacing, mirrored=True)
    # a mask of the other side would share nothing with the tumor
    assert dice(lite.predict(both, PlanePrompts(box=BOX)).mask, tumor) > 0.75


@pytest.mark.parametrize("model", ["liver-tumor", "mobile-sam"])
def test_other_networks_are_not_averaged(model, ct, pool):
    rgb, spacing, _ = ct
    predictor = Predictor(pool.predictor(model).model)
    assert predictor.embed(rgb, spacing, mirrored=True).mirror is None and predictor.encoded == 1


def test_text_is_not_averaged_and_each_image_is_encoded_once(ct, lite):
    rgb, spacing, _ = ct
    own = Predictor(lite.model)
    both = own.embed(rgb, spacing, mirrored=True)
    assert own.encoded == 2
    own.embed(rgb, spacing, mirrored=True)
    own.embed(rgb, spacing)
    assert own.encoded == 2
    plain = own.predict_text(replace(both, mirror=None), "liver tumor")
    assert np.array_equal(own.predict_text(both, "liver tumor").logits, plain.logits)


def test_a_setting_chooses_it_and_slices_encoded_ahead_are_used(phantom, pool):
    own = PredictorPool(device="cpu")
    own._predictors.update(pool._predictors)
    center = np.array([50.5, -25.75, -272.0])
    prompts = Prompts(box=Box(center, np.eye(3), [30, 32, 0]))
    settings = Settings("lite-medsam", quality="best")
    predictor = own.predictor("lite-medsam")
    predictor.cache.clear()
    before = predictor.encoded
    embed_slice(phantom, slice_plane(phantom, "axial", 10), frozenset({"box"}), own, settings)
    assert predictor.encoded == before + 2
    best = segment(phantom, prompts, own, settings)
    assert predictor.encoded == before + 2 and best.provenance["quality"] == "best"
    full = segment(phantom, prompts, own, replace(settings, quality="full"))
    assert full.mask.count and not np.array_equal(full.mask.full(), best.mask.full())


@pytest.mark.parametrize("quality", ["fast", "finest"])
def test_an_unknown_quality_is_refused(quality):
    with pytest.raises(InputError, match="choose one of full, best"):
        Settings(quality=quality)
