"""Fusing passes of a network that segments dark pixels: geometry, weights, unchanged prompted slices, memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from geometry import STORAGE_ORDERS, in_original_order, reordered, rotation
from propagation_case import SETTINGS, DarkPool, ball, box_around, dice, phantom_of, ras_of

from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.uncertainty.fusion import fuse
from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble, further_passes, section_of
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.plane import ORIENTATIONS, oblique_plane, slice_plane
from SAMLiverTumorLib.volume import Volume

BALL = ball()
CROSS = Ensemble(ORIENTATIONS)


def first_pass(inside=BALL, orientation="axial", affine=None, pool=None, place=(15, 20, 22), **options):
    """A propagation from one box on the slice through a voxel (k, j, i)."""
    volume = phantom_of(inside, inside.shape, affine)
    stack = PlaneStack(volume, orientation)
    index = stack.index_at(ras_of(volume, *place))
    anchor = Anchor(index, box_around(stack.slice_mask_of(inside, stack.plane(index))))
    return propagate(stack, [anchor], pool or DarkPool(), SETTINGS, **options)


def whole(values):
    """A voxel map's values over the whole volume, uint8 (k, j, i)."""
    array = np.zeros(values.dimensions[::-1], np.uint8)
    array[values.box] = values.array
    return array


def test_a_pass_alone_keeps_its_mask_and_its_probabilities():
    first = first_pass()
    fusion = fuse(first, DarkPool(), SETTINGS)
    assert np.array_equal(fusion.mask().full(), first.mask().full())
    stored = np.zeros(BALL.shape, np.uint8)
    for n, each in first.slices.items():
        # rows and columns of this volume's axial slices run as its voxels are stored
        stored[n] = each.probabilities
    assert np.array_equal(whole(fusion.probability), stored)
    assert [p["orientation"] for p in fusion.passes] == ["axial"]
    assert fusion.probability.array.size < 20 * 20 * 20


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_orientations_together_find_the_ball_from_one_prompt(orientation):
    first = first_pass(orientation=orientation)
    fusion = fuse(first, DarkPool(), replace(SETTINGS, orientation=orientation), CROSS)
    assert dice(fusion.mask().full(), BALL) > 0.99
    assert {p["orientation"] for p in fusion.passes} == set(ORIENTATIONS)
    assert fusion.passes[0]["orientation"] == orientation
    assert fusion.provenance["fusion"]["passes"] == list(fusion.passes)


def oblique_affine():
    affine = np.eye(4)
    affine[:3, :3] = rotation((3, 1, 2), 20) * [-1.0, 1.0, 5.0]
    affine[:3, 3] = [-412.0, 333.0, -1510.0]
    return affine


