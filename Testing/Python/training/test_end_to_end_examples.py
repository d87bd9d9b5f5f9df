"""What the network is trained on: crops in their places, painted lesions inside the liver, sloppy prompts."""

import numpy as np
import pytest
from scipy import ndimage

from SAMLiverTumorLib.image.rgb import neighbor_step
from SAMLiverTumorLib.training.end_to_end import prompts
from SAMLiverTumorLib.training.end_to_end.crops import FRAME, cut, restyle
from SAMLiverTumorLib.training.end_to_end.examples import Examples
from SAMLiverTumorLib.training.end_to_end.flat_lesions import paint_lesion
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def _disk(shape: tuple[int, int], middle: tuple[float, float], radius: float) -> np.ndarray:
    v, u = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(v - middle[0], u - middle[1]) < radius


@pytest.fixture
def scan() -> Scan:
    """Nine slices of a round liver with a dark round tumor in it; grey is the slice's number where there is neither."""
    liver, tumor = _disk((256, 256), (120, 110), 70), _disk((256, 256), (100, 130), 14)
    label = np.repeat((liver.astype(np.uint8) + tumor)[None], 9, axis=0)
    grey = np.where(label == 1, 165, np.where(label == 2, 120, 0)).astype(np.uint8)
    grey[:, :10] = 10 * np.arange(9, dtype=np.uint8)[:, None, None]
    return Scan("round", grey, label, (1.4, 1.4, 1.5))


@pytest.mark.parametrize(("slice_mm", "step"), [(0.8, 4), (1.0, 3), (1.5, 2), (2.5, 1), (5.0, 1), (10.0, 1)])
def test_neighbors_are_about_three_millimeters_away_and_never_the_slice_itself(slice_mm, step):
    assert neighbor_step(slice_mm) == step


def test_at_the_ends_the_outermost_slice_stands_for_what_is_not_there(scan):
    assert scan.neighbors(1) == (0, 1, 3)
    assert scan.neighbors(4) == (2, 4, 6)
    assert scan.neighbors(8) == (6, 8, 8)


def test_a_whole_slice_lies_in_the_frame_as_it_is(scan, rng):
    crop = cut(scan, 4, FRAME, rng, augment=False)
    assert crop.corner == (0, 0) and crop.mm == pytest.approx(0.7)
    np.testing.assert_array_equal(crop.tumor[::2, ::2], crop.tumor[1::2, 1::2])
    assert np.count_nonzero(crop.tumor) == 4 * np.count_nonzero(scan.label[4] == 2)
    # below, at and above
    assert [round(float(image[4, 100])) for image in crop.images] == [20, 40, 60]


def test_a_crop_is_the_part_of_the_frame_that_its_corner_says(scan, rng):
    whole = cut(scan, 4, FRAME, rng, augment=False)
    crop = cut(scan, 4, 128, rng, around=scan.label[4] == 2, augment=False)
    rows, columns = (slice(start, start + 128) for start in crop.corner)
    assert all(start % 8 == 0 for start in crop.corner)
    np.testing.assert_allclose(crop.images, whole.images[:, rows, columns], atol=0.01)
    np.testing.assert_array_equal(crop.liver, whole.liver[rows, columns])


def test_turned_and_zoomed_the_masks_stay_on_what_they_mark(scan, rng):
    for _ in range(10):
        crop = cut(scan, 4, 256, rng, around=scan.label[4] == 2)
        marked = ndimage.binary_erosion(crop.tumor, iterations=6)
        if marked.any():
            assert np.abs(crop.images[1][marked] - 120).max() < 2
        around = ndimage.binary_erosion(crop.liver & ~crop.tumor, iterations=6)
        if around.any():
            assert np.abs(crop.images[1][around] - 165).max() < 2


def test_restyling_keeps_the_range_and_the_shape(scan, rng):
    images = cut(scan, 4, 128, rng).images
    for _ in range(20):
        styled = restyle(images, rng)
        assert styled.shape == images.shape and styled.dtype == np.float32
        assert styled.min() >= 0 and styled.max() <= 255


