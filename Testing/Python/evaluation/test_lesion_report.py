"""The lesion report of lesions with known measurements."""

import csv
import io
import json

import numpy as np
import pytest
from geometry import rotation

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.lesion_report.measure import measure_lesions
from SAMLiverTumorLib.evaluation.lesion_report.table import CSV_COLUMNS
from SAMLiverTumorLib.evaluation.metrics.nearest_points import Points, least_distance
from SAMLiverTumorLib.volume import Volume

SHAPE = (20, 40, 50)
SPACING = np.array([0.8, 0.5, 2.0])


def box(*bounds):
    """Mask with True in [k0, k1) x [j0, j1) x [i0, i1)."""
    mask = np.zeros(SHAPE, bool)
    k0, k1, j0, j1, i0, i1 = bounds
    mask[k0:k1, j0:j1, i0:i1] = True
    return mask


def volume(hu=None, turn=None, spacing=SPACING):
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.diag([-1.0, -1.0, 1.0]) @ np.diag(spacing)
    affine[:3, 3] = 12.5, -40.25, 900.75
    array = np.full(SHAPE, 60, np.int16) if hu is None else hu
    array[0, 0, 0] = -1000
    return Volume(array, affine, "phantom")


BIG = box(5, 11, 10, 20, 10, 20)  # 600 voxels of 0.8 mm3
SMALL = box(6, 8, 10, 14, 26, 30)  # 32, six voxels of 0.8 mm to the left of it
ODD = box(15, 16, 30, 31, 40, 41)  # 1


def test_volume_position_and_slices_of_each_lesion_the_largest_first():
    report = measure_lesions(SMALL | ODD | BIG, volume())
    assert [(row.number, row.voxels, row.slices) for row in report.rows] == [
        (1, 600, (5, 10)),
        (2, 32, (6, 7)),
        (3, 1, (15, 15)),
    ]
    assert [row.volume_ml for row in report.rows] == pytest.approx([0.48, 0.0256, 0.0008])
    # middle of voxels 10..19, 10..19, 5..10
    assert report.rows[0].centroid_ras == pytest.approx((12.5 - 14.5 * 0.8, -40.25 - 14.5 * 0.5, 900.75 + 7.5 * 2))
    assert report.total_ml == pytest.approx(633 * 0.0008)
    assert report.rows[0].liver is None and report.liver_ml is None


def test_intensities_are_of_the_lesions_voxels_alone():
    hu = np.full(SHAPE, 60, np.int16)
    hu[6:8, 10:14, 26:30] = 40
    hu[6, 10, 26:30] = (10, 20, 120, 90)
    report = measure_lesions(SMALL | ODD, volume(hu))
    values = [40] * 28 + [10, 20, 120, 90]
    mean = sum(values) / 32
    sd = (sum((x - mean) ** 2 for x in values) / 31) ** 0.5
    found = report.rows[0].intensity
    assert (found.mean, found.sd) == (pytest.approx(mean), pytest.approx(sd))
    assert (found.minimum, found.median, found.maximum) == (10, 40, 120)
    assert report.rows[1].intensity.sd is None
    assert report.unit == "HU"


def test_an_image_without_hounsfield_units_is_reported_as_such():
    grey = Volume(np.full(SHAPE, 100, np.uint8), volume().ijk_to_ras, "grey")
    report = measure_lesions(BIG, grey)
    assert report.unit == "grey value"
    assert any("not in Hounsfield units" in note for note in report.notes)
    assert report.figures(report.rows[0])["intensity_unit"] == "grey value"


@pytest.mark.parametrize("turn", [None, rotation((1, 2, 3), 33)], ids=["straight", "oblique"])
def test_the_nearest_lesion_is_as_far_as_the_gap_between_the_voxels(turn):
    # six columns between BIG and SMALL; ODD lies 10 columns, 16 rows and 7 slices off SMALL
    rows = measure_lesions(SMALL | ODD | BIG, volume(turn=turn)).rows
    assert rows[0].nearest == (2, pytest.approx(6 * 0.8))
    assert rows[1].nearest == (1, pytest.approx(6 * 0.8))
    assert rows[2].nearest == (2, pytest.approx(np.linalg.norm([10 * 0.8, 16 * 0.5, 7 * 2.0])))


def test_parts_that_touch_in_a_corner_are_one_lesion():
    (row,) = measure_lesions(BIG | box(11, 12, 20, 21, 20, 21), volume()).rows
    assert row.voxels == np.count_nonzero(BIG) + 1 and row.nearest is None


