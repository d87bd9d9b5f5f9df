"""From prompts on a volume to a three-dimensional mask, with the published weights: geometry, provenance, refusals."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from geometry import reordered

from SAMLiverTumorLib.errors import Cancelled, InputError, ModelError, PromptError
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.model_choice import choose_model
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings, segment, segment_slice
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.plane import oblique_plane
from SAMLiverTumorLib.prompts import Box, Prompts, on_plane
from SAMLiverTumorLib.volume import Volume, apply_affine

# The phantom's lesion: a ball of 14 mm around voxel (34, 44, 10), slices 4 mm apart.
CENTER = np.array([50.5, -25.75, -272.0])
RADIUS = 14.0
BOX = Box(CENTER, np.eye(3), [30, 32, 8])
CENTER_SLICE = Box(CENTER, np.eye(3), [30, 32, 0])


def off_center(right, anterior, superior):
    """A world point by its distance (mm) from the lesion's center."""
    return CENTER + np.array([right, anterior, superior])


def distance(volume, mask, point):
    """Distance (mm) of each voxel in the mask from a world point."""
    return np.linalg.norm(apply_affine(volume.ijk_to_ras, np.argwhere(mask)[:, ::-1]) - point, axis=1)


def test_every_slice_that_the_box_crosses_gets_its_section_and_nothing_lies_outside_it(phantom, pool):
    steps = []
    result = segment(phantom, Prompts(box=BOX), pool, progress=lambda *step: steps.append(step))
    # 8 mm around slice 10 end on the centers of slices 9 and 11
    assert [(s.index, s.model) for s in result.slices] == [(k, "lite-medsam") for k in (9, 10, 11)]
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    mask = result.mask.full()
    assert [int(mask[k].sum()) for k in (9, 10, 11)] == [s.pixels for s in result.slices]
    assert mask.sum() == mask[9:12].sum() == result.mask.count
    assert BOX.contains(apply_affine(phantom.ijk_to_ras, np.argwhere(mask)[:, ::-1])).all()
    # the lesion's own slices: discs of 14 mm, and of sqrt(14^2 - 4^2) = 13.4 mm beside it
    j, i = np.indices((96, 96))
    for k, radius in ((9, 13.416), (10, 14.0), (11, 13.416)):
        disc = np.hypot((i - 34) * 1.5, (j - 44) * 1.5) < radius
        assert 2 * (mask[k] & disc).sum() / (mask[k].sum() + disc.sum()) > 0.85
    assert all(0 < s.predicted_iou < 1.1 and 0.5 < s.stability <= 1 for s in result.slices)


def test_a_box_cuts_the_mask_at_its_edges(phantom, pool):
    # the box ends in the middle of the lesion, 6 mm to the right of its center
    box = Box.from_corners(off_center(-6, -16, 0), off_center(20, 16, 0))
    mask = segment(phantom, Prompts(box=box), pool).mask.full()
    right = apply_affine(phantom.ijk_to_ras, np.argwhere(mask)[:, ::-1])[:, 0]
    assert mask.any()
    assert right.min() >= CENTER[0] - 6


def test_points_apply_on_their_own_slices_and_leave_the_others_to_the_model_for_boxes(phantom, pool):
    prompts = Prompts([off_center(1.4, 0, 1.9)], [off_center(0, 15.5, 0)], BOX)
    result = segment(phantom, prompts, pool)
    assert [(s.index, s.model) for s in result.slices] == [(9, "lite-medsam"), (10, "liver-tumor"), (11, "lite-medsam")]
    boxes_alone = segment(phantom, Prompts(box=BOX), pool).mask.full()
    mask = result.mask.full()
    assert np.array_equal(mask[[9, 11]], boxes_alone[[9, 11]])
    assert {m["id"]: m["window"] for m in result.provenance["models"]} == {
        "lite-medsam": [-160, 240],
        "liver-tumor": [-160, 240],
    }
    assert {m["id"]: m["sha256"] for m in result.provenance["models"]} == {
        model: get_model(model).sha256 for model in ("lite-medsam", "liver-tumor")
    }
    assert result.provenance["prompts"]["include"] == [[51.9, -25.75, -270.1]]
    assert result.provenance["prompts"]["box"]["size"] == [30, 32, 8]
    assert set(result.provenance["versions"]) == {"sam-liver-tumor", "torch", "segment-anything"}
    assert "unknown" not in result.provenance["versions"].values()


