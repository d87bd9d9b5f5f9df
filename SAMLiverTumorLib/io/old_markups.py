"""Markups of all ages of Slicer, and of people's scripts, in the form that today's Slicer reads."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from typing import Any

from SAMLiverTumorLib.io.json_text import parse_json

# What Slicer 4 and schema 1.0.0 write for a coordinate system.
_SYSTEMS = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}
_MM = ("mm", "millimeter", "millimeters", "millimetre")


def parsed_markups(data: bytes) -> tuple[Any, bool]:
    """A markups file as a tree of today's form, unchecked, and whether that differs from what the file holds.

    :param data: of a `.mrk.json`, with or without a byte order mark, or of a `.fcsv`.
    :raises ValueError: it is neither; the text says what it is instead.
    """
    if re.match(rb"(\xef\xbb\xbf)?\s*#", data):
        return _points_of_fcsv(data), True
    try:
        tree = parse_json(data)
    except UnicodeDecodeError as error:
        raise ValueError("its text is not in UTF-8") from error
    except ValueError as error:
        raise ValueError(f"it is {_kind(data)}") from error
    marked = data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
    if not isinstance(tree, Mapping) or not isinstance(tree.get("markups"), list):
        return tree, marked
    markups = [_as_today(each) if isinstance(each, Mapping) else each for each in tree["markups"]]
    filled = [each for each in markups if not _is_empty(each)]
    if len(markups) > 1 and len(filled) == 1:
        markups = filled
    return {**tree, "markups": markups}, marked or markups != tree["markups"]


def _kind(data: bytes) -> str:
    start = data[:400].lstrip()
    if not start:
        return "empty"
    if start.startswith((b"<?xml", b"<")):
        return "XML, such as a scene"
    if start.startswith(b"{"):
        return "JSON that is damaged or cut off"
    return "no JSON"


def _as_today(markups: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(markups)
    system = changed.get("coordinateSystem")
    if isinstance(system, str | int) and not isinstance(system, bool):
        name = str(system).strip().upper()
        if name not in _SYSTEMS:
            raise ValueError(f"its coordinate system '{str(system)[:40]}' is neither LPS nor RAS")
        changed["coordinateSystem"] = _SYSTEMS[name]
    units = changed.get("coordinateUnits")
    given = [str(each).strip().lower() for each in (units if isinstance(units, list) else [units])]
    if units is not None and set(given) <= set(_MM):
        del changed["coordinateUnits"]
    elif isinstance(units, str) and re.fullmatch(r"[a-z\u00b5]{1,20}", given[0]):
        raise ValueError(f"its coordinates are in '{units}', not in mm")
    # a figure that Slicer has not computed
    if isinstance(figures := changed.get("measurements"), list):
        changed["measurements"] = [
            each for each in figures if not (isinstance(each, Mapping) and each.get("value", 0) is None)
        ]
    return _box_as_today(changed) if changed.get("type") == "ROI" else changed


def _box_as_today(roi: dict[str, Any]) -> dict[str, Any]:
    size, center = roi.get("size"), roi.get("center")
    if size is not None and _are_numbers(size):
        roi["size"] = [abs(each) for each in size]
    if _are_numbers(center) and roi.get("controlPoints", []) == [] and roi.get("roiType", "Box") == "Box":
        roi["controlPoints"] = [{"id": "1", "label": "R", "position": center}]
    return roi


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) in (int, float) for each in value)


def _is_empty(markups: Any) -> bool:
    return isinstance(markups, Mapping) and markups.get("type") == "Fiducial" and not markups.get("controlPoints")


def _points_of_fcsv(data: bytes) -> dict[str, Any]:
    """The point list of a `.fcsv`, as Slicer 3 and 4 saved it.

    :raises ValueError: a line without coordinates, or another coordinate system.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    system, columns, points = "RAS", ["id", "x", "y", "z"], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip().lower() == "coordinatesystem":
                system = _SYSTEMS.get(value.strip().upper(), "")
                if not system:
                    raise ValueError(f"its coordinate system '{value.strip()[:40]}' is neither LPS nor RAS")
            elif key.strip().lower() == "columns":
                columns = [name.strip() for name in value.split(",")]
        elif line.strip():
            points.append(_point(dict(zip(columns, next(csv.reader([line])), strict=False)), number))
    if not points and "fiducial" not in text[:200].lower():
        raise ValueError("it is no JSON")
    return {
        "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
        "markups-schema-v1.0.3.json#",
        "markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": points}],
    }


def _point(values: dict[str, str], number: int) -> dict[str, Any]:
    try:
        position = [float(values[name]) for name in "xyz"]
    except (KeyError, ValueError):
        position = []
    if not position or not all(map(math.isfinite, position)):
        raise ValueError(f"line {number} has no coordinates")
    return {"id": str(number), "label": values.get("label", "").strip()[:200], "position": position}