def test_a_lesion_below_the_limit_is_no_neighbor_but_counts_in_the_total():
    report = measure_lesions(SMALL | ODD | BIG, volume(), min_ml=0.01)
    assert [row.number for row in report.rows] == [1, 2]
    assert report.left_out == (1, pytest.approx(0.0008))
    assert report.total_ml == pytest.approx(633 * 0.0008)
    assert any("below 0.01 ml do not count as lesions: 1 left out" in note for note in report.notes)
    (only,) = measure_lesions(SMALL | ODD | BIG, volume(), min_ml=0.1).rows
    assert only.nearest is None


LIVER = box(3, 18, 5, 35, 5, 45)


@pytest.mark.parametrize("liver", [LIVER, LIVER & ~(BIG | SMALL)], ids=["whole", "lesions cut out"])
def test_share_and_border_do_not_depend_on_whether_the_lesions_are_cut_out_of_the_liver(liver):
    report = measure_lesions(BIG | SMALL, volume(), liver)
    voxels = 15 * 30 * 40
    assert report.liver_ml == pytest.approx(voxels * 0.0008)
    assert report.rows[0].liver.share_percent == pytest.approx(100 * 600 / voxels)
    # nearest border: 2 slices of 2 mm, 5 rows of 0.5 mm, 5 columns of 0.8 mm
    assert report.rows[0].liver.distance_mm == pytest.approx(2.5)
    assert not report.rows[0].liver.touches_border
    assert report.liver_share_percent == pytest.approx(100 * 632 / voxels)


def test_a_lesion_at_the_capsule_or_reaching_beyond_it_touches_the_border():
    at_capsule, beyond = box(5, 9, 5, 12, 10, 20), box(5, 9, 30, 37, 30, 40)
    rows = measure_lesions(at_capsule | beyond, volume(), LIVER).rows
    assert [row.liver.touches_border for row in rows] == [True, True]
    (one_row_in,) = measure_lesions(box(5, 9, 6, 12, 10, 20), volume(), LIVER).rows
    assert not one_row_in.liver.touches_border and one_row_in.liver.distance_mm == pytest.approx(0.5)


def test_an_enclosed_vessel_is_no_border_of_the_liver_but_one_that_leaves_it_is():
    vessel = box(7, 9, 20, 22, 12, 14)  # beside BIG
    closed = measure_lesions(BIG, volume(), LIVER & ~vessel).rows[0].liver
    assert closed.distance_mm == pytest.approx(2.5)
    leaving = box(7, 9, 20, 40, 12, 14)
    assert measure_lesions(BIG, volume(), LIVER & ~leaving).rows[0].liver.touches_border


def test_the_end_of_the_scan_is_no_border_and_is_reported():
    liver = box(0, 20, 5, 35, 5, 45)
    lesion = box(0, 4, 12, 20, 20, 30)
    report = measure_lesions(lesion, volume(), liver)
    (row,) = report.rows
    assert row.cut_by_scan
    assert row.liver.distance_mm == pytest.approx(7 * 0.5)
    assert any("border of the scan (*) may be larger than measured: 1." in note for note in report.notes)
    everything = measure_lesions(BIG, volume(), np.ones(SHAPE, bool)).rows[0]
    assert everything.liver.distance_mm is None and not everything.liver.touches_border
    assert not everything.cut_by_scan


def test_a_lesion_outside_the_liver_has_no_share_of_it():
    report = measure_lesions(BIG | ODD, volume(), box(3, 18, 5, 25, 5, 25))
    assert report.rows[0].liver is not None and report.rows[1].liver is None
    assert report.liver_ml == pytest.approx(15 * 20 * 20 * 0.0008)
    assert any("outside the liver given, without share and distance: 2." in note for note in report.notes)


def test_measurable_is_ten_millimeters_or_two_slices_where_these_are_thick():
    # diameters of rows of voxels: 13 and 12 columns of 0.8 mm
    lesions = box(5, 6, 10, 11, 10, 23) | box(9, 10, 10, 11, 10, 22)
    report = measure_lesions(lesions, volume())
    assert [report.is_measurable(row) for row in report.rows] == [True, False]
    assert report.sum_of_diameters_mm == pytest.approx(10.4)
    thick = measure_lesions(lesions, volume(spacing=(0.8, 0.5, 6.0)))
    assert thick.measurable_mm == 12.0
    assert [thick.is_measurable(row) for row in thick.rows] == [False, False]
    assert thick.sum_of_diameters_mm == 0.0


def test_the_sum_of_diameters_is_of_two_lesions_at_most():
    lesions = box(5, 6, 10, 11, 5, 25) | box(9, 10, 10, 11, 5, 23) | box(13, 14, 10, 11, 5, 20)
    assert measure_lesions(lesions, volume()).sum_of_diameters_mm == pytest.approx((20 + 18) * 0.8)


