"""Prompts in world millimeters reach the slices they lie on, and those that cannot are refused."""

import json

import numpy as np
import pytest
from geometry import STORAGE_ORDERS, patient_ras, rotation, stored

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.plane import ORIENTATIONS, oblique_plane, slice_plane
from SAMLiverTumorLib.prompts import Box, PlanePrompts, Prompts, fit_to_volume, on_plane, prompts_by_slice
from SAMLiverTumorLib.volume import Volume

FAR = np.array([151.25, -87.5, 1203.0])


@pytest.fixture(scope="module")
def volume():
    """60 x 50 x 12 voxels of 0.7 x 0.7 x 5 mm; voxel (i, j, k) lies at FAR + (-0.7 i, -0.7 j, 5 k)."""
    affine = np.diag([-0.7, -0.7, 5.0, 1.0])
    affine[:3, 3] = FAR
    return Volume(np.zeros((12, 50, 60), np.int16), affine, "CT")


def at(i, j, k):
    return FAR + np.array([-0.7 * i, -0.7 * j, 5.0 * k])


def outside_by(r, a, s, border):
    return border + np.array([r, a, s])


def test_points_count_on_the_slice_they_are_nearest_to(volume):
    prompts = Prompts(include=[at(10, 20, 3), at(11, 21, 3.4), at(30, 5, 6.6)], exclude=[at(12, 22, 2.6)])
    found = prompts_by_slice(prompts, volume, "axial")
    assert list(found) == [3, 7]
    # stored toward left and posterior, so that columns and rows are i and j
    assert found[3].points == pytest.approx(np.array([[10, 20], [11, 21], [12, 22]]))
    assert found[3].labels.tolist() == [1, 1, 0]
    assert found[7].points == pytest.approx(np.array([[30, 5]]))
    assert found[7].kinds == {"points"}


@pytest.mark.parametrize(("orientation", "index"), [("axial", 7), ("coronal", 20), ("sagittal", 10)])
def test_a_point_has_one_slice_in_every_orientation(volume, orientation, index):
    assert list(prompts_by_slice(Prompts(include=[at(10, 20, 7)]), volume, orientation)) == [index]


@pytest.mark.parametrize("storage", STORAGE_ORDERS[::5], ids=str)
def test_halfway_between_two_slices_is_the_upper_one_in_every_storage_order(storage):
    volume = stored(*storage)
    halfway = patient_ras(3, 3, 2.5)
    flat = Box.from_corners(patient_ras(1, 1, 2.5), patient_ras(4, 4, 2.5))
    for prompts in (Prompts(include=[halfway]), Prompts(box=flat)):
        (index,) = prompts_by_slice(prompts, volume, "axial")
        center = slice_plane(volume, "axial", index).from_ras(patient_ras(3, 3, 3))[0]
        assert center[2] == pytest.approx(0, abs=1e-6)


def test_points_on_the_volumes_very_border_are_kept(volume):
    for point in (
        at(-0.5, 20, 5),
        at(59.5, 20, 5),
        at(10, -0.5, 5),
        at(10, 49.5, 5),
        at(10, 20, -0.5),
        at(10, 20, 11.5),
    ):
        for orientation in ORIENTATIONS:
            fitted, notes = fit_to_volume(Prompts(include=[point]), volume)
            assert notes == ()
            assert len(prompts_by_slice(fitted, volume, orientation)) == 1


@pytest.mark.parametrize(
    ("outside", "border"),
    [
        (outside_by(3, 0, 0, at(-0.5, 20, 5)), at(0, 20, 5)),
        (outside_by(0, -3, 0, at(20, 49.5, 5)), at(20, 49, 5)),
        (outside_by(0, 0, 3, at(20, 20, 11.5)), at(20, 20, 11)),
    ],
    ids=["right", "posterior", "superior"],
)
def test_a_slip_of_the_hand_is_moved_to_the_border_with_a_note(volume, outside, border):
    prompts, notes = fit_to_volume(Prompts(include=[at(5, 5, 5)], exclude=[outside]), volume)
    assert prompts.exclude[0] == pytest.approx(border)
    assert prompts.include[0] == pytest.approx(at(5, 5, 5))
    (note,) = notes
    assert "Exclude point 1" in note
    assert "3.0 mm outside" in note


