"""Lists in messages, cut so that a message stays a few lines whatever a folder holds."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LISTED = 8
_MOST_LETTERS = 200


def listed(names: Iterable[object], most: int = MOST_LISTED, quoted: bool = False, joint: str = ", ") -> str:
    """Names for a message, with the number of those that are left out; very long ones are cut, too.

    :param most: how many are named.
    :param quoted: put each between quotation marks.
    :param joint: what stands between two.

    >>> listed([1, 2, 3]), listed(["a", "b", "c", "d"], most=2, quoted=True)
    ('1, 2, 3', "'a', 'b' and 2 more")
    """
    given = [str(name) for name in names]
    cut = (name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 4]} ..." for name in given[:most])
    shown = joint.join(f"'{name}'" if quoted else name for name in cut)
    return shown + (f" and {len(given) - most} more" if len(given) > most else "")


def listed_labels(names: Iterable[str], most: int = 12) -> str:
    """Segments and label values for a message: names between quotation marks, values as they are.

    >>> listed_labels(["1", "2", "Liver"])
    "1, 2, 'Liver'"
    """
    return listed((name if name.lstrip("-").isdigit() else f"'{name}'" for name in names), most)
