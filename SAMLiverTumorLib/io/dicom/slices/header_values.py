"""Values of DICOM headers as scanners, exporters and de-identifiers leave them: numbers in texts, texts for numbers."""

from __future__ import annotations

import math


def text_of(dataset, keyword: str) -> str:
    """A value as text, several joined by backslashes as in the file; empty where the header has none.

    Whatever its VR and whatever is in it: pydicom refuses to make a number of a text only when asked for the value.
    """
    value = _value(dataset, keyword)
    if value is None:
        return ""
    if isinstance(value, (str, bytes)):
        text = value.decode("latin-1") if isinstance(value, bytes) else value
    elif hasattr(value, "__iter__"):
        text = "\\".join(str(each) for each in value)
    else:
        text = str(value)
    return text.strip("\0 \t\r\n")


def number_of(dataset, keyword: str) -> tuple[float | None, str]:
    """(a finite number, the header's text); None where there is none, or several that differ."""
    values, text = numbers_of(dataset, keyword)
    return (values[0] if values and len(set(values)) == 1 else None), text


def numbers_of(dataset, keyword: str) -> tuple[tuple[float, ...], str]:
    """(finite numbers, the header's text); no numbers where one of them is not.

    A comma counts as the decimal point.
    """
    text = text_of(dataset, keyword)
    try:
        values = tuple(float(part.strip().replace(",", ".")) for part in text.split("\\")) if text else ()
    except ValueError:
        values = ()
    return (values if all(map(math.isfinite, values)) else ()), text


def _value(dataset, keyword: str):
    try:
        return dataset.get(keyword)
    except (ValueError, TypeError, OverflowError, NotImplementedError, AttributeError):
        # the bytes as they are in the file
        return getattr(dataset.get_item(keyword), "value", None)