def test_slice_thickness_of_a_sheared_scan_is_the_distance_between_its_slices():
    affine = np.diag([0.8, 0.8, 4.0, 1.0])
    affine[1, 2] = 4.0  # spacing along k is 5.66 mm
    tilted = Volume(volume().array, affine, "tilted")
    assert measure_lesions(BIG, tilted).measurable_mm == 10.0


def test_an_oblique_scan_is_reported():
    notes = measure_lesions(BIG, volume(turn=rotation((1, 0, 0), 15))).notes
    assert any("tilted by 15.0 degrees" in note for note in notes)
    assert not any("tilted by" in note for note in measure_lesions(BIG, volume()).notes)


def test_an_empty_segment_gives_a_report_without_lesions():
    report = measure_lesions(np.zeros(SHAPE, bool), volume(), LIVER)
    assert (report.rows, report.total_ml, report.sum_of_diameters_mm) == ((), 0.0, 0.0)
    assert report.liver_share_percent == 0.0
    assert report.as_csv() == ",".join(CSV_COLUMNS) + "\n"


def test_unusable_input_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"segment has \(2, 2, 2\) voxels"):
        measure_lesions(np.ones((2, 2, 2), bool), volume())
    with pytest.raises(InputError, match=r"liver has \(2, 2, 2\) voxels"):
        measure_lesions(BIG, volume(), np.ones((2, 2, 2), bool))
    with pytest.raises(InputError, match="liver has no voxel"):
        measure_lesions(BIG, volume(), np.zeros(SHAPE, bool))
    for limit in (-1.0, float("nan")):
        with pytest.raises(InputError, match="give 0 or more"):
            measure_lesions(BIG, volume(), min_ml=limit)


def test_the_arrays_given_are_not_changed():
    mask, liver = BIG.copy(), LIVER & ~BIG
    before = liver.copy()
    measure_lesions(mask, volume(), liver)
    assert (mask == BIG).all() and (liver == before).all()


def test_csv_and_json_have_the_same_figures():
    provenance = [{"models": [{"id": "m", "sha256": "ab", "window": [0, 1]}], "note": "secret"}, {"models": "broken"}]
    report = measure_lesions(SMALL | ODD | BIG, volume(), LIVER, provenance=provenance)
    rows = list(csv.DictReader(io.StringIO(report.as_csv())))
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == len(data["lesions"]) == 3
    for row, lesion in zip(rows, data["lesions"], strict=True):
        for key, text in row.items():
            value = lesion[key]
            words = {True: "yes", False: "no"} if isinstance(value, bool) else {None: ""}
            expected = words.get(value, str(value))
            assert text == expected, key
    assert rows[2]["intensity_sd"] == "" and rows[0]["touches_liver_border"] == "no"
    ends = np.array(data["lesions"][0]["longest_axial_ends_ras"])
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(data["lesions"][0]["longest_axial_mm"], abs=1e-5)
    assert data["models"] == [{"id": "m", "sha256": "ab"}]
    assert "secret" not in json.dumps(data)
    assert "not a medical device" in data["notice"]


def test_progress_is_reported_and_can_stop_the_work():
    steps = []
    measure_lesions(SMALL | ODD | BIG, volume(), progress=lambda *step: steps.append(step))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_lesions(SMALL | ODD | BIG, volume(), progress=stop)


def test_the_least_distance_is_that_of_all_pairs():
    rng = np.random.default_rng(1)
    for _ in range(60):
        one, other = (
            rng.normal(size=(rng.integers(1, 120), 3)) * rng.uniform(0.1, 40) + rng.normal(size=3) * 50 for _ in "ab"
        )
        pairs = np.linalg.norm(one[:, None] - other, axis=2)
        assert least_distance(Points(one), Points(other)) == pytest.approx(pairs.min(), abs=1e-9)


def test_real_lesions_have_the_figures_computed_independently(sample):
    """Lesions 4 and 6 of the sample case, by cdist over all faces of pixels and scipy's distance transform."""
    ct, labels = sample
    report = measure_lesions(labels == 2, ct, labels > 0)
    assert len(report.rows) == 70
    fourth, sixth = report.rows[3], report.rows[5]
    assert (fourth.voxels, sixth.voxels) == (8887, 2488)
    assert (fourth.volume_ml, sixth.volume_ml) == pytest.approx((26.2998, 7.3629), abs=1e-4)
    assert (fourth.axial.longest.mm, sixth.axial.longest.mm) == pytest.approx((44.4035, 27.5379), abs=1e-4)
    assert (fourth.axial.index, sixth.axial.index) == (76, 11)
    assert (fourth.longest_3d.mm, sixth.longest_3d.mm) == pytest.approx((49.0238, 39.4783), abs=1e-4)
    assert (fourth.intensity.mean, fourth.intensity.sd) == pytest.approx((69.3919, 19.0682), abs=1e-4)
    assert fourth.liver.touches_border
