"""Compare two label files: choose segments and label, bring both onto one grid, and evaluate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.evaluate import Evaluation, evaluate
from SAMLiverTumorLib.io.labels.dataset_json import LIVER, TUMOR
from SAMLiverTumorLib.io.labels.grids import common_grid, onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.liver import is_liver, is_liver_tumor, segments_named
from SAMLiverTumorLib.io.labels.lone_label import is_named_liver, is_named_tumor
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
    asked = segment is not None or label is not None
    prediction, prediction_notes = _chosen_segments(prediction, segment)
    values = reference.label_values
    reference, label, reference_notes = chosen_label(reference, label, option)
    if segment is None and len(prediction.entries) > 1:
        prediction, said = _of_several(prediction, reference, label, values)
        prediction_notes += said
    if not asked:
        _refuse_liver_and_tumor(prediction, reference, option)
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
    if not (found := segments_named(prediction, wanted)):
        raise InputError(f"'{prediction.name}' has no segment '{wanted}'; it has {_held(prediction)}.")
    return replace(prediction, entries={found[0]: prediction.entries[found[0]]}), []


def _of_several(
    prediction: LabelFile, reference: LabelFile, label: str, values: Mapping[str, int]
) -> tuple[LabelFile, list[str]]:
    """What is judged of a prediction with several segments, and a note that says so.

    :param reference, label: with the chosen label only, and its name.
    :param values: of all labels of the reference. Where there are several, the same of the prediction is meant.
    """
    value = values.get(label) if len(values) > 1 else None
    in_lits = {"1": LIVER, "2": TUMOR}.get(label) if set(values) == {"1", "2"} and not reference.from_slicer else None
    names = list(prediction.entries)
    tumors = [name for name in names if is_liver_tumor(prediction, name)]
    if len(tumors) == len(names):
        return prediction, []
    livers = [name for name in names if is_liver(prediction, name)]
    is_tumor = is_liver_tumor(reference, label) or in_lits == TUMOR or (not in_lits and is_named_tumor(reference.name))
    wants_liver = is_liver(reference, label) or in_lits == LIVER or (not is_tumor and is_named_liver(reference.name))
    chosen: list[str] = []
    if value is not None and label in names:
        chosen = [label]
    elif is_tumor and (livers or is_liver_tumor(reference, label)):
        chosen = tumors
    elif wants_liver and livers:
        # most label sets cut tumors out of the liver
        chosen = [*livers, *tumors]
    if not chosen and value is not None and not prediction.from_slicer:
        chosen = [name for name in names if prediction.label_values[name] == value and name == str(value)]
    if chosen:
        what = listed_labels(chosen)
        note = f"Of '{prediction.name}' {what} alone is judged, as of the reference; --segment chooses another."
        return replace(prediction, entries={name: prediction.entries[name] for name in chosen}), [note]
    if livers and not wants_liver:
        raise InputError(f"'{prediction.name}' holds {_held(prediction)}; choose what is judged with --segment.")
    return prediction, [f"All {len(names)} segments of '{prediction.name}' are judged together: {_held(prediction)}."]


def _refuse_liver_and_tumor(prediction: LabelFile, reference: LabelFile, option: str) -> None:
    """Refuse a liver beside a tumor: each is the only segment of its file, or taken by its name, and nobody asked."""
    for one, other in ((prediction, reference), (reference, prediction)):
        livers = [name for name in one.entries if is_liver(one, name)]
        tumors = [name for name in other.entries if is_liver_tumor(other, name)]
        if livers and tumors and len(livers) == len(one.entries) and len(tumors) == len(other.entries):
            raise InputError(
                f"'{one.name}' holds {listed_labels(livers)} and '{other.name}' {listed_labels(tumors)}, which are not "
                f"the same; name other files, or say with --segment and {option} that this is meant."
            )


def chosen_label(
    reference: LabelFile, wanted: str | None, option: str = "--label", what: str = "reference"
) -> tuple[LabelFile, str, list[str]]:
    """A label file with only the chosen label (or none, if it has no such voxel), its name, and notes.

    :param wanted: a segment's name, a label's value, or None for the only one, or the only one that is named a tumor.
    :param option: how to choose it, for error messages.
    :param what: what the file is called in notes.
    :raises InputError: there is no such segment, or there are several to choose from.
    """
    if wanted is None:
        tumors = [name for name in reference.entries if is_liver_tumor(reference, name)]
        if len(reference.entries) > 1 and len(tumors) == 1:
            note = f"Of '{reference.name}' {listed_labels(tumors)} was taken by its name; {option} chooses another."
            return replace(reference, entries={tumors[0]: reference.entries[tumors[0]]}), tumors[0], [note]
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
