"""Crops of a picture: which pixels they are, and that places, logits and prompts go there and back exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from SAMLiverTumorLib.inference.cache import EmbeddingCache
from SAMLiverTumorLib.inference.crop import Crop, crop_around, mask_prompt
from SAMLiverTumorLib.inference.disk_cache import DiskCache
from SAMLiverTumorLib.inference.input_geometry import input_geometry
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.prompts import PlanePrompts

SQUARE = (0.7, 0.7)


@pytest.mark.parametrize(
    ("box", "shape", "spacing", "expected"),
    [
        # middle (260.5, 215.5), so it starts best at (196.5, 151.5): 16 * 12 and 16 * 9
        ((250, 200, 270, 230), (512, 512), SQUARE, Crop(144, 192, 128, 128)),
        ((2, 500, 12, 510), (512, 512), SQUARE, Crop(384, 0, 128, 128)),
        # an odd picture ends where 301 - 128 and 257 - 128 begin
        ((250, 290, 256, 300), (301, 257), SQUARE, Crop(173, 129, 128, 128)),
        # slices 5 mm apart: 128 pixels of 0.7 mm are 89.6 mm, nearest to 18 rows, and 16 are nearest to 2
        ((250, 29, 270, 31), (60, 512), (5.0, 0.7), Crop(22, 192, 18, 128)),
        # the crop is as high as the picture, but not as wide
        ((250, 28, 270, 31), (60, 512), SQUARE, Crop(0, 192, 60, 128)),
    ],
)
def test_a_crop_lies_around_a_box_and_inside_the_picture(box, shape, spacing, expected):
    assert crop_around(box, 128, shape, spacing) == expected


def test_there_is_no_crop_of_what_does_not_fit_or_of_the_whole_picture():
    assert crop_around((200, 200, 290, 220), 128, (512, 512), SQUARE) is not None
    # 120 pixels and 8 on each side are more than 128
    assert crop_around((200, 200, 320, 220), 128, (512, 512), SQUARE) is None
    assert crop_around((200, 200, 220, 320), 128, (512, 512), SQUARE) is None
    # at the picture's own border nothing more is wanted
    assert crop_around((-0.5, 0, 119, 20), 128, (512, 512), SQUARE) == Crop(0, 0, 128, 128)
    assert crop_around((40, 40, 60, 60), 128, (128, 128), SQUARE) is None


def test_prompts_near_each_other_share_a_crop():
    crops = {crop_around((u, 200, u + 10, 210), 128, (512, 512), SQUARE) for u in range(200, 216)}
    assert len(crops) == 2


def test_prompts_are_in_the_crops_pixels_and_those_outside_are_left_out():
    crop = Crop(row=144, column=192, rows=128, columns=100)
    points = [(200, 150), (191.5, 143.5), (191.4, 150), (291.5, 271.5), (291.6, 200), (10, 10)]
    seen = crop.prompts(PlanePrompts(points, [1, 0, 1, 1, 0, 0], (180, 160, 200, 400), mask=np.zeros((1, 256, 256))))
    assert seen.points.tolist() == [[8, 6], [-0.5, -0.5], [99.5, 127.5]]
    assert seen.labels.tolist() == [1, 0, 1]
    assert seen.box == (-0.5, 16, 8, 127.5)
    assert seen.mask is None


def test_a_piece_takes_its_own_pixels_of_the_picture_and_no_others():
    picture = np.arange(30.0).reshape(5, 6)
    crop = Crop(1, 2, 3, 2)
    assert crop.of(picture).tolist() == [[8, 9], [14, 15], [20, 21]]
    changed = crop.onto(np.full((3, 2), -1.0), picture)
    assert np.argwhere(changed != picture).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3], [3, 2], [3, 3]]
    assert picture[1, 2] == 8


class Gray(nn.Module):
    """An encoder whose channels say how bright each position of the picture is."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images[:, :1], 4).expand(-1, 256, -1, -1)


class AsBright:
    """A decoder whose logits are the picture's brightness."""

    def image_side(self, features):
        return features[:, :1]

    def decode(self, image, points, boxes, masks, ambiguous):
        return nn.functional.interpolate(image, scale_factor=4, mode="bilinear"), torch.ones(1, 1)


@pytest.fixture
def predictor(lite_medsam) -> Predictor:
    predictor = Predictor(replace(lite_medsam, image_encoder=Gray()))
    predictor._decoder = AsBright()
    return predictor


@pytest.mark.parametrize(
    ("shape", "spacing", "crop"),
    [
        ((200, 256), SQUARE, Crop(48, 64, 128, 128)),
        ((201, 255), SQUARE, Crop(73, 127, 128, 128)),  # its lower right corner, both odd
        ((199, 253), SQUARE, Crop(0, 0, 97, 113)),  # not square: the input's rest stays empty
        ((40, 256), (5.0, 0.7), Crop(16, 80, 18, 128)),
        ((201, 255), (0.9, 0.7), Crop(16, 32, 99, 128)),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_found_in_a_crop_lies_at_its_place_in_the_picture(predictor, shape, spacing, crop, axis):
    # the picture says of each pixel which row or column it is, and so must the logits; all steps between are linear
    place = np.indices(shape)[axis]
    rgb = np.repeat(place.astype(np.uint8)[..., None], 3, axis=2)
    embedding = predictor.embed(rgb, spacing, crop=crop)
    assert embedding.geometry.shape == (crop.rows, crop.columns)
    found = predictor.predict(embedding, PlanePrompts(box=(5, 5, 9, 9))).logits * (shape[axis] - 1)
    inside = (slice(4, -4), slice(4, -4))
    # embeddings are kept as float16
    assert np.abs(crop.onto(found, np.zeros(shape))[crop.index] - place[crop.index])[inside].max() < 0.15


def test_each_crop_has_an_embedding_of_its_own_in_memory_and_on_the_disk(predictor, tmp_path):
    predictor.cache = EmbeddingCache(disk=DiskCache(tmp_path))
    rgb = np.full((256, 256, 3), 7, np.uint8)
    crops = [None, Crop(0, 0, 128, 128), Crop(16, 0, 128, 128), Crop(0, 16, 128, 128), Crop(0, 0, 128, 120)]
    for crop in crops:
        predictor.embed(rgb, SQUARE, crop=crop)
    assert predictor.encoded == 5
    predictor.cache.clear()
    for crop in crops:
        assert predictor.embed(rgb, SQUARE, crop=crop).geometry.shape == (
            (256, 256) if crop is None else (crop.rows, crop.columns)
        )
    assert predictor.encoded == 5


def test_logits_become_a_mask_prompt_at_their_places_and_nothing_is_beyond_the_picture():
    # 64 x 100 pixels in an input of 256: 2.56 input pixels each, so the picture fills 164 of 256 rows
    geometry = input_geometry((64, 100), SQUARE, 256)
    logits = np.repeat(np.arange(64.0)[:, None] / 4, 100, axis=1)
    prompt = mask_prompt(logits, geometry)
    assert prompt.shape == (1, 256, 256)
    assert prompt.dtype == np.float32
    for row in (10, 81, 150):
        assert prompt[0, row] == pytest.approx(((row + 0.5) * 64 / 164 - 0.5) / 4, abs=1e-5)
    assert (prompt[0, 164:] == -20).all()
    # SAM's prompt encoder has never seen larger values
    assert mask_prompt(np.full((64, 64), 99.0), input_geometry((64, 64), SQUARE, 256)).max() == 20
