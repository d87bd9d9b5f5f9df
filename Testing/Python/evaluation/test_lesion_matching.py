"""Matching of objects with lesions, and the report."""

import itertools
import json
from collections.abc import Mapping

import numpy as np
import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate
from SAMLiverTumorLib.evaluation.metrics.overlap import ACCURACY_RULE, EMPTY_RULE
from SAMLiverTumorLib.evaluation.metrics.surface_distance import surface_distances

SHAPE = (6, 20, 30)


def box(*bounds):
    """Mask with True in [k0, k1) x [j0, j1) x [i0, i1)."""
    mask = np.zeros(SHAPE, bool)
    k0, k1, j0, j1, i0, i1 = bounds
    mask[k0:k1, j0:j1, i0:i1] = True
    return mask


BIG = box(1, 5, 1, 6, 1, 6)  # 4 * 5 * 5 = 100 voxels
MIDDLE = box(1, 5, 10, 14, 1, 6)  # 80
SMALL = box(2, 4, 10, 12, 20, 25)  # 20
REFERENCE = SMALL | MIDDLE | BIG


def counts(lesion):
    return lesion.overlap.tp, lesion.overlap.fp, lesion.overlap.fn, lesion.overlap.tn


def test_lesions_are_numbered_from_the_largest():
    result = evaluate({"tumor": REFERENCE}, REFERENCE, 0.001)
    assert [x.number for x in result.lesions] == [1, 2, 3]
    assert [x.overlap.reference_ml for x in result.lesions] == pytest.approx([0.1, 0.08, 0.02])
    assert [x.overlap.dice for x in result.lesions] == [1, 1, 1]


def test_voxels_that_share_only_an_edge_are_one_lesion():
    reference = box(0, 1, 0, 1, 0, 1) | box(0, 1, 2, 3, 2, 3)
    assert len(evaluate({"tumor": reference}, reference, 1.0).lesions) == 2
    reference |= box(0, 1, 1, 2, 1, 2)
    assert len(evaluate({"tumor": reference}, reference, 1.0).lesions) == 1


def test_lesion_figures_are_over_the_whole_volume():
    half = box(1, 3, 1, 6, 1, 6)  # 50 of the 100 voxels of BIG
    result = evaluate({"tumor": half}, REFERENCE, 0.001)
    assert counts(result.lesions[0]) == (50, 0, 50, 6 * 20 * 30 - 100)
    assert result.lesions[0].overlap.dice == pytest.approx(2 * 50 / 150)


def test_lesion_without_a_prediction_is_missed_with_dice_zero():
    result = evaluate({"tumor": BIG}, REFERENCE, 0.001)
    assert [x.found for x in result.lesions] == [True, False, False]
    assert [x.overlap.dice for x in result.lesions] == [1, 0, 0]
    assert counts(result.lesions[1]) == (0, 0, 80, 6 * 20 * 30 - 80)
    assert (len(result.found), len(result.missed)) == (1, 2)


