"""Compare two label files: choose segments and label, bring both onto one grid, and evaluate."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.evaluate import Evaluation, evaluate
from SAMLiverTumorLib.io.labels.grids import common_grid, onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.liver import is_liver_tumor
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.listed import listed_labels

_NOTHING = "(nothing)"


@dataclass(frozen=True, eq=False)
class Compared:
    """An evaluation of two label files.

    :param segments: names of the predicted segments.
    :param label: name of the reference's label.
    :param dimensions: voxels along (i, j, k) of the common grid.
    :param voxel_volume_ml: volume of one voxel of that grid.
    :param notes: shown to the user.
    """

    evaluation: Evaluation
    segments: tuple[str, ...]
    label: str
    dimensions: tuple[int, int, int]
    voxel_volume_ml: float
    notes: tuple[str, ...]


def compare_labels(
    prediction: LabelFile,
    reference: LabelFile,
    segment: str | None = None,
    label: str | None = None,
    min_ml: float = 0.0,
    progress: Callable[[int, int | None], None] | None = None,
    option: str = "--label",
) -> Compared:
    """Compare a segmentation with a reference on the reference's voxels, surfaces included.

    :param segment: only this segment of the prediction; None for all.
    :param label: see `chosen_label`.
    :param min_ml: smaller components of the reference do not count as lesions.
    :param progress: called with (done, total).
    :param option: how to choose the label, for error messages.
    :raises InputError: there is no such segment or label, there are several to choose from, or the two do not overlap.

    >>> compare_labels(read_labels("out.seg.nrrd"), read_labels("label.nii.gz"), label="2")   # doctest: +SKIP
    """
    several = len(reference.entries) > 1
    prediction, prediction_notes = _chosen_segments(prediction, segment)
    reference, label, reference_notes = chosen_label(reference, label, option)
    if segment is None and len(prediction.entries) > 1:
        prediction, said = _of_several(prediction, label if several else None)
        prediction_notes += said
    affine, dimensions, grid_notes = common_grid(prediction, reference)
    prediction, moved = onto_grid(prediction, affine, dimensions)
    reference, _ = onto_grid(reference, affine, dimensions)
    nothing = np.zeros(dimensions[::-1], bool)
    segments = prediction.segments or {_NOTHING: nothing}
    mask = reference.segments[label] if reference.entries else nothing
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    evaluation = evaluate(segments, mask, reference.voxel_volume_ml, min_ml, progress, spacing)
    notes = (*prediction.notes, *reference.notes, *prediction_notes, *reference_notes, *grid_notes, *moved)
    if lost := doubtful_spacing(dimensions, affine, reference.name):
        notes = (*notes, lost)
    notes = tuple(dict.fromkeys(notes))
    return Compared(evaluation, tuple(segments), label, dimensions, reference.voxel_volume_ml, notes)


def _chosen_segments(prediction: LabelFile, wanted: str | None) -> tuple[LabelFile, list[str]]:
    """The prediction with only the chosen segment, or with all; and notes."""
    if wanted is None:
        empty = [f"'{prediction.name}' holds no labeled voxel: an empty prediction."] * (not prediction.entries)
        return prediction, empty
    if wanted not in prediction.entries:
        raise InputError(f"'{prediction.name}' has no segment '{wanted}'; it has {_held(prediction)}.")
    return replace(prediction, entries={wanted: prediction.entries[wanted]}), []


def _of_several(prediction: LabelFile, label: str | None) -> tuple[LabelFile, list[str]]:
    """What is judged of a prediction with several segments, and a note that says so.

    :param label: the reference's, where that was chosen from several too: the same of the prediction is meant.
    """
    if label in prediction.entries:
        note = f"Of '{prediction.name}' {label} alone is judged, as of the reference; --segment chooses another."
        return replace(prediction, entries={label: prediction.entries[label]}), [note]
    if all(is_liver_tumor(prediction, name) for name in prediction.entries):
        return prediction, []
    number = len(prediction.entries)
    return prediction, [f"All {number} segments of '{prediction.name}' are judged together: {_held(prediction)}."]


def chosen_label(
    reference: LabelFile, wanted: str | None, option: str = "--label", what: str = "reference"
) -> tuple[LabelFile, str, list[str]]:
    """A label file with only the chosen label (or none, if it has no such voxel), its name, and notes.

    :param wanted: a segment's name, a label's value, or None for the only one.
    :param option: how to choose it, for error messages.
    :param what: what the file is called in notes.
    :raises InputError: there is no such segment, or there are several to choose from.
    """
    if wanted is None:
        if len(reference.entries) > 1:
            lits = " (in LiTS data 1 is the liver, 2 the tumor)" if set(reference.entries) == {"1", "2"} else ""
            raise InputError(f"'{reference.name}' holds {_held(reference)}{lits}; choose one with {option}.")
        name = next(iter(reference.entries), None)
    elif wanted in reference.entries:
        name = wanted
    elif same := [name for name in reference.entries if name.strip().lower() == wanted.strip().lower()]:
        name = same[0]
    else:
        number = int(wanted) if re.fullmatch(r"[+-]?[0-9]{1,10}", wanted) else 0
        names = [name for name, value in reference.label_values.items() if value == number]
        if len(names) > 1:
            shown = listed_labels(names)
            raise InputError(f"In '{reference.name}' segments {shown} have the value {number}; name one of them.")
        if not names and (not number or reference.from_slicer):
            raise InputError(f"'{reference.name}' has no label '{wanted}'; it has {_held(reference)}.")
        name = names[0] if names else None
    if name is not None:
        return replace(reference, entries={name: reference.entries[name]}), name, []
    # Patients without a tumor are valid cases; their label map has no tumor voxel.
    wanted = wanted or _NOTHING
    note = f"'{reference.name}' has no voxel of label {wanted}; it has {_held(reference)}: an empty {what}."
    return replace(reference, entries={}), wanted, [note]


def _held(labels: LabelFile) -> str:
    """Names of a file's segments, for messages."""
    return listed_labels(labels.entries) or "no label at all"
