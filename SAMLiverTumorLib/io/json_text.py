"""JSON out of files that anybody may have written."""

from __future__ import annotations

import json
from typing import Any


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