@pytest.mark.parametrize("affine", [np.diag([-1.0, -1.0, 5.0, 1.0]), oblique_affine()], ids=["straight", "oblique"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_thick_slices_land_voxel_by_voxel_where_the_tumor_is(affine, orientation):
    # 1 x 1 x 5 mm; a cuboid with a corner cut off, so that no flip, shift or swap of axes goes unseen
    inside = np.zeros((12, 40, 44), bool)
    inside[3:9, 12:26, 10:31] = True
    inside[6:9, 12:16, 10:20] = False
    first = first_pass(inside, orientation, affine, place=(5, 20, 22))
    assert np.array_equal(first.mask().full(), inside), "the first pass has the shape"
    every_plane, settings = Ensemble(ORIENTATIONS, every_mm=1.0), replace(SETTINGS, orientation=orientation)
    for entry, found in further_passes(first, every_plane, DarkPool(), settings, PropagationRules()):
        assert np.array_equal(found.mask().full(), inside), entry
    fusion = fuse(first, DarkPool(), settings, every_plane)
    assert np.array_equal(fusion.mask().full(), inside)
    # pixels of 1 x 5 mm leave a pass a weight of a tenth: one shifted by a voxel would take 255 / 12 off some face
    assert whole(fusion.probability)[inside].min() > 240
    assert whole(fusion.probability)[~inside].max() < 15


def test_axis_orders_do_not_change_the_probabilities():
    lump = BALL.copy()
    lump[10:14, 14:20, 26:34] |= BALL[10:14, 14:20, 20:28]
    straight = phantom_of(lump)
    expected = None
    # every seventh of the 48: each order of axes and each sign occurs
    for order, signs in STORAGE_ORDERS[::7]:
        volume, to_original = reordered(straight, order, signs)
        stack = PlaneStack(volume, "axial")
        index = stack.index_at(ras_of(straight, 15, 20, 22))
        dark = stack.slice_mask_of(volume.array < 100, stack.plane(index))
        first = propagate(stack, [Anchor(index, box_around(dark))], DarkPool(), SETTINGS)
        found = whole(fuse(first, DarkPool(), SETTINGS, Ensemble(ORIENTATIONS, every_mm=1.0)).probability)
        values = in_original_order(found, to_original, lump.shape)
        expected = values if expected is None else expected
        assert np.array_equal(values, expected), (order, signs)
    assert dice(expected >= 128, lump) > 0.9


def test_other_passes_leave_prompted_slices_unchanged():
    drawn = np.zeros((40, 44), bool)
    drawn[5:9, 5:9] = True
    stack = PlaneStack(phantom_of(BALL), "axial")
    anchors = [
        Anchor(15, box_around(BALL[15])),
        Anchor(18, slice_mask=BALL[18] | drawn),
        Anchor(12, slice_mask=~BALL[12]),
    ]
    first = propagate(stack, anchors, DarkPool(), SETTINGS)
    fusion = fuse(first, DarkPool(), SETTINGS, CROSS)
    mask = fusion.mask().full()
    for n in (12, 15, 18):
        assert np.array_equal(mask[n], first.slices[n].slice_mask), n
    assert not whole(fusion.uncertainty)[[12, 18]].any(), "drawn slices are certain"
    assert whole(fusion.uncertainty).any()


class Contrary(DarkPool):
    """A network that segments only the half of each mask where u is small, except on axial slices."""

    def predictor(self, model):
        network = super().predictor(model)
        plain = type(network).predict

        def predict(embedding, prompts):
            prediction = plain(network, embedding, prompts)
            if embedding.shape != (40, 44):
                prediction.logits[:, 22:] = -5.0
            return prediction

        network.predict = predict
        return network


def test_a_contradicting_orientation_adds_uncertainty_but_does_not_overrule_the_first_pass():
    first, coronal = first_pass(), Ensemble(("coronal",), every_mm=1.0)
    agreeing, contrary = (fuse(first, pool, SETTINGS, coronal) for pool in (DarkPool(), Contrary()))
    assert np.array_equal(contrary.mask().full(), BALL)
    # the columns missing from the coronal masks, without the prompted slice
    lost = BALL & (np.arange(44) >= 22) & (np.arange(30) != 15)[:, None, None]
    assert lost.sum() > 500
    assert whole(agreeing.uncertainty)[lost].max() < 20
    # pixels of 1 x 2 mm halve the weight of one half: 1 to 1/4, p = 0.8. H = 0.722 and D = 4 * 0.16; their mean 0.681,
    # times 255, is 174; logits of +-5 are not quite 0 and 1
    assert np.abs(whole(contrary.uncertainty)[lost].astype(int) - 174).max() < 12


def test_planes_of_another_orientation_may_lie_apart():
    first, dense, sparse = first_pass(), DarkPool(), DarkPool()
    every = fuse(first, dense, SETTINGS, Ensemble(("coronal",), every_mm=0.1))
    third = fuse(first, sparse, SETTINGS, Ensemble(("coronal",), every_mm=3.0))
    # the ball's rows are 12 to 28: 17 of them, or 7 at most 3 mm apart
    assert dense.network.embedded == 17
    assert sparse.network.embedded == 7
    assert dice(third.mask().full(), every.mask().full()) > 0.99


def test_limits_hold_for_every_pass():
    from SAMLiverTumorLib.inference.propagation.slice_step import Limits

    liver = np.ones(BALL.shape, bool)
    liver[:, :, 26:] = False
    limits = Limits(liver=liver)
    first = first_pass(limits=limits)
    fusion = fuse(first, DarkPool(), SETTINGS, CROSS, limits=limits)
    beyond = fusion.mask().full() & ~liver
    assert not np.delete(beyond, 15, axis=0).any()


def test_a_pass_does_not_count_in_a_direction_it_was_not_run_in():
    first = first_pass(direction="up")
    assert first.reached == tuple(range(15, 23))
    fusion = fuse(first, DarkPool(), SETTINGS, CROSS)
    values = whole(fusion.probability)
    assert not values[:13].any()
    assert dice(fusion.mask().full()[15:], BALL[15:]) > 0.99


def test_cancel_keeps_the_passes_done_and_a_cancelled_first_pass_is_not_fused():
    first, pool = first_pass(), DarkPool()
    fusion = fuse(first, pool, SETTINGS, CROSS, cancel=lambda: pool.network.embedded >= 15)
    assert fusion.cancelled
    assert [p["orientation"] for p in fusion.passes] == ["axial", "coronal"]
    assert "Cancelled" in fusion.notes[-1]
    assert fusion.provenance["cancelled"]
    halted = DarkPool()
    cut = first_pass(pool=halted, cancel=lambda: halted.network.embedded >= 6)
    pool = DarkPool()
    assert fuse(cut, pool, SETTINGS, CROSS).cancelled
    assert pool.network.embedded == 0


def test_progress_counts_every_slice_of_every_further_pass():
    first, pool, steps = first_pass(), DarkPool(), []
    fuse(first, pool, SETTINGS, CROSS, progress=lambda *step: steps.append(step))
    # 9 coronal slices, rows 12 to 28, and 9 sagittal ones, columns 14 to 30: 2 mm apart at most
    assert steps == [(n, None) for n in range(1, 19)]


def test_invalid_input_is_refused_with_what_to_do():
    with pytest.raises(InputError, match="choose from axial, coronal, sagittal"):
        Ensemble(("axial", "oblique"))
    with pytest.raises(InputError, match="above 0 mm"):
        Ensemble(every_mm=0)
    stack = PlaneStack(phantom_of(BALL), "axial")
    nothing = propagate(stack, [Anchor(3, slice_mask=np.zeros((40, 44), bool))], DarkPool(), SETTINGS)
    with pytest.raises(PromptError, match="Move the prompts"):
        fuse(nothing, DarkPool(), SETTINGS, CROSS)


def test_an_oblique_first_pass_is_fused_with_straight_ones():
    volume = phantom_of(ball(radii=(6, 11, 11)))
    view = np.eye(4)
    view[:3, :3] = rotation((0, 1, 0), 30) @ np.diag([-1.0, 1.0, -1.0])
    view[:3, 3] = ras_of(volume, 15, 20, 22)
    plane = oblique_plane(volume, view)
    stack = PlaneStack.through(volume, plane)
    first = propagate(
        stack, [Anchor(0, box_around(stack.slice_mask_of(volume.array < 100, plane)))], DarkPool(), SETTINGS
    )
    alone = fuse(first, DarkPool(), SETTINGS)
    assert np.array_equal(alone.mask().full(), first.mask().full())
    fusion = fuse(first, DarkPool(), SETTINGS, Ensemble(("axial", "sagittal")))
    assert dice(fusion.mask().full(), volume.array < 100) > 0.95
    own = first.slices[0].slice_mask
    assert np.array_equal(
        stack.slice_mask_of(fusion.mask().full(), plane), stack.slice_mask_of(first.mask().full(), plane)
    )
    assert own.any()


def test_the_section_of_a_mask_is_that_of_the_whole_volumes_array():
    volume = phantom_of(BALL)
    mask = Mask.from_array(BALL, volume)
    for orientation in ORIENTATIONS:
        stack = PlaneStack(volume, orientation)
        for n in range(stack.first, stack.last + 1):
            plane = slice_plane(volume, orientation, n)
            assert np.array_equal(section_of(mask, plane), stack.slice_mask_of(BALL, plane))


def test_a_large_volume_costs_no_more_than_the_tumor():
    # 512 x 512 x 400 voxels that take no memory: one value, repeated by strides of 0
    small = ball((12, 24, 24), (6, 12, 12), (4, 6, 6))
    array = np.lib.stride_tricks.as_strided(np.array([160], np.uint8), (400, 512, 512), (0, 0, 0))
    stack = PlaneStack(Volume(array, np.diag([-1.0, -1.0, 2.0, 1.0]), "large"), "axial")
    masks = np.zeros((12, 512, 512), bool)
    masks[:, 200:224, 300:324] = small
    anchors = [Anchor(190 + n, slice_mask=mask) for n, mask in enumerate(masks) if mask.any()]
    first = propagate(stack, anchors, DarkPool(), SETTINGS, direction="up")
    tracemalloc.start()
    fusion = fuse(first, DarkPool(), SETTINGS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fusion.mask().count == small.sum()
    # a full volume has 105 MB per byte of a voxel, a slice 0.26 MB
    assert peak < 10e6


def test_further_passes_report_orientation_slices_and_volume():
    first = first_pass()
    passes = list(further_passes(first, CROSS, DarkPool(), SETTINGS, PropagationRules()))
    assert [e["orientation"] for e, _ in passes] == ["coronal", "sagittal"]
    # the ball's rows 12 to 28 and columns 14 to 30
    assert [e["slices"] for e, _ in passes] == [[12, 28], [14, 30]]
    ml = BALL.sum() * 0.002
    assert [e["volume_ml"] for e, _ in passes] == pytest.approx([ml] * 2, rel=0.03)
