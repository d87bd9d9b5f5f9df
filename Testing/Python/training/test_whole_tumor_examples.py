"""What the network of whole lesions is trained on: lesions in their scale, from any slice, and corrections."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.whole_tumor.channels import add_ball
from SAMLiverTumorLib.inference.whole_tumor.crop_grid import CropGrid
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan
from SAMLiverTumorLib.training.whole_tumor import examples as examples_module
from SAMLiverTumorLib.training.whole_tumor.corrections import correct
from SAMLiverTumorLib.training.whole_tumor.examples import Example, Examples, restyled
from SAMLiverTumorLib.training.whole_tumor.lesion_bank import LesionBank
from SAMLiverTumorLib.training.whole_tumor.painted_lesions import paint_lesion
from SAMLiverTumorLib.training.whole_tumor.placement import place_crop, random_axes
from SAMLiverTumorLib.training.whole_tumor.slice_masks import sloppy

_SPACING = (1.2, 1.2, 2.5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A liver of 60 mm radius with a dark tumor of 12 mm, another of 6, and a speck."""
    k, v, u = np.ogrid[:52, :110, :110]
    x, y, z = u * _SPACING[0] - 66, v * _SPACING[1] - 66, k * _SPACING[2] - 65
    liver = x**2 + y**2 + z**2 < 60**2
    tumor = (x - 20) ** 2 + y**2 + z**2 < 12**2
    tumor |= (x + 25) ** 2 + y**2 + (z - 10) ** 2 < 6**2
    label = liver.astype(np.uint8) + tumor
    label[26, 80, 55] = 2
    grey = np.where(tumor, 110, np.where(liver, 165, 60)).astype(np.uint8)
    return Scan("round", grey, label, _SPACING)


@pytest.fixture(scope="module")
def bank(scan) -> LesionBank:
    return LesionBank([scan])


def test_every_lesion_but_specks_is_in_the_bank(bank, rng):
    lesions = bank.lesions["round"]
    ml = sorted(lesion.ml for lesion in lesions)
    assert ml == pytest.approx([4 / 3 * np.pi * 0.6**3, 4 / 3 * np.pi * 1.2**3], rel=0.08)
    large = max(lesions, key=lambda lesion: lesion.ml)
    # its center: 86, 66 and 65 mm along columns, rows and slices
    assert large.points.mean(axis=0) == pytest.approx([86, 66, 65], abs=0.3)
    scan, place, liver_ml = bank.draw_place(rng)
    assert liver_ml == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.03)
    k, v, u = np.rint(place[::-1] / np.array(_SPACING)[::-1]).astype(int)
    assert scan.label[k, v, u] == 1


def test_without_a_liver_there_is_nothing_to_learn_from(scan):
    with pytest.raises(InputError, match="liver"):
        LesionBank([replace(scan, label=np.zeros_like(scan.label))])


def test_axes_are_directions_at_right_angles_and_see_every_side(rng):
    drawn = [random_axes(rng) for _ in range(200)]
    for axes in drawn:
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    normals = np.abs(np.array([axes[:, 0] for axes in drawn])).argmax(axis=1)
    assert {int(axis) for axis in normals} == {0, 1, 2} and (normals == 2).mean() > 0.4


def test_crops_are_in_the_scale_of_the_slice_or_of_the_lesion(rng):
    ball = rng.standard_normal((4000, 3))
    ball *= 15.0 * np.cbrt(rng.random((4000, 1))) / np.linalg.norm(ball, axis=1, keepdims=True)
    ball += np.array([70, 50, 40])
    across, layers = [], []
    for _ in range(150):
        grid, layer = place_crop(ball, (0.5, 0.5, 0.5), 48, rng)
        places = grid.from_ras(ball)
        section = places[np.abs(places[:, 0] - layer) < 0.5 + 0.5 / grid.spacing]
        assert len(section), "the prompted slice has some of the lesion in it"
        across.append(30 / grid.spacing)
        layers.append((layer - places[:, 0].min()) / np.ptp(places[:, 0]))
    # a section through the middle has 24 / 1.6 voxels at least; from near a pole the lesion is larger than the crop
    assert 14.8 < min(across) < 20 and max(across) > 48
    assert min(layers) < 0.15 and max(layers) > 0.85