def test_means_over_found_and_over_all_lesions():
    result = evaluate({"tumor": BIG | box(1, 3, 10, 14, 1, 6)}, REFERENCE, 0.001)  # half of MIDDLE: Dice 2/3
    assert result.mean_found["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert result.mean_all["dice"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert result.mean_all["sensitivity"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_overall_is_the_union_of_segments_against_the_whole_label():
    result = evaluate({"a": BIG, "b": BIG | SMALL}, REFERENCE, 0.001)
    assert (result.overall.tp, result.overall.fp, result.overall.fn) == (120, 0, 80)
    assert (result.segments["a"].tp, result.segments["b"].tp) == (100, 120)


def test_object_over_two_lesions_is_matched_to_the_one_with_most_common_voxels():
    bridge = box(1, 5, 3, 14, 1, 6)  # joins 60 voxels of BIG with all 80 of MIDDLE, and 80 between
    result = evaluate({"tumor": bridge}, REFERENCE, 0.001)
    assert [x.found for x in result.lesions] == [False, True, False]
    assert counts(result.lesions[1])[:3] == (80, 140, 0)


def test_object_with_equal_overlap_with_two_lesions_is_matched_to_the_larger():
    bridge = box(1, 2, 5, 11, 1, 6)  # one row of BIG, one of MIDDLE
    result = evaluate({"tumor": bridge}, REFERENCE, 0.001)
    assert [x.found for x in result.lesions] == [True, False, False]


def test_segment_that_touches_one_lesion_is_matched_to_it_as_a_whole():
    stray = box(0, 1, 18, 20, 28, 30)  # 4 voxels that touch nothing
    result = evaluate({"tumor": BIG | stray}, REFERENCE, 0.001)
    assert counts(result.lesions[0])[:3] == (100, 4, 0)
    assert result.false_positives == ()


def test_stray_objects_of_a_segment_over_several_lesions_are_false_positives():
    stray, larger_stray = box(0, 1, 18, 20, 28, 30), box(0, 2, 0, 3, 27, 30)
    result = evaluate({"tumor": BIG | SMALL | stray | larger_stray}, REFERENCE, 0.001)
    assert [x.overlap.dice for x in result.lesions] == [1, 0, 1]
    assert [(x.segment, x.voxels) for x in result.false_positives] == [("tumor", 18), ("tumor", 4)]
    assert result.false_positives[0].ml == pytest.approx(0.018)
    assert result.overall.fp == 22


def test_segment_that_touches_no_lesion_is_false_positive():
    result = evaluate({"ghost": box(0, 1, 18, 20, 28, 30), "tumor": BIG}, REFERENCE, 0.001)
    assert [(x.segment, x.voxels) for x in result.false_positives] == [("ghost", 4)]
    assert result.lesions[0].segments == ("tumor",)
    assert result.lesions[0].overlap.dice == 1


def test_overlapping_segments_of_one_lesion_are_united_not_added():
    lower, upper = box(1, 4, 1, 6, 1, 6), box(2, 5, 1, 6, 1, 6)
    result = evaluate({"lower": lower, "upper": upper}, REFERENCE, 0.001)
    assert result.lesions[0].segments == ("lower", "upper")
    assert counts(result.lesions[0])[:3] == (100, 0, 0)


def test_separate_objects_of_one_segment_in_a_lesion_are_united():
    parts = box(1, 2, 1, 6, 1, 6) | box(4, 5, 1, 6, 1, 6)
    result = evaluate({"tumor": parts | SMALL}, REFERENCE, 0.001)
    assert counts(result.lesions[0])[:3] == (50, 0, 50)


def test_components_below_the_size_limit_do_not_count_and_their_objects_are_not_false():
    result = evaluate({"tumor": BIG | MIDDLE | SMALL}, REFERENCE, 0.001, min_ml=0.08)
    assert len(result.lesions) == 2  # 0.1 and exactly 0.08 ml; 0.02 ml is below
    assert (result.small_lesions, result.small_objects, result.false_positives) == (1, 1, ())
    assert result.overall.fn == 0
    assert "below 0.08 ml do not count as lesions: 1 left out, with 1 predicted" in " ".join(result.notes)


def test_object_on_a_lesion_and_on_one_below_the_limit_is_matched_to_the_lesion():
    bridge = box(3, 4, 10, 12, 5, 25)  # 2 voxels of MIDDLE, 10 of SMALL
    result = evaluate({"tumor": bridge}, REFERENCE, 0.001, min_ml=0.05)
    assert [x.found for x in result.lesions] == [False, True]
    assert counts(result.lesions[1])[0] == 2


def test_empty_prediction_misses_all_and_empty_reference_has_no_lesion():
    nothing = np.zeros(SHAPE, bool)
    result = evaluate({"tumor": nothing}, REFERENCE, 0.001)
    assert (len(result.missed), result.overall.dice, result.mean_found["dice"]) == (3, 0, None)
    result = evaluate({"tumor": BIG}, nothing, 0.001)
    assert (result.lesions, len(result.false_positives), result.overall.dice) == ((), 1, 0)
    result = evaluate({"tumor": nothing}, nothing, 0.001)
    assert (result.overall.dice, result.mean_all["dice"]) == (1, None)
    for text in (result.as_table(), json.dumps(result.as_dict(), allow_nan=False)):
        assert text


@pytest.mark.parametrize("min_ml", [-1.0, float("nan")])
def test_unusable_size_limit_is_refused(min_ml):
    with pytest.raises(InputError, match="give 0 or more"):
        evaluate({"tumor": BIG}, REFERENCE, 0.001, min_ml=min_ml)


def test_no_segment_and_segments_of_another_shape_are_refused():
    with pytest.raises(InputError, match="no segment"):
        evaluate({}, REFERENCE, 0.001)
    with pytest.raises(InputError, match="same grid"):
        evaluate({"tumor": BIG[:-1]}, REFERENCE, 0.001)


def test_matching_equals_a_plain_voxel_by_voxel_reimplementation():
    """On random noise, each object's lesion is found by flood fill over the whole arrays."""
    rng = np.random.default_rng(7)
    for _ in range(6):
        reference, a, b = rng.random((3, 6, 9, 11)) < np.array([0.12, 0.1, 0.25]).reshape(3, 1, 1, 1)
        result = evaluate({"a": a, "b": b}, reference, 0.001)
        lesions = sorted(flood(reference), key=len, reverse=True)
        sizes = [len(x) for x in lesions]
        assert [x.overlap.tp + x.overlap.fn for x in result.lesions] == sizes
        expected, false = {n: set() for n in range(len(lesions))}, 0
        for mask in (a, b):
            owners = []
            for thing in flood(mask):
                shared = [len(thing & lesion) for lesion in lesions]
                owners.append((thing, int(np.argmax(shared)) if max(shared) else None))
            matched = {owner for _, owner in owners if owner is not None}
            for thing, owner in owners:
                owner = matched.copy().pop() if len(matched) == 1 else owner
                false += owner is None
                if owner is not None:
                    expected[owner] |= thing
        assert len(result.false_positives) == false
        # Lesions of one size are interchangeable in number only if the tie is broken the same way: by raster order.
        got = [(x.overlap.tp, x.overlap.fp) for x in result.lesions]
        assert got == [(len(expected[n] & lesion), len(expected[n] - lesion)) for n, lesion in enumerate(lesions)]


def flood(mask):
    """26-connected components as sets of indices, in raster order of their first voxel."""
    left, components = {tuple(x) for x in np.argwhere(mask).tolist()}, []
    for seed in sorted(left):
        if seed not in left:
            continue
        left.remove(seed)
        component, edge = {seed}, [seed]
        while edge:
            k, j, i = edge.pop()
            for dk, dj, di in itertools.product((-1, 0, 1), repeat=3):
                n = (k + dk, j + dj, i + di)
                if n in left:
                    left.remove(n)
                    component.add(n)
                    edge.append(n)
        components.append(component)
    return components


def test_report_as_json_has_every_lesion_with_rounded_figures_and_no_nan():
    result = evaluate({"tumor": box(1, 4, 1, 6, 1, 6)}, REFERENCE, 1 / 3000)
    report = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert [x["found"] for x in report["lesions"]] == [True, False, False]
    assert report["lesions"][0]["dice"] == round(2 * 75 / 175, 6)
    assert report["lesions"][0]["reference_ml"] == 0.033333
    assert report["lesions"][0]["volume_error_percent"] == -25.0
    assert report["counts"]["missed"] == 2
    assert report["mean_over_all_lesions"]["dice"] == round(2 * 75 / 175 / 3, 6)


def test_table_shows_each_figure_and_how_it_was_computed():
    table = evaluate({"tumor": box(1, 4, 1, 6, 1, 6)}, REFERENCE, 0.001).as_table()
    row = next(line for line in table.splitlines() if line.startswith("1 "))
    # tp 75, fp 0, fn 25, tn 3500
    figures = "0.8571 0.7500 0.9931 0.7500 1.0000 1.0000 0.075 0.100 -0.025 -25.0"
    assert " ".join(row.split()) == f"1 tumor {figures}"
    assert "Lesions: 3, found 1, missed 2." in table
    flat = " ".join(table.split())
    for rule in (EMPTY_RULE, ACCURACY_RULE, "26-connectivity", "Means are unweighted"):
        assert rule in flat


def test_table_sums_up_the_many_small_lesions_missed():
    reference = np.zeros(SHAPE, bool)
    reference[0, ::2, ::3] = True  # 100 single voxels
    table = evaluate({"tumor": box(0, 1, 0, 1, 0, 1)}, reference, 0.001).as_table()
    assert "Missed lesions not listed above: 94, 0.094 ml together." in table
    assert table.count("(missed)") == 5


def test_segments_are_looked_up_one_at_a_time():
    class Lazy(Mapping):
        """Makes each array on demand; keeping them all would not fit 120 organs of a CT in memory."""

        def __getitem__(self, name):
            return {"a": BIG, "b": SMALL}[name].copy()

        def __iter__(self):
            return iter("ab")

        def __len__(self):
            return 2

    assert evaluate(Lazy(), REFERENCE, 0.001).overall.tp == 120


def test_progress_counts_segments_and_lesions_to_the_end():
    steps = []
    evaluate({"a": BIG, "b": SMALL}, REFERENCE, 0.001, progress=lambda *step: steps.append(step))
    assert steps == [(n, 5) for n in range(1, 6)]


def test_sample_case_has_the_lesions_counted_independently(sample_case):
    """70 components and their sizes by SimpleITK's ConnectedComponent, fully connected."""
    from SAMLiverTumorLib.io.labels.reader import read_labels

    labels = read_labels(sample_case / "label.nii.gz")
    tumor = labels.segments["2"]
    result = evaluate({"tumor": tumor}, tumor, labels.voxel_volume_ml)
    assert len(result.lesions) == 70
    assert [x.overlap.tp for x in result.lesions[:4]] == [52129, 37179, 11430, 8887]
    assert result.overall.reference_ml == pytest.approx(385, abs=0.5)


def test_surfaces_of_a_lesion_are_compared_with_all_its_objects():
    overshoot, stray = box(0, 6, 1, 6, 1, 6), box(2, 3, 2, 3, 9, 10)
    spacing = (4.0, 1.0, 0.5)
    lesions = evaluate({"a": overshoot, "b": overshoot | stray | SMALL}, REFERENCE, 0.001, spacing=spacing).lesions
    assert lesions[0].surface == surface_distances(overshoot, BIG, spacing)
    assert lesions[0].surface.hd95_mm == 4.0
    assert (lesions[1].surface.hd95_mm, lesions[1].surface.surface_dice) == (None, 0.0)
    assert lesions[2].surface.hd95_mm == 0.0
