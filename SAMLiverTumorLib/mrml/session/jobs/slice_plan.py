"""Which slices a segment's prompts apply to, and which prompts each slice sees. Independent of Slicer.

A point applies to the slice through it in the view it was placed in. A box applies to the slices chosen for it, or to
all slices it crosses. Which prompts a slice then sees depends on position alone, as in `inference.segment_slices`:
every point within half a slice step of it, and the box's section.

The view is stored as text: "axial", "coronal", "sagittal", or "oblique" and the plane's 12 numbers. A box's note
lists slices ("axial 12; axial 13") or says "through axial".
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field, replace

import numpy as np

from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.plane import ORIENTATIONS, Plane, oblique_plane, slice_at, slice_count, slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts, Prompts, fit_to_volume, on_plane, prompts_by_slice
from SAMLiverTumorLib.volume import Volume, apply_affine

SliceKey = tuple[str, object]

_THROUGH = "through"
_PARALLEL = 1.0 - 1e-5


@dataclass(frozen=True)
class View:
    """The slice that the user looks at: one of the volume's own grid, or an oblique plane.

    :param name: "axial", "coronal", "sagittal" or "oblique".
    :param index: the slice's voxel index along its normal; None if oblique.
    :param sliceToRas: upper 12 numbers of an oblique plane's 4x4 matrix, row by row.
    """

    name: str
    index: int | None = None
    sliceToRas: tuple[float, ...] | None = None

    @property
    def key(self) -> SliceKey:
        """Identifies the slice."""
        return self.name, self.index if self.sliceToRas is None else self.sliceToRas

    @property
    def note(self) -> str:
        """The view as text, for points."""
        if self.sliceToRas is None:
            return self.name
        return " ".join([self.name, *(repr(x) for x in self.sliceToRas)])

    @property
    def sliceNote(self) -> str:
        """The slice as text, for the box."""
        return f"{self.name} {self.index}" if self.sliceToRas is None else self.note

    def plane(self, volume: Volume) -> Plane:
        """The plane in a volume.

        :raises SAMLiverTumorError: it does not cut the volume.
        """
        if self.sliceToRas is None:
            return slice_plane(volume, self.name, self.index)
        return oblique_plane(volume, np.vstack([np.reshape(self.sliceToRas, (3, 4)), [0, 0, 0, 1]]))


def viewFromMatrix(volume: Volume, sliceToRas: np.ndarray) -> View:
    """The view for a slice node's SliceToRAS matrix (4x4): a straight one where it is parallel to the grid.

    :raises PromptError: it does not cut the volume.
    """
    sliceToRas = np.asarray(sliceToRas, float)
    normal = sliceToRas[:3, 2] / np.linalg.norm(sliceToRas[:3, 2])
    for name in ORIENTATIONS:
        w = slice_plane(volume, name, 0).to_ras[:3, 2]
        if abs(normal @ w) > _PARALLEL * np.linalg.norm(w):
            return View(name, slice_at(volume, name, sliceToRas[:3, 3]).index)
    # rounded so that the same view gives the same text; the rounding is far below a voxel
    view = View("oblique", None, tuple(np.round(sliceToRas[:3], 9).ravel().tolist()))
    view.plane(volume)
    return view


def parseNote(note: str) -> View | None:
    """The view that a point's note names, without a slice index; None if it names none."""
    words = note.split()
    if len(words) == 1 and words[0] in ORIENTATIONS:
        return View(words[0])
    if len(words) == 13 and words[0] == "oblique":
        return View("oblique", None, tuple(float(x) for x in words[1:]))
    return None


def throughNote(orientation: str) -> str:
    """The note of a box that applies to every slice it crosses."""
    return f"{_THROUGH} {orientation}"


@dataclass(frozen=True, eq=False)
class PlannedSlice:
    """A slice to segment, its prompts, and a key that identifies both."""

    plane: Plane
    seen: PlanePrompts
    promptKey: Hashable


