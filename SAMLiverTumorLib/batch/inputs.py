"""From what the user names to one `Job` for each scan."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job
from SAMLiverTumorLib.batch.prompts_csv import CasePrompts
from SAMLiverTumorLib.datasets.layouts import by_patient, label_of, patient_of
from SAMLiverTumorLib.datasets.same_names import told_apart
from SAMLiverTumorLib.datasets.series_choice import has_series, refuse_one_for_several
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.model_choice import choose_model
from SAMLiverTumorLib.io.ircadb.cases import is_ircadb
from SAMLiverTumorLib.io.labels.organ_folder import organ_files
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.models.download.digest import file_sha256
from SAMLiverTumorLib.models.registry import load_registry

_MOST_NAMED = 3


def find_jobs(
    inputs: Sequence[Path],
    out: Path,
    prompts: Mapping[str, CasePrompts] | None = None,
    liver: Path | None = None,
    references: Path | None = None,
) -> tuple[list[Job], tuple[str, ...]]:
    """One job for each scan, in the order of the inputs, and notes for the reader.

    Scans are named as `datasets.layouts.patient_of` does: ct_7.nii.gz, label_7.nii.gz and the row of case 7, or of
    ct_7.nii.gz, belong together.

    :param inputs: image files, DICOM folders, cases of 3D-IRCADb, or folders of these.
    :param prompts: by case; None where text says what to look for.
    :param liver: folder of label files by patient, or one file for one scan.
    :param references: the same of references.
    :raises InputError: nothing found, two scans of one name, a scan without its liver, no reference, or no prompt, for
        any scan.
    """
    scans: dict[Path, str] = {}
    notes: list[str] = []
    for given in inputs:
        found = by_patient(given, {False})
        notes += found.notes
        for name, path in found.items():
            if not path.resolve().is_relative_to(out.resolve()):
                scans.setdefault(path.resolve(), name)
    if not scans:
        raise InputError(f"There is no scan in '{inputs[0]}' outside of '{out}', where results go.")
    named: dict[str, Path] = {}
    for name in dict.fromkeys(scans.values()):
        paths = [path for path, each in scans.items() if each == name]
        named |= zip(_apart(name, paths), paths, strict=True)
    jobs = [Job(name, path.absolute(), out.absolute()) for name, path in named.items()]
    if liver is not None:
        livers = _labels(liver, jobs)
        if missing := [job.name for job in jobs if job.name not in livers]:
            without = listed(missing, _MOST_NAMED, quoted=True)
            raise InputError(f"There is no liver in '{liver}' for {without}; name the files as the scans are.")
        jobs = [replace(job, liver=livers[job.name]) for job in jobs]
    if references is not None:
        labels = _labels(references, jobs)
        jobs = [replace(job, reference=labels.get(job.name)) for job in jobs]
        if missing := [job.name for job in jobs if job.reference is None]:
            if len(missing) == len(jobs):
                raise InputError(f"No label in '{references}' is named as one of the scans, such as '{jobs[0].name}'.")
            notes.append(f"There is no reference for {listed(missing, _MOST_NAMED, quoted=True)}.")
    if prompts is not None:
        jobs, said = _prompted(jobs, prompts)
        notes += said
    return jobs, tuple(notes)


def check_series(jobs: Sequence[Job], series: str) -> None:
    """Refuse a choice of series that some scan has not, before any is read.

    :param series: number or UID.
    :raises InputError: a scan is no DICOM folder, or a UID, which one scan alone can have, is for several.
    """
    for job in jobs:
        if not has_series(job.image):
            raise InputError(
                f"--series {series} chooses from DICOM folders, but '{job.image.name}' is none; run it apart, without "
                "--series."
            )
    refuse_one_for_several(series, len(jobs))


def _labels(given: Path, jobs: Sequence[Job]) -> dict[str, Path]:
    """Label files by case; one file and one scan belong together whatever their names."""
    if len(jobs) == 1 and (given.is_file() or organ_files(given)):
        return {jobs[0].name: given.absolute()}
    images = {job.image.resolve() for job in jobs}
    same = any(given.resolve() in image.parents and not is_ircadb(image) for image in images)
    found = by_patient(given, {True} if same and _side_by_side(given) else {False, True}, True, images)
    pairs = {job.name: label_of(job.name, found) for job in jobs}
    return {name: found[label].absolute() for name, label in pairs.items() if label is not None}


def _side_by_side(folder: Path) -> bool:
    """Whether files named as labels lie in the folder of the scans, so that all others are scans."""
    with suppress(InputError):
        return bool(by_patient(folder, {True}, labels=True))
    return False


def _apart(name: str, paths: Sequence[Path]) -> list[str]:
    try:
        return told_apart(name, paths, paths[0].parent)
    except InputError:
        raise InputError(
            f"'{paths[0]}' and '{paths[1]}' would both be case '{name}'; rename one, or run them apart."
        ) from None


def _prompted(jobs: list[Job], prompts: Mapping[str, CasePrompts]) -> tuple[list[Job], list[str]]:
    """The jobs with their prompts, and what the table says of no scan, or does not say."""
    names = {job.name for job in jobs}
    belongs: dict[str, CasePrompts] = {}
    unknown = []
    notes = list(getattr(prompts, "notes", ()))
    for case, said in prompts.items():
        name = _scan_of(case, names)
        if name is None:
            unknown.append((case, said.row))
        elif name in belongs:
            raise InputError(
                f"The prompts' rows {belongs[name].row} and {said.row} name the scan '{name}' in two ways; use one."
            )
        else:
            belongs[name] = said
            if name not in (case, patient_of(PureWindowsPath(case).as_posix())):
                notes.append(f"Row {said.row} of the prompts: '{case}' is taken for '{name}'.")
    if not belongs:
        case, row = unknown[0]
        raise InputError(f"The prompts name none of the scans: '{case}' in row {row}, but '{jobs[0].name}' is a scan.")
    notes += [f"Row {row} of the prompts: none of the scans is named '{case}'." for case, row in unknown[:_MOST_NAMED]]
    if len(unknown) > _MOST_NAMED:
        notes.append(f"{len(unknown) - _MOST_NAMED} more cases of the prompts are none of the scans.")
    if missing := [job.name for job in jobs if job.name not in belongs]:
        notes.append(f"There is no prompt for {listed(missing, _MOST_NAMED, quoted=True)}, which will fail.")
    return [replace(job, tumors=belongs[job.name].tumors) if job.name in belongs else job for job in jobs], notes


def _scan_of(case: str, names: Collection[str]) -> str | None:
    """The scan that a table calls so, or None: by its name or path, however spelled, or as spreadsheets change it."""
    # paths of any system
    for name in (case, patient_of(PureWindowsPath(case).as_posix())):
        if name in names:
            return name
        # macOS spells letters with accents in two parts; spreadsheets write 001 as 1
        for spelled in (_folded, lambda each: str(int(each)) if each.isdecimal() else None):
            key = spelled(name)
            same = [each for each in names if key is not None and spelled(each) == key]
            if len(same) == 1:
                return same[0]
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def models_of(jobs: Sequence[Job], settings: BatchSettings) -> dict[str, str]:
    """Model id or file -> SHA-256, of each that may have a part in the results.

    :raises PromptError: no model knows such prompts.
    :raises InputError: a file that cannot be read.
    """
    kinds = {frozenset(kind) for job in jobs for kind in _kinds(job, settings)} or {frozenset({"text"})}
    hashes = {}
    for name in sorted({choose_model(settings.model, each) for each in kinds}):
        info = load_registry().get(name)
        try:
            hashes[name] = info.sha256 if info is not None else file_sha256(Path(name))
        except OSError as error:
            known = ", ".join(load_registry())
            raise InputError(f"'{name}' is neither a known model ({known}) nor a checkpoint file.") from error
    return hashes


def _kinds(job: Job, settings: BatchSettings) -> set[frozenset[str]]:
    """What kinds of prompts the network may be asked with together."""
    if settings.text is not None:
        return {frozenset({"text"})}
    kinds = set()
    for tumor in job.tumors:
        points = frozenset({"points"} if tumor.include or tumor.exclude else ())
        box = frozenset({"box"} if tumor.box is not None else ())
        # a slice may see any part of them; a tumor followed is boxed on each of the next slices
        kinds |= {points, box, points | box} | ({frozenset({"box"})} if settings.mode == "volume" else set())
    return kinds - {frozenset()}