# Each is (array axis taken for R, A, S; direction along it): permuted, mirrored (improper) and both.
STORED = [
    ((0, 1, 2), (1, 1, 1)),
    ((0, 1, 2), (-1, 1, 1)),
    ((1, 2, 0), (1, 1, 1)),
    ((2, 0, 1), (-1, 1, -1)),
    ((1, 0, 2), (1, -1, 1)),
    ((2, 1, 0), (-1, -1, -1)),
    ((0, 2, 1), (1, 1, -1)),
]


@pytest.mark.parametrize("orientation", ["axial", "coronal"])
def test_the_same_patient_stored_in_any_axis_order_gives_the_same_mask_in_the_world(phantom, pool, orientation):
    box = CENTER_SLICE if orientation == "axial" else Box(CENTER, np.eye(3), [30, 0, 32])
    settings = Settings(orientation=orientation)
    expected = segment(phantom, Prompts(box=box), pool, settings).mask.full()
    assert expected.sum() > 80
    encoded = pool.predictor("lite-medsam").encoded
    for order, signs in STORED:
        volume, _ = reordered(phantom, order, signs)
        mask = segment(volume, Prompts(box=box), pool, settings).mask
        ras = apply_affine(volume.ijk_to_ras, np.argwhere(mask.full())[:, ::-1])
        ijk = np.rint(apply_affine(phantom.ras_to_ijk, ras)).astype(int)
        back = np.zeros_like(expected)
        back[tuple(ijk[:, ::-1].T)] = True
        assert np.array_equal(back, expected), (order, signs)
    # the network saw exactly the same slice image each time
    assert pool.predictor("lite-medsam").encoded == encoded


def test_a_ball_in_5_mm_slices_is_as_wide_as_high_on_a_coronal_slice(pool):
    k, j, i = np.meshgrid(np.arange(28) * 5.0, np.arange(40) * 1.0, np.arange(120) * 1.0, indexing="ij")
    inside = (i - 52) ** 2 + (j - 20) ** 2 + (k - 70) ** 2 < 25**2
    volume = Volume(np.where(inside, 30, 110).astype(np.int16) - (i < 4) * 900, np.diag([1.0, 1, 5, 1]), "thick")
    box = Box.from_corners([25, 20, 43], [79, 20, 97])
    result = segment(volume, Prompts(box=box), pool, Settings(orientation="coronal"))
    assert [s.index for s in result.slices] == [20]
    filled = np.argwhere(result.mask.full()[:, 20])
    rows, columns = np.ptp(filled, axis=0) + 1
    # 50 mm across: voxel centers within 25 mm are 49 columns and 9 rows of 5 mm
    assert columns == pytest.approx(49, abs=4)
    assert rows * 5 == pytest.approx(45, abs=10)
    assert np.allclose(filled.mean(axis=0), (14, 52), atol=(0.5, 2))


def test_a_mask_on_an_oblique_plane_lies_on_it_around_the_click(phantom, pool):
    angle = np.radians(25)
    click = off_center(4, 3, 0)
    slice_to_ras = np.eye(4)
    slice_to_ras[:3, 0] = (-np.cos(angle), 0, np.sin(angle))
    slice_to_ras[:3, 1] = (0, 1, 0)
    slice_to_ras[:3, 2] = normal = np.array([np.sin(angle), 0, np.cos(angle)])
    slice_to_ras[:3, 3] = click
    plane = oblique_plane(phantom, slice_to_ras)
    prompts = Prompts([click], box=Box(CENTER, np.eye(3), [32, 32, 32]))
    found = segment_slice(phantom, plane, on_plane(prompts, plane), pool, Settings("mobile-sam"))
    assert (found.result.index, found.result.model) == (None, "mobile-sam")
    mask = found.mask.full()
    nearest = np.rint(apply_affine(phantom.ras_to_ijk, click)[0]).astype(int)
    assert mask[tuple(nearest[::-1])]
    ras = apply_affine(phantom.ijk_to_ras, np.argwhere(mask)[:, ::-1])
    # half a voxel layer across the plane: 4 mm slices seen at 25 degrees
    assert np.abs((ras - click) @ normal).max() <= 2.0 * np.cos(angle) + 1e-6
    assert distance(phantom, mask, CENTER).max() < RADIUS + 6
    assert np.linalg.norm(ras.mean(axis=0) - CENTER) < 4


