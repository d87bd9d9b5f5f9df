"""`delegated`: forwards an attribute of an object to one of its parts, in one line."""

from __future__ import annotations

from operator import attrgetter
from typing import Any


def delegated(path: str, isAssignable: bool = False) -> Any:
    """An attribute that is read from, and optionally written to, a part of the object.

    :param path: the part and its attribute, such as "jobs.slices.settings".

    >>> class Session:
    ...     #: Whether each change of prompts is segmented at once.
    ...     live: bool = delegated("updater.live", isAssignable=True)
    """
    return _Delegated(path, isAssignable)


class _Delegated:
    def __init__(self, path: str, isAssignable: bool) -> None:
        part, _dot, self._attribute = path.rpartition(".")
        self._partOf, self._isAssignable = attrgetter(part), isAssignable

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        return self if instance is None else getattr(self._partOf(instance), self._attribute)

    def __set__(self, instance: object, value: Any) -> None:
        if not self._isAssignable:
            raise AttributeError(f"{type(instance).__name__}.{self._name} can only be read")
        setattr(self._partOf(instance), self._attribute, value)
