"""Fast quality: which part of a picture is encoded, and that its mask lies where the whole picture's does."""

from dataclasses import replace

import numpy as np
import pytest
import reference_table
import torch
from torch import nn

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.input_geometry import input_geometry
from SAMLiverTumorLib.inference.parts import Part, part_around
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.segment import Settings, embed_slice, segment_slice
from SAMLiverTumorLib.models.tiny_vit import TinyViT
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts

GEOMETRY = input_geometry((512, 512), (0.7, 0.7), 1024)
# 8 pixels of the picture are one of 64 positions there


def test_a_small_box_takes_21_of_64_positions_with_surroundings_on_all_sides():
    part = part_around(PlanePrompts(box=(250, 200, 300, 240)), GEOMETRY)
    assert part.size == 21
    for low, high, start in ((250, 300, part.column), (200, 240, part.row)):
        assert 8 * start <= low - 16
        assert high + 16 <= 8 * (start + 21)


def test_parts_start_on_the_attention_windows_or_end_with_the_picture():
    random = np.random.default_rng(0)
    parts = set()
    for _ in range(500):
        u, v = random.uniform(0, 470, 2)
        parts.add(part_around(PlanePrompts(box=(u, v, u + 40, v + 30)), GEOMETRY))
    assert {p.row % 7 for p in parts if p.row + p.size < 64} == {0}
    # so few that prompts near each other, and neighboring slices, share one
    assert len(parts) <= 64


def test_prompts_at_the_edge_and_in_the_corner_are_held_as_well():
    assert part_around(PlanePrompts(box=(0, 0, 20, 20)), GEOMETRY) == Part(0, 0, 21)
    assert part_around(PlanePrompts(box=(490, 480, 511, 511)), GEOMETRY) == Part(43, 43, 21)
    assert part_around(PlanePrompts([(5, 508)], [1]), GEOMETRY) == Part(43, 0, 21)


def test_a_part_holds_every_point_and_grows_with_the_box_until_it_is_the_whole():
    part = part_around(PlanePrompts([(200, 200), (260, 230)], [1, 0], box=(190, 190, 240, 240)), GEOMETRY)
    assert 8 * (part.column + part.size) >= 260
    sizes = []
    for edge in (60, 150, 200, 250, 300):
        part = part_around(PlanePrompts(box=(256 - edge / 2, 256 - edge / 2, 256 + edge / 2, 256 + edge / 2)), GEOMETRY)
        sizes.append(part.size if part else 64)
    assert sizes == sorted(sizes)
    assert sizes[0] == 21
    assert sizes[-1] == 64


class Bright(nn.Module):
    """An encoder whose first channel says how bright each position of the picture is."""

    def __init__(self, pixels):
        super().__init__()
        self.pixels, self.seen, self.bears_parts = pixels, [], True

    def forward(self, images):
        return self.encode_part(images)

    def encode_part(self, images):
        self.seen.append(tuple(images.shape[-2:]))
        gray = nn.functional.avg_pool2d(images[:, :1], self.pixels)
        return gray.expand(-1, 256, -1, -1)


class Threshold:
    """A decoder whose mask is where the picture is bright."""

    def image_side(self, features):
        return features[:, :1]

    def decode(self, image, points, boxes, masks, ambiguous):
        return nn.functional.interpolate(image, scale_factor=4) - 0.5, torch.ones(1, 1)


@pytest.fixture
def predictor(lite_medsam) -> Predictor:
    predictor = Predictor(replace(lite_medsam, image_encoder=Bright(4)))
    predictor._decoder = Threshold()
    return predictor


