"""From cases to samples: read, split, picture by picture encoded and kept; one volume in memory at a time."""

from __future__ import annotations

import hashlib
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
    read_hold_out,
    read_scan,
    refuse_doubles,
    refuse_held_out,
)
from SAMLiverTumorLib.datasets.split import PatientSplit, split_patients, split_slices
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import Window, parse_window
from SAMLiverTumorLib.io.ircadb.lits_cases import overlap_note
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.training.optimization.mean_teacher import Twins
from SAMLiverTumorLib.training.samples.augment import AUGMENTATION, augmented, restyled
from SAMLiverTumorLib.training.samples.embedded_samples import Sample, SampleStore
from SAMLiverTumorLib.training.samples.slice_images import Picture, case_pictures
from SAMLiverTumorLib.training.settings import TrainSettings


@dataclass(frozen=True)
class TrainingSet:
    """What a training works on.

    :param train: whole slices and augmented copies.
    :param validation: whole slices.
    :param test: whole slices of patients that neither were learned from nor chose the best epoch.
    :param hashes: of the volumes' voxels and labels, by patient.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    split: PatientSplit
    hashes: dict[str, str]


def labeled_cases(settings: TrainSettings) -> list[CaseFiles]:
    """The cases that the settings name.

    :raises InputError: see `find_cases`; a patient that is asked for is not there, or is there under two names.
    """
    hold_out = read_hold_out(Path(settings.hold_out)) if settings.hold_out else frozenset()
    if not settings.images:
        raise InputError("Nothing to train on was named; give --images and --labels.")
    found: dict[str, CaseFiles] = {}
    windows = settings.windows or [settings.window] * len(settings.images)
    for images, labels, window in zip(settings.images, settings.labels or settings.images, windows, strict=True):
        for case in find_cases(Path(images), Path(labels)):
            if case.name in found:
                raise InputError(f"Patient '{case.name}' is in two of the folders; leave one out.")
            found[case.name] = replace(case, window=case.window or window)
    if settings.cases:
        if missing := [name for name in settings.cases if name not in found]:
            raise InputError(f"There is no patient {', '.join(missing)}; there are {', '.join(found)}.")
        found = {name: found[name] for name in settings.cases}
    refuse_held_out(list(found), hold_out)
    refuse_doubles(list(found))
    return list(found.values())


def prepare(
    settings: TrainSettings,
    store: SampleStore,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    cancel: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> TrainingSet:
    """Read, split and encode everything.

    :param progress: told of each patient: its name, how many are done, of how many.
    :param note: told what has to be known of a patient's figures.
    :raises InputError: no tumor in the part to train on or to validate on, and what reading and splitting refuse.
    """
    cases = labeled_cases(settings)
    split = split_patients(
        [case.name for case in cases], settings.validation, settings.test, settings.validation_share, settings.seed
    )
    parts: dict[str, list[Sample]] = {"train": [], "validation": [], "test": []}
    hashes = {}
    if overlap := overlap_note(case.name for case in cases):
        note(overlap)
    for number, files in enumerate(cases):
        progress(files.name, number, len(cases))
        case = load_case(files, settings.label_names)
        for text in case.notes:
            note(text)
        hashes[case.name] = case_hash(case)
        for part, picture in _pictures_by_part(case, parse_window(files.window), split, settings):
            if cancel():
                break
            copies = settings.copies if part == "train" else 0
            parts[part].extend(_with_copies(picture, copies, settings.seed, store))
        if case.name in split.train:
            for picture in () if cancel() else _synthetic(case, files.window, split, settings):
                parts["train"].extend(_with_copies(picture, min(settings.copies, 1), settings.seed, store))
    progress("", len(cases), len(cases))
    for part, what in (("train", "train on"), ("validation", "validate on"), ("test", "test with")):
        wanted = part != "test" or split.test
        if wanted and not cancel() and not any(sample.numbers for sample in parts[part]):
            names = getattr(split, part)
            raise InputError(
                f"There is no tumor of at least 50 pixels on a slice to {what} in {', '.join(names)}; check the "
                "meaning of the label values, or choose other patients."
            )
    return TrainingSet(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]), split, hashes)


def prepare_unlabeled(
    settings: TrainSettings,
    store: SampleStore,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    cancel: Callable[[], bool] = lambda: False,
) -> list[Twins]:
    """Slices of scans without labels, each as it is and restyled.

    :raises InputError: see `find_cases`; a patient that is held out.
    """
    hold_out = read_hold_out(Path(settings.hold_out)) if settings.hold_out else frozenset()
    window = parse_window(settings.unlabeled_window or settings.window)
    files = [each for folder in settings.unlabeled for each in find_cases(Path(folder), None, hold_out)]
    twins = []
    for number, each in enumerate(files):
        progress(each.name, number, len(files))
        volume = read_scan(each.image)
        nothing = np.zeros(volume.array.shape, bool)
        # everything may hold a tumor, so slices are taken as liver without one
        case = Case(each.name, volume, nothing, ~nothing)
        for picture in case_pictures(case, window, negatives=settings.unlabeled_slices):
            if cancel():
                return twins
            bare = replace(picture, liver=None)
            twins.append(Twins(store.add(bare), store.add(restyled(bare, (settings.seed, number, picture.index)))))
    return twins


def _pictures_by_part(
    case: Case, window: Window, split: PatientSplit, settings: TrainSettings
) -> Iterator[tuple[str, Picture]]:
    limit = settings.slices or None
    if split.same_volume:
        pictures = list(case_pictures(case, window, settings.negatives, limit=limit))
        with_tumor = [picture.index for picture in pictures if picture.numbers]
        learned, block = split_slices(with_tumor, _step_mm(case), settings.validation_share)
        for picture in pictures:
            if picture.index >= block[0]:
                yield "validation", picture
            elif picture.index in learned or not picture.numbers:
                yield "train", picture
        return
    for part in ("validation", "test"):
        if case.name in getattr(split, part):
            count = limit if part == "test" else settings.validation_slices or None
            yield from ((part, picture) for picture in case_pictures(case, window, settings.negatives, limit=count))
    if case.name in split.train:
        yield from (("train", picture) for picture in case_pictures(case, window, settings.negatives, limit=limit))


def _step_mm(case: Case) -> float:
    return slice_plane(case.volume, "axial", 0).spacing[2]


def _with_copies(picture: Picture, copies: int, seed: int, store: SampleStore) -> Iterator[Sample]:
    """The picture itself and its augmented copies; none of pictures without a lesion."""
    yield store.add(picture)
    shown = hashlib.sha256(picture.lesions).hexdigest()
    liver = "" if picture.liver is None else hashlib.sha256(np.packbits(picture.liver)).hexdigest()
    for copy in range(copies if picture.numbers else 0):
        seeds = (seed, sum(picture.name.encode()), picture.index, copy)
        recipe = f"{AUGMENTATION} {picture.name} {picture.digest} {shown} {liver} {seeds}"
        # turning can take the lesion out of the picture; a negative is worth having as well
        yield store.add_made(recipe, picture.case, partial(augmented, picture, seeds))


def _synthetic(case: Case, window: str, split: PatientSplit, settings: TrainSettings) -> Iterator[Picture]:
    """Slices with painted tumors of this case's share of the synthetic volumes."""
    painted = [name for name in split.train if name in settings.painted or not settings.painted]
    if case.name not in painted:
        return
    number, patients = painted.index(case.name), len(painted)
    share = settings.synthetic // patients + (number < settings.synthetic % patients)
    # in a volume of which a block is validated on, that block's liver would be learned from
    if not share or case.liver is None or split.same_volume:
        return
    from SAMLiverTumorLib.training.synthetic.painted_cases import painted_cases

    for painted in painted_cases(case, share, (settings.seed, sum(case.name.encode())), window):
        yield from case_pictures(painted, parse_window(window), limit=12)