def test_a_crop_shows_what_its_target_marks(bank, rng, monkeypatch):
    monkeypatch.setattr(examples_module, "restyled", lambda grey, rng: grey)
    monkeypatch.setattr(examples_module, "_FURTHER", 0.0)
    drawn = [Examples(bank, 1.0, 32).draw(rng) for _ in range(12)]
    for example in drawn:
        assert np.median(example.grey[example.target]) == pytest.approx(110, abs=2)
        around = ndimage.binary_dilation(example.target, iterations=6) & ~example.target
        assert np.median(example.grey[around]) > 140
        (layer,) = np.flatnonzero((example.slices != 0).any(axis=(1, 2)))
        assert example.target[layer].any() and set(np.unique(example.slices[layer])) == {-1, 1}
        assert example.grey.shape == example.target.shape == (32, 32, 32)
        assert not example.previous.any() and not example.exclude.any()
    clicked = [example for example in drawn if example.include.any()]
    assert 0 < len(clicked) < 12
    for example in clicked:
        assert (example.include * (example.slices == 1)).any()


def test_painted_lesions_have_all_sizes_and_lie_in_the_liver(bank, rng):
    drawn = [Examples(bank, 0.0, 32).draw(rng) for _ in range(40)]
    ml = np.array([example.ml for example in drawn])
    assert ml.min() < 0.5 and ml.max() > 100
    assert all(example.target.any() for example in drawn)


@pytest.mark.parametrize(
    ("spacing", "radii"), [((1, 1, 1), (10, 9, 8)), ((5, 0.8, 0.8), (9, 14, 10)), ((6, 6, 6), (40, 40, 30))]
)
def test_a_painted_lesion_has_about_its_volume_and_changes_the_liver_alone(rng, spacing, radii):
    spacing, radii = np.array(spacing, float), np.array(radii, float)
    shape = tuple(int(np.ceil(2.6 * radii.max() / s)) + 4 for s in spacing)
    volumes = []
    for _ in range(12):
        grey = np.full(shape, 165, np.float32) + rng.normal(0, 4, shape).astype(np.float32)
        before, liver = grey.copy(), np.ones(shape, bool)
        liver[:, :2] = False
        mask = paint_lesion(grey, liver, np.zeros(shape, bool), spacing, np.array(shape) / 2, radii, np.eye(3), rng)
        volumes.append(np.count_nonzero(mask) * spacing.prod() / (4 / 3 * np.pi * radii.prod()))
        assert not (mask & ~liver).any() and ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1
        np.testing.assert_array_equal(grey[~liver], before[~liver])
        assert abs(grey[mask].mean() - before[mask].mean()) > 3
    assert 0.7 < np.mean(volumes) < 1.3 and min(volumes) > 0.35 and max(volumes) < 2.2


def test_what_is_taken_stays_and_where_there_is_no_liver_nothing_is_painted(rng):
    grey, liver, taken = (
        np.full((30, 30, 30), 165, np.float32),
        np.ones((30, 30, 30), bool),
        np.zeros((30, 30, 30), bool),
    )
    taken[:, :, :15] = True
    one = np.ones(3)
    mask = paint_lesion(grey, liver, taken, one, np.full(3, 15.0), 8 * one, np.eye(3), rng)
    assert mask.any() and not (mask & taken).any() and (grey[taken] == 165).all()
    assert paint_lesion(grey, liver & False, taken, one, np.full(3, 15.0), 8 * one, np.eye(3), rng) is None
    assert paint_lesion(grey, liver, taken, one, np.full(3, 90.0), 8 * one, np.eye(3), rng) is None


def test_confluent_lesions_are_one_and_apart_they_are_two(bank, rng, monkeypatch):
    monkeypatch.setattr(examples_module, "_CUT", 0.0)
    examples = Examples(bank, 1.0, 32)
    lesion = max(bank.lesions["round"], key=lambda each: each.ml)
    grid = CropGrid(np.eye(3)[:, ::-1], lesion.points.mean(axis=0), 1.5, 32)
    shares = {}
    for name, away in (("touching", 19.0), ("apart", 30.0)):
        part = examples_module._Part(lesion.scan, grid)
        seed = part.sampler.blocks(bank.components["round"], lambda values: values == lesion.number)
        place = lesion.points.mean(axis=0) + np.array([0, away, 0])
        other = part.paint(place, np.full(3, 10.0), np.eye(3), rng)
        target = examples._example(part, seed, other, 16, lesion.ml, rng).target
        shares[name] = np.count_nonzero(target) / (np.count_nonzero(seed > 0.5) * np.prod(part.spacing) / 1.5**3)
    # the second one has 10 mm of radius, the first 12: 0.58 of its volume, less what it shares
    assert 1.25 < shares["touching"] < 1.9 and shares["apart"] == pytest.approx(1.0, abs=0.06)