@pytest.mark.parametrize("shape", [(512, 512), (256, 512), (300, 200)])
def test_the_mask_of_a_part_is_the_whole_pictures_to_the_pixel(predictor, shape):
    rows, columns = shape
    random = np.random.default_rng(1)
    rgb = np.repeat(
        (random.random((rows // 4, columns // 4)) > 0.5).astype(np.uint8).repeat(4, 0).repeat(4, 1)[..., None], 3, 2
    )
    prompts = PlanePrompts(box=(0.55 * columns, 0.5 * rows, 0.65 * columns, 0.6 * rows))
    whole = predictor.predict(predictor.embed(rgb, (0.8, 0.8)), prompts)
    embedding = predictor.embed(rgb, (0.8, 0.8), around=prompts)
    part = predictor.predict(embedding, prompts)
    assert predictor.model.image_encoder.seen == [(256, 256), (48, 48), (84, 84)]
    here = part_around(prompts, embedding.geometry)
    uv = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    places = (embedding.geometry.to_input(uv) + 0.5) / 4
    # half a position inside its edges, where bilinear samples reach beyond it
    inside = ((places > (here.column + 0.5, here.row + 0.5)) & (places < np.add((here.column, here.row), 20.5))).all(-1)
    assert 0.05 < inside.mean() < 0.3
    assert np.array_equal(part.logits[inside], whole.logits[inside])
    assert 0.2 < part.mask[inside].mean() < 0.8
    assert not np.array_equal(part.logits, whole.logits)


def test_beyond_the_part_the_picture_is_seen_in_less_detail_but_in_its_place(predictor):
    rgb = np.zeros((512, 512, 3), np.uint8)
    rgb[:, 256:] = 255
    prompts = PlanePrompts(box=(40, 40, 70, 70))
    mask = predictor.predict(predictor.embed(rgb, (0.8, 0.8), around=prompts), prompts).mask
    # one position of the coarse embedding is 43 pixels
    assert not mask[:, : 256 - 43].any()
    assert mask[:, 256 + 43 :].all()


def test_neighboring_prompts_share_a_parts_embedding_and_the_whole_is_another(predictor):
    rgb = np.zeros((512, 512, 3), np.uint8)
    first = predictor.embed(rgb, (0.8, 0.8), around=PlanePrompts(box=(250, 200, 300, 240)))
    assert predictor.embed(rgb, (0.8, 0.8), around=PlanePrompts(box=(253, 203, 303, 243))) is first
    for elsewhere in ((250, 400, 300, 440), (50, 200, 100, 240), (200, 150, 350, 290)):
        assert predictor.embed(rgb, (0.8, 0.8), around=PlanePrompts(box=elsewhere)) is not first
    predictor.embed(rgb, (0.8, 0.8))
    assert predictor.encoded == 5


@pytest.mark.parametrize("encoder", [nn.Sequential(Bright(4)), TinyViT("lite-medsam").eval()])
def test_an_encoder_that_does_not_bear_parts_encodes_the_whole(lite_medsam, encoder):
    predictor = Predictor(replace(lite_medsam, image_encoder=encoder))
    rgb = np.zeros((64, 64, 3), np.uint8)
    assert predictor.embed(rgb, (1, 1), around=PlanePrompts(box=(3, 3, 9, 9))) is predictor.embed(rgb, (1, 1))


def test_fast_quality_finds_a_real_tumor_as_well_as_full_quality(sample, pool):
    volume, labels = sample
    plane = slice_plane(volume, "axial", 73)
    seen = PlanePrompts(box=(38.5, 29.5, 69.5, 63.5))
    tumor = np.zeros(labels.shape, bool)
    tumor[73, 65:96, 59:87] = labels[73, 65:96, 59:87] == 2
    full, fast = (
        segment_slice(volume, plane, seen, pool, Settings(model="mobile-sam", quality=quality)).mask.full()
        for quality in ("full", "fast")
    )
    assert not np.array_equal(full, fast)
    assert reference_table.dice(full, tumor) > 0.85
    assert reference_table.dice(fast, tumor) >= reference_table.dice(full, tumor) - 0.01


def test_nothing_is_encoded_ahead_where_nobody_knows_which_part_will_be_wanted(sample, pool):
    volume, _ = sample
    for model, kind, encoded in (("mobile-sam", "points", 0), ("lite-medsam", "box", 1)):
        predictor = pool.predictor(model)
        before = predictor.encoded
        embed_slice(volume, slice_plane(volume, "axial", 21), frozenset({kind}), pool, Settings(model, quality="fast"))
        assert predictor.encoded == before + encoded


def test_an_unknown_quality_is_refused():
    with pytest.raises(InputError, match="full, best, fast"):
        Settings(quality="finest")
