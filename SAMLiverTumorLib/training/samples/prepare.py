"""From cases to samples: read, split, encode and store slice by slice, with one volume in memory at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.datasets.cases import (
    Case,
    CaseFiles,
    case_hash,
    find_cases,
    load_case,
    patient_of,
    read_hold_out,
    refuse_doubles,
    refuse_held_out,
)
from SAMLiverTumorLib.datasets.same_names import told_apart
from SAMLiverTumorLib.datasets.series_choice import with_series
from SAMLiverTumorLib.datasets.split import PatientSplit, split_patients, split_slices
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import Window, parse_window
from SAMLiverTumorLib.io.ircadb.lits_cases import overlap_note
from SAMLiverTumorLib.io.labels.dataset_json import VALUES_SAID
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.training.samples.augment import AUGMENTATION, augmented
from SAMLiverTumorLib.training.samples.embedded_samples import Sample, SampleStore
from SAMLiverTumorLib.training.samples.slice_images import SliceImage, case_slice_images
from SAMLiverTumorLib.training.settings import TrainSettings


@dataclass(frozen=True)
class TrainingSet:
    """The samples of a training run.

    :param train: whole slices and augmented copies.
    :param validation: whole slices.
    :param test: whole slices of patients that are neither learned from nor used to choose the best epoch.
    :param split: which patients are in which part.
    :param hashes: of the volumes' voxels and labels, by patient.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    split: PatientSplit
    hashes: dict[str, str]


def labeled_cases(settings: TrainSettings) -> list[CaseFiles]:
    """The cases that the settings name.

    :raises InputError: see `find_cases`; a named patient is missing, or one patient has two names.
    """
    hold_out = read_hold_out(Path(settings.hold_out)) if settings.hold_out else frozenset()
    if not settings.images:
        raise InputError("There is nothing to train on; give --images and --labels.")
    listed_twice: dict[str, list[CaseFiles]] = {}
    windows = settings.windows or [settings.window] * len(settings.images)
    for images, labels, window in zip(settings.images, settings.labels or settings.images, windows, strict=True):
        for case in find_cases(Path(images), Path(labels)):
            listed_twice.setdefault(case.name, []).append(replace(case, window=case.window or window))
    found = {case.name: case for name, cases in listed_twice.items() for case in _told_apart(name, cases)}
    if settings.cases:
        if missing := [name for name in settings.cases if name not in found]:
            raise InputError(f"There is no patient {listed(missing)}; there are {listed(found)}.")
        found = {name: found[name] for name in settings.cases}
    # patients of two centers have the center's name before theirs
    refuse_held_out([each for name, case in found.items() for each in {name, patient_of(case.image)}], hold_out)
    refuse_doubles(list(found))
    return with_series(list(found.values()), settings.series)


def _told_apart(name: str, cases: list[CaseFiles]) -> list[CaseFiles]:
    """Cases of one name, with the names of their folders before it if there are several, as of two centers.

    :raises InputError: two are the same files, or lie in one folder.
    """
    try:
        names = told_apart(name, [Path(os.path.abspath(case.image)) for case in cases], cases[0].image.parent)  # noqa: PTH100
    except InputError:
        raise InputError(f"Patient '{name}' is in two of the folders; leave one out.") from None
    return [replace(case, name=each) for case, each in zip(cases, names, strict=True)]


