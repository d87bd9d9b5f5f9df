"""JSON out of files that anybody may have written, and reports as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from SAMLiverTumorLib.errors import printable


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, which answers a text of a thousand open brackets with a RecursionError.

    :raises ValueError: it is no JSON, no UTF-8, or nested too deeply.

    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def json_text(value: Any, indent: int = 1) -> str:
    """A report as JSON with a line's end, in UTF-8 whatever bytes the names of files have: see `printable`.

    :raises ValueError: a number that JSON has not.
    """
    return json.dumps(_printable(value), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _printable(value: Any) -> Any:
    """The value with texts that can be written; before they are quoted, as their backslashes are, too."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value