def test_a_sloppy_mask_has_a_dice_of_four_fifths_at_least(rng):
    v, u = np.ogrid[:48, :48]
    mask = np.hypot((v - 24) * 1.3, u - 22) < 12
    dice = []
    for _ in range(200):
        marked = sloppy(mask, rng)
        dice.append(2 * np.count_nonzero(marked & mask) / (np.count_nonzero(marked) + np.count_nonzero(mask)))
    assert min(dice) >= 0.8 and max(dice) == 1.0 and 0.86 < np.mean(dice) < 0.97
    tiny = np.zeros((48, 48), bool)
    tiny[20:23, 20:23] = True
    assert all(sloppy(tiny, rng).any() for _ in range(50))


def _example(target: np.ndarray) -> Example:
    nothing = [np.zeros(target.shape, np.float32) for _ in range(4)]
    return Example(np.zeros(target.shape, np.float32), target, *nothing, 1.0)


def test_corrections_lie_in_errors(rng, monkeypatch):
    monkeypatch.setattr("SAMLiverTumorLib.training.whole_tumor.corrections._OUTLINED", 0.0)
    a, b, c = np.ogrid[:32, :32, :32]
    target = (a - 16) ** 2 + (b - 16) ** 2 + (c - 16) ** 2 < 100
    for marked, include in ((target & (c < 16), True), (target | (c > 22), False)):
        for _ in range(10):
            example = _example(target)
            correct(example, marked, rng)
            ball, other = (example.include, example.exclude) if include else (example.exclude, example.include)
            center = np.rint(np.argwhere(ball > 0).mean(axis=0)).astype(int)
            assert (target ^ marked)[tuple(center)] or ball.sum() < 33  # a ball at the border is not whole
            assert not other.any()
            np.testing.assert_array_equal(example.previous > 0, marked)
    perfect = _example(target)
    correct(perfect, target, rng)
    assert (perfect.include * target).sum() > 0 and not perfect.exclude.any()


def test_the_deepest_place_of_an_error_is_clicked(rng, monkeypatch):
    monkeypatch.setattr("SAMLiverTumorLib.training.whole_tumor.corrections._OUTLINED", 0.0)
    monkeypatch.setattr("SAMLiverTumorLib.training.whole_tumor.corrections._DEEPEST", 1.0)
    target = np.zeros((32, 32, 32), bool)
    target[4:11, 4:11, 4:11] = True  # its middle is 7, 7, 7
    example = _example(target)
    correct(example, np.zeros_like(target), rng)
    expected = np.zeros((32, 32, 32), np.float32)
    add_ball(expected, (7, 7, 7))
    np.testing.assert_array_equal(example.include, expected)


def test_an_outlined_slice_says_the_truth(rng, monkeypatch):
    monkeypatch.setattr("SAMLiverTumorLib.training.whole_tumor.corrections._OUTLINED", 1.0)
    a, b, c = np.ogrid[:32, :32, :32]
    target = (a - 16) ** 2 + (b - 16) ** 2 + (c - 16) ** 2 < 100
    example = _example(target)
    correct(example, target & (a < 12), rng)
    told = example.slices != 0
    assert told.sum() == 32 * 32 and not example.include.any()
    np.testing.assert_array_equal(example.slices[told] > 0, target[told])


def test_restyling_gives_grey_of_eight_bits(rng):
    grey = rng.uniform(0, 255, (12, 12, 12)).astype(np.float32)
    for _ in range(20):
        styled = restyled(grey, rng)
        assert styled.dtype == np.float32 and styled.min() >= 0 and styled.max() <= 255
        np.testing.assert_array_equal(styled, np.rint(styled))
