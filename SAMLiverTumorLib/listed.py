"""Lists in messages, cut so that a message stays a few lines whatever a folder holds."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LISTED = 8


def listed(names: Iterable[object], most: int = MOST_LISTED, quoted: bool = False) -> str:
    """Names for a message, with the number of those that are left out.

    :param most: how many are named.
    :param quoted: put each between quotation marks.

    >>> listed([1, 2, 3]), listed(["a", "b", "c", "d"], most=2, quoted=True)
    ('1, 2, 3', "'a', 'b' and 2 more")
    """
    given = list(names)
    shown = ", ".join(f"'{name}'" if quoted else str(name) for name in given[:most])
    return shown + (f" and {len(given) - most} more" if len(given) > most else "")