def test_embeddings_are_shared_by_prompts_and_renewed_for_another_window(phantom, pool):
    predictor = pool.predictor("lite-medsam")
    segment(phantom, Prompts(box=CENTER_SLICE), pool)
    encoded = predictor.encoded
    first = segment(phantom, Prompts(box=Box(CENTER, np.eye(3), [20, 20, 0])), pool).mask
    assert predictor.encoded == encoded
    second = segment(phantom, Prompts(box=CENTER_SLICE), pool, Settings(window=Window(-100, 200))).mask
    assert predictor.encoded == encoded + 1
    assert first.count != second.count


@pytest.mark.parametrize("moment", [(0, 1), (1, 1)], ids=["during the only slice", "when it is done"])
def test_cancel_works_until_the_end_and_keeps_nothing(phantom, pool, moment):
    steps = []
    with pytest.raises(Cancelled, match=r"[Cc]ancelled"):
        segment(
            phantom,
            Prompts(box=CENTER_SLICE),
            pool,
            progress=lambda *step: steps.append(step),
            cancel=lambda: moment in steps,
        )
    assert steps[-1] >= moment


def test_cancel_works_before_weights_are_downloaded(phantom, tmp_path):
    def fetched(question):
        pytest.fail("asked to download after Cancel")

    with pytest.raises(Cancelled):
        segment(phantom, Prompts(box=BOX), PredictorPool(fetched, ModelStore(tmp_path), "cpu"), cancel=lambda: True)


def test_unusable_input_is_refused_before_weights_are_downloaded(phantom, tmp_path):
    asked = []
    empty = PredictorPool(lambda question: asked.append(question) or False, ModelStore(tmp_path / "none"), "cpu")
    eight_bit = Volume(np.clip(phantom.array, 0, 255).astype(np.uint8), phantom.ijk_to_ras, "grey")
    on_lite = Settings("lite-medsam")
    for volume, prompts, settings, error, text in (
        (phantom, Prompts(), Settings(), PromptError, "no prompts"),
        (phantom, Prompts([CENTER]), on_lite, PromptError, "not for points"),
        (phantom, Prompts(exclude=[CENTER]), Settings(), PromptError, "exclude points only"),
        (phantom, Prompts([off_center(0, 0, 300)]), Settings(), PromptError, r"mm outside 'phantom'"),
        (eight_bit, Prompts(box=BOX), Settings(), InputError, "--window 0,20[0-9]|--window 0,1[0-9][0-9]"),
        (phantom, Prompts(box=BOX), Settings("nosuch"), ModelError, "'nosuch' is neither a known model"),
    ):
        with pytest.raises(error, match=text):
            segment(volume, prompts, empty, settings)
    assert asked == []
    with pytest.raises(ModelError, match="declined"):
        segment(phantom, Prompts(box=BOX), empty)
    assert len(asked) == 1
    assert [path for path in (tmp_path / "none").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_auto_takes_the_model_preferred_for_the_prompts_or_the_first_trained_for_all_of_them():
    for points, box in product((False, True), repeat=2):
        kinds = {name for name, given in (("points", points), ("box", box)) if given}
        assert choose_model("auto", kinds) == ("lite-medsam" if kinds == {"box"} else "liver-tumor")
    assert choose_model("auto", {"mask", "points"}) == "liver-tumor"
    assert choose_model("auto", {"mask", "box"}) == "liver-tumor"
    assert choose_model("auto", {"text"}) == "liver-tumor"
    with pytest.raises(PromptError, match="No registered model was trained for box and scribble"):
        choose_model("auto", {"box", "scribble"})
    assert choose_model("/my/checkpoint.pth", {"points"}) == "/my/checkpoint.pth"


def test_a_preferred_model_goes_before_earlier_ones_that_were_trained_for_the_same_prompts(monkeypatch):
    able, best = get_model("sam-vit-b"), replace(get_model("mobile-sam"), preferred_for=frozenset({"points"}))
    monkeypatch.setattr("SAMLiverTumorLib.inference.model_choice.load_registry", lambda: {"able": able, "best": best})
    assert choose_model("auto", {"points"}) == "best"
    assert choose_model("auto", {"box"}) == choose_model("auto", {"points", "box"}) == "able"


def test_a_box_that_leaves_the_volume_is_clipped_with_a_note(phantom, pool):
    # the volume ends at S -236 (slice 19); the box reaches 40 mm beyond
    result = segment(phantom, Prompts(box=Box.from_corners([20, -50, -237], [80, 0, -196])), pool)
    assert result.notes == ("The box reaches beyond the volume and was clipped to it.",)
    assert [s.index for s in result.slices] == [19]