def prepare(
    settings: TrainSettings,
    store: SampleStore,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    cancel: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
    channels: str = "single",
) -> TrainingSet:
    """Read, split and encode all cases.

    :param progress: called for each patient with its name, the number done and the total.
    :param note: called with remarks that belong with a patient's figures.
    :param channels: of the slice images, see `image.rgb.plane_to_rgb`.
    :raises InputError: no tumor in the training or validation part, or reading or splitting fails.
    """
    cases = labeled_cases(settings)
    split = split_patients(
        [case.name for case in cases], settings.validation, settings.test, settings.validation_share, settings.seed
    )
    parts: dict[str, list[Sample]] = {"train": [], "validation": [], "test": []}
    hashes = {}
    said: dict[str, None] = {}
    scans: dict[tuple[str, str], str] = {}
    if overlap := overlap_note(case.name for case in cases):
        note(overlap)
    for number, files in enumerate(cases):
        progress(files.name, number, len(cases))
        case = load_case(files, settings.label_names)
        for text in case.notes:
            # the same holds for all cases of a set
            if text not in said:
                note(text)
        said |= dict.fromkeys(case.notes)
        same = scans.setdefault((patient_of(files.image), case.volume.voxel_hash), case.name)
        if same != case.name:
            raise InputError(
                f"{same} and {case.name} are the same scan, so they tell nothing of each other; leave one out."
            )
        hashes[case.name] = case_hash(case)
        for part, image in _slice_images_by_part(case, parse_window(files.window), split, settings, channels):
            if cancel():
                break
            copies = settings.copies if part == "train" else 0
            parts[part].extend(_with_copies(image, copies, settings.seed, store))
        if case.name in split.train:
            for image in () if cancel() else _synthetic(case, files.window, split, settings, channels):
                parts["train"].extend(_with_copies(image, min(settings.copies, 1), settings.seed, store))
    progress("", len(cases), len(cases))
    for part, what in (("train", "train on"), ("validation", "validate on"), ("test", "test with")):
        wanted = part != "test" or split.test
        if wanted and not cancel() and not any(sample.numbers for sample in parts[part]):
            names = getattr(split, part)
            values = [text for text in said if text.startswith(VALUES_SAID)]
            raise InputError(
                f"There is no tumor of at least 50 pixels on a slice to {what} in {listed(names)}; check the "
                "meaning of the label values, or choose other patients." + "".join(f" {text}" for text in values[:2])
            )
    return TrainingSet(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]), split, hashes)


def _slice_images_by_part(
    case: Case, window: Window, split: PatientSplit, settings: TrainSettings, channels: str
) -> Iterator[tuple[str, SliceImage]]:
    limit = settings.slices or None
    if split.same_volume:
        images = list(case_slice_images(case, window, settings.negatives, channels, limit))
        with_tumor = [image.index for image in images if image.numbers]
        learned, block = split_slices(with_tumor, _step_mm(case), settings.validation_share)
        for image in images:
            if image.index >= block[0]:
                yield "validation", image
            elif image.index in learned or not image.numbers:
                yield "train", image
        return
    for part in ("validation", "test"):
        if case.name in getattr(split, part):
            count = limit if part == "test" else settings.validation_slices or None
            yield from ((part, image) for image in case_slice_images(case, window, settings.negatives, channels, count))
    if case.name in split.train:
        yield from (("train", image) for image in case_slice_images(case, window, settings.negatives, channels, limit))


def _step_mm(case: Case) -> float:
    return slice_plane(case.volume, "axial", 0).spacing[2]


def _with_copies(image: SliceImage, copies: int, seed: int, store: SampleStore) -> Iterator[Sample]:
    """Samples of a slice image and, if it has a lesion, of its augmented copies."""
    yield store.add(image)
    shown = hashlib.sha256(image.lesions).hexdigest()
    liver = "" if image.liver is None else hashlib.sha256(np.packbits(image.liver)).hexdigest()
    for copy in range(copies if image.numbers else 0):
        seeds = (seed, sum(image.name.encode()), image.index, copy)
        recipe = f"{AUGMENTATION} {image.name} {image.digest} {shown} {liver} {seeds}"
        # rotation can move the lesion out of the image; a negative example is useful as well
        yield store.add_from_recipe(recipe, image.case, partial(augmented, image, seeds))


def _synthetic(
    case: Case, window: str, split: PatientSplit, settings: TrainSettings, channels: str
) -> Iterator[SliceImage]:
    """Slice images with painted tumors: this case's share of the synthetic volumes."""
    painted = [name for name in split.train if name in settings.painted or not settings.painted]
    if case.name not in painted:
        return
    number, patients = painted.index(case.name), len(painted)
    share = settings.synthetic // patients + (number < settings.synthetic % patients)
    # if a block of the same volume is validated on, painting would learn from the liver in that block
    if not share or case.liver is None or split.same_volume:
        return
    from SAMLiverTumorLib.training.synthetic.painted_cases import painted_cases

    for painted in painted_cases(case, share, (settings.seed, sum(case.name.encode())), window):
        yield from case_slice_images(painted, parse_window(window), channels=channels, limit=12)