@pytest.mark.parametrize("outside", [outside_by(20, 0, 0, at(-0.5, 20, 5)), outside_by(0, 0, -20, at(20, 20, -0.5))])
def test_a_point_far_outside_is_refused(volume, outside):
    with pytest.raises(PromptError, match=r"Include point 2 .*20 mm outside 'CT'; move or delete"):
        fit_to_volume(Prompts(include=[at(5, 5, 5), outside]), volume)


def test_no_prompts_are_refused(volume):
    with pytest.raises(PromptError, match="place at least one include point or a box"):
        fit_to_volume(Prompts(), volume)


def test_exclude_points_alone_are_refused(volume):
    with pytest.raises(PromptError, match=r"axial slice 4 .*exclude points only"):
        prompts_by_slice(Prompts(include=[at(10, 20, 3)], exclude=[at(10, 20, 4)]), volume, "axial")
    box = Box.from_corners(at(5, 5, 3), at(15, 25, 4))
    found = prompts_by_slice(Prompts(exclude=[at(10, 20, 4)], box=box), volume, "axial")
    assert found[4].kinds == {"points", "box"}


def test_a_straight_box_gives_each_slice_it_crosses_its_outline(volume):
    found = prompts_by_slice(Prompts(box=Box.from_corners(at(9.5, 19.5, 2.8), at(20.5, 30.5, 6.2))), volume, "axial")
    assert list(found) == [3, 4, 5, 6]
    for seen in found.values():
        assert seen.box == pytest.approx((9.5, 19.5, 20.5, 30.5))
        assert seen.kinds == {"box"}
    upright = prompts_by_slice(Prompts(box=Box.from_corners(at(10, 20, 3), at(20, 22, 6))), volume, "coronal")
    assert list(upright) == [20, 21, 22]
    assert upright[21].box == pytest.approx((10, 11 - 6, 20, 11 - 3))  # rows run toward inferior


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("turn", [((0, 0, 1), 30), ((1, 0, 0), 25), ((1, 2, 3), 50)], ids=str)
def test_sections_of_a_turned_box_bound_exactly_the_pixels_in_it(volume, orientation, turn):
    axes, center, size = rotation(*turn), at(28, 24, 5.5), np.array([14.0, 9.0, 22.0])
    found = prompts_by_slice(Prompts(box=Box(center, axes, size)), volume, orientation)
    step = 0.1
    for index in range(volume.dimensions[["sagittal", "coronal", "axial"].index(orientation)]):
        plane = slice_plane(volume, orientation, index)
        rows, columns = plane.shape
        u, v = np.meshgrid(np.arange(-0.5, columns, step), np.arange(-0.5, rows, step))
        points = np.stack([u.ravel(), v.ravel(), 0 * u.ravel(), 1 + 0 * u.ravel()]).T @ plane.to_ras.T
        inside = (np.abs((points[:, :3] - center) @ axes) <= size / 2).all(axis=1)
        if index not in found:
            assert inside.sum() < 10  # at most a corner that slips between the grid's points
            continue
        if not inside.any():
            continue
        u0, v0, u1, v1 = found[index].box
        uv = np.column_stack([u.ravel(), v.ravel()])[inside]
        assert (uv.min(axis=0) >= np.array([u0, v0]) - 1e-6).all()
        assert (uv.max(axis=0) <= np.array([u1, v1]) + 1e-6).all()
        if inside.sum() > 2000:  # near a corner of the box the section's own corners are sharper than the grid
            assert uv.min(axis=0) == pytest.approx([u0, v0], abs=5 * step)
            assert uv.max(axis=0) == pytest.approx([u1, v1], abs=5 * step)


@pytest.mark.parametrize(("k", "expected"), [(4.0, 4), (4.3, 4), (4.5, 5), (4.7, 5), (0.0, 0), (-0.4, 0), (11.4, 11)])
def test_a_flat_box_is_on_exactly_one_slice(volume, k, expected):
    found = prompts_by_slice(Prompts(box=Box.from_corners(at(10, 20, k), at(20, 30, k))), volume, "axial")
    assert list(found) == [expected]
    assert found[expected].box == pytest.approx((10, 20, 20, 30))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(4.1, 4.3, [4]), (4.6, 4.9, [5]), (3.9, 4.8, [4]), (4.0, 5.0, [4, 5]), (3.5, 4.5, [4]), (3.6, 5.4, [4, 5])],
)
def test_thin_boxes_are_on_the_slice_they_are_nearest_to(volume, low, high, expected):
    box = Box.from_corners(at(10, 20, low), at(20, 30, high))
    found = prompts_by_slice(Prompts(box=box), volume, "axial")
    assert list(found) == expected
    assert all(seen.box == pytest.approx((10, 20, 20, 30)) for seen in found.values())


