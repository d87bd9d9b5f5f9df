"""`Observations`: observers of MRML nodes that are removed together."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable

import vtk


class Observations:
    """Observers by owner."""

    def __init__(self) -> None:
        self._tags: dict[Hashable, list[tuple[vtk.vtkObject, int]]] = {}

    def add(self, owner: Hashable, node: vtk.vtkObject, event: int | str, method: Callable, *arguments: object) -> None:
        """Call a bound method with the arguments at an event, until `remove(owner)` or its object is deleted."""
        self._tags.setdefault(owner, []).append((node, node.AddObserver(event, _Callback(method, arguments))))

    def remove(self, owner: Hashable) -> None:
        """Remove the observers of one owner."""
        for node, tag in self._tags.pop(owner, []):
            node.RemoveObserver(tag)

    def clear(self) -> None:
        """Remove all observers."""
        for owner in list(self._tags):
            self.remove(owner)

    @property
    def count(self) -> int:
        """Number of observers."""
        return sum(len(tags) for tags in self._tags.values())


class _Callback:
    """Calls a method as long as its object exists.

    A session that was not closed may be garbage-collected together with its scene, which then sends events. Calling a
    half-collected function would crash Python; here a missing attribute reads as None.
    """

    __slots__ = ("_arguments", "_method")

    def __init__(self, method: Callable, arguments: tuple) -> None:
        self._method, self._arguments = weakref.WeakMethod(method), arguments

    def __call__(self, _caller: vtk.vtkObject, _event: str) -> None:
        reference = getattr(self, "_method", None)
        method = reference() if reference is not None else None
        if method is not None:
            method(*self._arguments)