@dataclass(frozen=True, eq=False)
class Plan:
    """The slices that the prompts apply to.

    :param slices: those with an include point or a box.
    :param lone: those with exclude points only, which mark no tumor by themselves.
    :param notes: for the user.
    :param isThrough: whether the box applies to every slice that it crosses.
    """

    slices: dict[SliceKey, PlannedSlice]
    lone: dict[SliceKey, PlannedSlice] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    prompts: Prompts | None = None
    isThrough: bool = False

    def loneNotes(self, settled: Collection[SliceKey] = ()) -> tuple[str, ...]:
        """Notes for the user on slices with exclude points only, except those already handled."""
        names = [
            f"{name} {where}" if isinstance(where, int) else name
            for name, where in self.lone
            if (name, where) not in settled
        ]
        if not names:
            return ()
        return (f"There are exclude points only on {listed(names)}; add an include point or a box there.",)


def planSlices(
    prompts: Prompts, pointNotes: list[str], boxNote: str, volume: Volume, orientation: str = "axial"
) -> Plan:
    """Plan what to segment.

    :param pointNotes: the views of the include points, then of the exclude points.
    :param boxNote: the slices of the box.
    :param orientation: for prompts whose note names no view.
    :raises PromptError: a point or the box lies outside the volume.
    """
    if not prompts.kinds:
        return Plan({})
    prompts, notes = fit_to_volume(prompts, volume)
    views: dict[SliceKey, View] = {}
    for point, note in zip([*prompts.include, *prompts.exclude], pointNotes, strict=True):
        view = parseNote(note) or View(orientation)
        if view.sliceToRas is None:
            view = View(view.name, slice_at(volume, view.name, point).index)
        views[view.key] = view
    for view in _boxViews(prompts, boxNote, volume, orientation):
        views[view.key] = view
    slices: dict[SliceKey, PlannedSlice] = {}
    lone: dict[SliceKey, PlannedSlice] = {}
    for key, view in views.items():
        plane = view.plane(volume)
        seen = on_plane(prompts, plane)
        planned = PlannedSlice(plane, seen, (seen.points.tobytes(), seen.labels.tobytes(), seen.box))
        if seen.says_where:
            slices[key] = planned
        elif len(seen.points):
            lone[key] = planned
    isThrough = prompts.box is not None and boxNote.split()[:1] == [_THROUGH]
    return Plan(slices, lone, notes, prompts, isThrough)


def _boxViews(prompts: Prompts, note: str, volume: Volume, orientation: str) -> list[View]:
    if prompts.box is None:
        return []
    words = note.split()
    if words[:1] == [_THROUGH]:
        name = words[1] if len(words) == 2 and words[1] in ORIENTATIONS else orientation
        nothing = np.zeros((0, 3))
        crossed = prompts_by_slice(replace(prompts, include=nothing, exclude=nothing), volume, name)
        return [View(name, index) for index in crossed]
    views = []
    for part in note.split(";"):
        view = _parseSlice(part.split(), volume)
        if view is not None and on_plane(Prompts(box=prompts.box), view.plane(volume)).box is not None:
            views.append(view)
    if not views:
        # drawn on a slice it does not cross, or moved since: use the slice through its middle
        first = parseNote(note.split(";")[0]) or View((words or [orientation])[0])
        name = first.name if first.name in ORIENTATIONS else orientation
        ijk = np.clip(apply_affine(volume.ras_to_ijk, prompts.box.center)[0], 0, np.array(volume.dimensions) - 1)
        views = [View(name, slice_at(volume, name, apply_affine(volume.ijk_to_ras, ijk)[0]).index)]
    return views


def _parseSlice(words: list[str], volume: Volume) -> View | None:
    try:
        if len(words) == 2 and words[0] in ORIENTATIONS:
            index = int(words[1])
            return View(words[0], index) if 0 <= index < slice_count(volume, words[0]) else None
        view = parseNote(" ".join(words))
        if view is None or view.sliceToRas is None:
            return None
        view.plane(volume)
        return view
    except (ValueError, InputError, PromptError):
        return None  # a note of another volume, or damaged
