"""What a `.mrk.json` may hold where, checked before Slicer's reader sees it: it takes types for granted and crashes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def markups_in(tree: Any) -> list[Mapping[str, Any]]:
    """The markups objects in a parsed `.mrk.json`, each with values of the types that Slicer writes.

    Keys are those of Slicer's markups schema 1.0.3; others are ignored by its reader.

    :raises ValueError: it holds no markups, or something in them is of another type.
    """
    if not isinstance(tree, Mapping) or not isinstance(tree.get("markups"), list):
        raise ValueError("it has no list of markups")
    if not isinstance(tree.get("@schema", ""), str):
        raise ValueError("its schema is no text")
    for each in tree["markups"]:
        _check(each, _MARKUPS, "markups")
        if "type" not in each:
            raise ValueError("a markup has no type")
    return tree["markups"]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _numbers(count: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_position(value: Any) -> bool:
    # points that are not placed yet have none
    return value is None or value == [] or _numbers(3)(value)


def _is_units(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and len(value) == 3 and all(map(_is_text, value)))


Form = Mapping[str, Any]

_CODE: Form = dict.fromkeys(("CodingSchemeDesignator", "CodeValue", "CodeMeaning"), _is_text)

_POINT: Form = {
    **dict.fromkeys(("id", "label", "description", "associatedNodeID", "positionStatus"), _is_text),
    **dict.fromkeys(("selected", "locked", "visibility"), _is_switch),
    "position": _is_position,
    "orientation": _numbers(9),
}

_MEASUREMENT: Form = {
    **dict.fromkeys(("name", "units", "description", "printFormat"), _is_text),
    "enabled": _is_switch,
    **dict.fromkeys(("value", "displayCoefficient"), _is_number),
    "quantityCode": lambda value: _is_text(value) or _fits(value, _CODE),
    "unitsCode": lambda value: _is_text(value) or _fits(value, _CODE),
    "methodCode": lambda value: _is_text(value) or _fits(value, _CODE),
    "derivationCode": lambda value: _is_text(value) or _fits(value, _CODE),
    "controlPointValues": lambda value: isinstance(value, list) and all(map(_is_number, value)),
}

_DISPLAY: Form = {
    **dict.fromkeys(("color", "selectedColor", "activeColor", "sliceProjectionColor"), _numbers(3)),
    **dict.fromkeys(("glyphType", "snapMode"), _is_text),
    **dict.fromkeys(
        (
            *("opacity", "textScale", "glyphScale", "glyphSize", "sliceProjectionOpacity", "lineThickness"),
            *("lineColorFadingStart", "lineColorFadingEnd", "lineColorFadingSaturation", "lineColorFadingHueOffset"),
            *("lineDiameter", "interactionHandleScale", "fillOpacity", "outlineOpacity"),
        ),
        _is_number,
    ),
    **dict.fromkeys(
        (
            *("visibility", "propertiesLabelVisibility", "pointLabelsVisibility", "useGlyphScale", "sliceProjection"),
            *("sliceProjectionUseFiducialColor", "sliceProjectionOutlinedBehindSlicePlane", "handlesInteractive"),
            *("translationHandleVisibility", "rotationHandleVisibility", "scaleHandleVisibility", "fillVisibility"),
            *("canDisplayScaleHandles", "outlineVisibility", "occludedVisibility"),
        ),
        _is_switch,
    ),
}

_MARKUPS: Form = {
    **dict.fromkeys(("type", "labelFormat", "roiType", "planeType", "sizeMode", "name"), _is_text),
    "coordinateSystem": lambda value: value in ("LPS", "RAS"),
    "coordinateUnits": _is_units,
    **dict.fromkeys(("locked", "fixedNumberOfControlPoints", "insideOut", "isClosed"), _is_switch),
    **dict.fromkeys(("lastUsedControlPointNumber", "requiredNumberOfControlPoints"), _is_whole),
    "center": _is_position,
    "size": lambda value: _is_position(value) or _numbers(2)(value),
    "orientation": _numbers(9),
    "autoScalingSizeFactor": _is_number,
    "objectToBase": _numbers(16),
    "baseToNode": _numbers(16),
    "controlPoints": [_POINT],
    "measurements": [_MEASUREMENT],
    "display": _DISPLAY,
}


def _check(value: Any, form: Form, where: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is no object")
    for key, wanted in form.items():
        if key not in value:
            continue
        found = value[key]
        if isinstance(wanted, list):
            if not isinstance(found, list):
                raise ValueError(f"{key} is no list")
            for each in found:
                _check(each, wanted[0], key)
        elif isinstance(wanted, Mapping):
            _check(found, wanted, key)
        elif not wanted(found) or (isinstance(found, float) and not math.isfinite(found)):
            raise ValueError(f"{key} is {str(found)[:60]!r}")


def _fits(value: Any, form: Form) -> bool:
    try:
        _check(value, form, "")
    except ValueError:
        return False
    return True
