"""Markups of all ages of Slicer and of people's scripts are read at their place, or refused in words of the user's."""

import json

import numpy as np
import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import boxFromNode, definedPointsRas
from SAMLiverTumorLib.mrml.scene_files import loadMarkups
from SAMLiverTumorLib.prompts import Box

RAS = [-9.0, 3.0, -252.0]
LPS = [9.0, -3.0, -252.0]
SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"


def fiducial(position=LPS, system="LPS", **more):
    points = [{"id": "1", "label": "F-1", "position": position}]
    return {"type": "Fiducial", "coordinateSystem": system, "controlPoints": points, **more}


def roi(**more):
    center = [9.0, -3.0, -252.0]
    return {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "roiType": "Box",
        "center": center,
        "orientation": [-1, 0, 0, 0, -1, 0, 0, 0, 1],
        "size": [25.5, 22.5, 4.0],
        "controlPoints": [{"id": "1", "label": "R", "position": center}],
        **more,
    }


def text(*markups):
    return json.dumps({"@schema": f"{SCHEMA}markups-schema-v1.0.3.json#", "markups": markups}, ensure_ascii=False)


def fcsv(system, position, version="4.10", columns="id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"):
    x, y, z = position
    row = f'vtkMRMLMarkupsFiducialNode_0,{x},{y},{z},0,0,0,1,1,1,0,"F-1, left",,'
    head = [f"# Markups fiducial file version = {version}", f"# CoordinateSystem = {system}", f"# columns = {columns}"]
    return "\n".join([*head, row, ""])


@pytest.fixture
def load(tmp_path):
    def load(content, name="点.mrk.json", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return loadMarkups(createScene(), path)

    return load


@pytest.mark.parametrize(
    "content",
    [
        text(fiducial()),
        text(fiducial(RAS, "RAS")),
        text(fiducial(RAS, "0")),
        text(fiducial(LPS, "1")),
        text(fiducial(RAS, 0)),
        text(fiducial(LPS, "lps")),
        text(fiducial(coordinateUnits=["mm", "mm", "mm"])),
        text(fiducial(measurements=[{"name": "length", "enabled": False, "value": None}])),
        text(fiducial(), {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": []}),
        text({"type": "Fiducial"}, fiducial()),
        "\n\n" + text(fiducial()),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_point_is_where_its_file_says(load, content, encoding):
    assert definedPointsRas(load(content, encoding=encoding)).tolist() == [RAS]


@pytest.mark.parametrize(
    "content",
    [
        fcsv("0", RAS),
        fcsv("1", LPS),
        fcsv("RAS", RAS, "4.13"),
        fcsv("LPS", LPS, "4.11"),
        fcsv("LPS", LPS).replace("\n", "\r\n"),
        "\ufeff" + fcsv("0", RAS),
        # of Slicer 3
        "# Fiducial List file x.fcsv\n# columns = label,x,y,z,sel,vis\nF-1,-9,3,-252,1,1\n",
    ],
)
@pytest.mark.parametrize("name", ["a.fcsv", "点.fcsv", "a.mrk.json"])
def test_a_fcsv_is_read_in_the_coordinates_that_it_names(load, content, name):
    assert definedPointsRas(load(content, name)).tolist() == [RAS]


@pytest.mark.parametrize(
    "more", [{}, {"size": [-25.5, 22.5, -4.0]}, {"controlPoints": []}, {"measurements": [{"name": "volume"}]}]
)
def test_a_box_has_its_place_and_size(load, more):
    box = boxFromNode(load(text(roi(**more))))
    assert np.allclose(box.center, RAS) and np.allclose(box.size, [25.5, 22.5, 4.0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (text({"type": "Line", "controlPoints": []}), "type 'Line'; a point list or an ROI .* save it as .mrk.json"),
        (text(fiducial(), fiducial()), "holds 2 markups objects; save the one you mean"),
        (text(fiducial(system="IJK")), "coordinate system 'IJK' is neither LPS nor RAS.*save .*mrk.json"),
        (text(fiducial(coordinateUnits="cm")), "in 'cm', not in mm"),
        (text(fiducial([float("nan")] * 3)), "position is"),
        ("", "it is empty"),
        ("Point,1,2,3\n", "it is no JSON"),
        ("# columns = a,b\n", "it is no JSON"),
        ("<?xml version='1.0'?><MRML></MRML>", "it is XML, such as a scene"),
        (text(fiducial())[:-20], "JSON that is damaged or cut off"),
        (b'{"markups": "\xff\xfe"}', "not in UTF-8"),
        (fcsv("2", RAS), "coordinate system '2'"),
        (fcsv("0", ("x", 1, 2)), "line 4 has no coordinates"),
        (fcsv("0", ("nan", 1, 2)), "line 4 has no coordinates"),
        (fcsv("0", RAS, columns="id,label"), "line 4 has no coordinates"),
        ("[]", "it has no list of markups"),
        ("{}", "it has no list of markups"),
    ],
)
def test_what_is_not_read_is_refused_in_the_users_words(load, content, said):
    with pytest.raises(InputError, match=said) as refused:
        load(content)
    assert "codec" not in str(refused.value) and "Expecting" not in str(refused.value)


@pytest.mark.parametrize(
    "more",
    [
        {"size": [-25.5, 22.5, 4.0]},
        {"size": [-25.5, -22.5, -4.0]},
        # one axis turned makes a left hand of three, two are a half turn
        {"orientation": [1, 0, 0, 0, -1, 0, 0, 0, 1]},
        {"orientation": [1, 0, 0, 0, 1, 0, 0, 0, -1]},
        {"orientation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "size": [-25.5, 22.5, -4.0]},
    ],
)
def test_a_box_written_inside_out_is_the_same_box(load, more):
    box = boxFromNode(load(text(roi(**more))))
    half = np.array([12.75, 11.25, 2])
    low, high = RAS - half, RAS + half
    assert box.corners.min(axis=0) == pytest.approx(low) and box.corners.max(axis=0) == pytest.approx(high)
    assert box.contains([high - 0.1, high + np.array([0.1, 0, 0])]).tolist() == [True, False]


def test_a_box_that_marks_all_around_it_is_refused_and_so_are_axes_that_span_none(load):
    with pytest.raises(InputError, match="is inside out: it marks everything but the box"):
        boxFromNode(load(text(roi(insideOut=True))))
    with pytest.raises(InputError, match="span no box"):
        boxFromNode(load(text(roi(orientation=[1, 0, 0, 0, 0, 0, 0, 0, 1]))))


def test_the_order_of_corners_does_not_matter():
    corners = np.array([[-4, -8, -12], [6, 12, 18]])
    for signs in np.ndindex(2, 2, 2):
        first = corners[list(signs), range(3)]
        box = Box.from_corners(first, corners.sum(axis=0) - first)
        assert (box.corners.min(axis=0) == corners[0]).all() and (box.corners.max(axis=0) == corners[1]).all()