def test_a_box_partly_outside_is_clipped_with_a_note(volume):
    prompts, notes = fit_to_volume(Prompts(box=Box.from_corners(at(-15, 20, 8), at(20, 80, 30))), volume)
    assert notes == ("The box reaches beyond the volume and was clipped to it.",)
    found = prompts_by_slice(prompts, volume, "axial")
    assert list(found) == [8, 9, 10, 11]
    assert found[8].box == pytest.approx((-0.5, 20, 20, 49.5))


def test_a_box_wholly_outside_is_refused(volume):
    with pytest.raises(PromptError, match="outside 'CT'; move it"):
        fit_to_volume(Prompts(box=Box.from_corners(at(-30, 20, 8), at(-2, 30, 9))), volume)


def test_a_flat_box_seen_from_its_edge_is_refused_with_the_remedy(volume):
    upright = Box.from_corners(at(10, 20, 3), at(20, 20, 6))
    with pytest.raises(PromptError, match=r"No axial slice.*choose the orientation"):
        prompts_by_slice(Prompts(box=upright), volume, "axial")
    assert list(prompts_by_slice(Prompts(box=upright), volume, "coronal")) == [20]


def test_a_plane_that_the_prompts_do_not_touch_sees_nothing(volume):
    prompts = Prompts(include=[at(10, 20, 3)], box=Box.from_corners(at(5, 15, 2), at(15, 25, 4)))
    seen = on_plane(prompts, slice_plane(volume, "axial", 8))
    assert seen.kinds == frozenset()
    assert not seen.says_where


def test_an_oblique_plane_sees_points_and_box_like_the_slice_it_lies_on(volume):
    prompts = Prompts(
        include=[at(10, 20, 5.3), at(10, 20, 6)], box=Box(at(12, 22, 5), rotation((1, 1, 0), 30), [9, 12, 30])
    )
    straight = slice_plane(volume, "axial", 5)
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[:3, 3] = at(30, 25, 5)
    plane = oblique_plane(volume, matrix)
    expected, seen = on_plane(prompts, straight), on_plane(prompts, plane)
    assert len(seen.points) == 1

    def ras(frame, points):
        return [(frame.to_ras @ [u, v, 0, 1])[:3] for u, v in points]

    assert ras(plane, seen.points) == pytest.approx(np.array(ras(straight, expected.points)))
    corners = np.array(seen.box).reshape(2, 2)
    assert ras(plane, corners) == pytest.approx(np.array(ras(straight, np.array(expected.box).reshape(2, 2))))


@pytest.mark.parametrize("size", [(0, 0, 5), (-1, 5, 5), (5, np.nan, 5)])
def test_boxes_without_an_area_are_refused(size):
    with pytest.raises(PromptError, match="box"):
        Box(np.zeros(3), np.eye(3), np.array(size, float))


def test_points_that_are_no_numbers_are_refused():
    with pytest.raises(PromptError, match=r"include point.*not a number"):
        Prompts(include=[[1, np.nan, 3]])


def test_prompts_are_reported_as_plain_numbers(volume):
    prompts = Prompts(include=[[1, 2, 3]], box=Box(np.zeros(3), rotation((0, 0, 1), 90), [4, 5, 6]))
    reported = json.loads(json.dumps(prompts.as_dict()))
    assert reported["include"] == [[1, 2, 3]]
    assert reported["exclude"] == []
    assert reported["box"]["size"] == [4, 5, 6]
    assert np.array(reported["box"]["axes"]) == pytest.approx(np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]))


def test_what_a_plane_sees_says_where_only_with_an_include_point_box_or_mask():
    assert not PlanePrompts(points=[[1, 2]], labels=[0]).says_where
    assert PlanePrompts(points=[[1, 2]], labels=[1]).says_where
    assert PlanePrompts(box=(1, 2, 3, 4)).says_where
    assert PlanePrompts(mask=np.zeros((1, 4, 4))).says_where