def test_a_painted_lesion_changes_the_liver_alone_and_is_darker_or_brighter_there(rng):
    liver = _disk((200, 200), (100, 100), 70)
    painted = 0
    for radius in (4.0, 12.0, 30.0):
        images = np.repeat(np.where(liver, 165.0, 60.0)[None], 3, axis=0).astype(np.float32)
        images += rng.normal(0, 4, images.shape).astype(np.float32)
        before = images.copy()
        mask = paint_lesion(images, liver, np.zeros_like(liver), radius, 4.0, rng)
        if mask is None:
            continue
        painted += 1
        assert not (mask & ~liver).any()
        away = ~ndimage.binary_dilation(liver, iterations=6)
        np.testing.assert_array_equal(images[:, away], before[:, away])
        assert abs(images[1][mask].mean() - 165) > 5
        assert ndimage.label(mask)[1] == 1
    assert painted >= 2


def test_clicks_hit_and_boxes_are_as_sloppy_as_they_should(rng):
    mask = _disk((128, 128), (60, 70), 20)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    tight = np.array([columns[0], rows[0], columns[-1], rows[-1]])
    side = len(rows)
    for _ in range(100):
        u, v = prompts.click(mask, rng)
        assert mask[int(v), int(u)]
        outward = (np.array(prompts.box(mask, rng)) - tight) * (-1, -1, 1, 1)
        assert outward.min() >= -0.1 * side - 1.5 and outward.max() <= 0.25 * side + 2.5


def test_a_correction_says_what_is_missing_and_what_is_too_much(rng):
    mask = _disk((64, 64), (30, 30), 10)
    half = mask.copy()
    half[:, 30:] = False
    u, v, label = prompts.correction(mask, half, rng)
    assert label == prompts.INCLUDE and mask[int(v), int(u)] and not half[int(v), int(u)]
    u, v, label = prompts.correction(half, mask, rng)
    assert label == prompts.EXCLUDE and mask[int(v), int(u)] and not half[int(v), int(u)]
    assert prompts.correction(mask, mask, rng)[2] == prompts.INCLUDE


def test_a_scribble_is_a_path_of_points_within_the_lesion(rng):
    v, u = np.ogrid[:128, :128]
    mask = (np.abs(v - 60) < 5) & (np.abs(u - 64) < 40)
    longest = 0.0
    for _ in range(60):
        points = np.array(prompts.scribble(mask, rng))
        assert 5 <= len(points) <= 20
        assert mask[np.rint(points[:, 1]).astype(int), np.rint(points[:, 0]).astype(int)].all()
        longest = max(longest, float(np.ptp(points[:, 0])))
    # of 79 columns
    assert longest > 50


@pytest.mark.parametrize("radius", [4, 12, 40])
def test_a_lasso_is_one_rough_region_about_as_large_as_the_lesion(rng, radius):
    mask = _disk((128, 128), (70, 50), radius)
    ratios = []
    for _ in range(40):
        enclosed = prompts.lasso(mask, rng)
        assert ndimage.label(enclosed)[1] == 1 and not (ndimage.binary_fill_holes(enclosed) & ~enclosed).any()
        assert np.count_nonzero(enclosed & mask) > 0.6 * np.count_nonzero(mask)
        ratios.append(np.count_nonzero(enclosed) / np.count_nonzero(mask))
    # radii of 0.9 to 1.3 and the hand's wobble; wider on average, as people draw
    assert 1.0 < np.mean(ratios) < 1.6 and max(ratios) < 2.6


def test_text_of_tumors_is_asked_only_where_all_are_labeled(scan, rng):
    unknown = Scan("unknown", scan.grey, scan.label, scan.spacing, has_tumor=False)
    for source, expected in ((scan, {"liver", "liver tumor"}), (unknown, {"liver"})):
        drawn = [Examples([source]).draw(128, rng) for _ in range(30)]
        assert {concept for example in drawn for concept, _ in example.texts} == expected
