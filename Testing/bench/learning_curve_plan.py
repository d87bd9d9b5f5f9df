"""The training runs of a learning curve: more and more labeled patients, all else equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SAMLiverTumorLib.datasets.cases import CaseFiles, load_case
from SAMLiverTumorLib.datasets.split import split_patients
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.samples.prepare import labeled_cases
from SAMLiverTumorLib.training.settings import TrainSettings

ALL = "all"


def parse_points(text: str, available: int) -> tuple[int, ...]:
    """Numbers of labeled patients from what a user writes, in ascending order, each once.

    >>> parse_points("all,1", 6)
    (1, 6)

    :param available: number of patients with labeled tumors that can be learned from.
    :raises InputError: something else, or more patients than there are.
    """
    points = set()
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        if not (word == ALL or word.isdecimal()):
            raise InputError(f"'{word}' is no point of a learning curve; give numbers, and all.")
        labeled = available if word == ALL else int(word)
        if labeled > available:
            raise InputError(
                f"A learning curve with {labeled} labeled patients needs as many besides those for validation and "
                f"test; there are {available}."
            )
        points.add(labeled)
    if not points:
        raise InputError("Name the points of the learning curve, such as 0,1,2,4,all.")
    return tuple(sorted(points))


def point_name(labeled: int) -> str:
    """Of a point's folder, such as "labeled-1"."""
    return f"labeled-{labeled}"


@dataclass(frozen=True)
class CurvePlan:
    """The training runs of a learning curve.

    :param base: settings that all of them share.
    :param order: files of the patients with labeled tumors; point N learns from the first N.
    :param healthy: patients with a liver and no tumors, which all points learn from. Tumors are painted into their
        livers only, so a point without labeled patients learns from these alone.
    :param validation: patients that choose the epoch in all points.
    :param test: patients on which all points are compared.
    :param points: numbers of labeled patients.
    """

    base: TrainSettings
    order: tuple[CaseFiles, ...]
    healthy: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    points: tuple[int, ...]

    def learned(self, labeled: int) -> tuple[str, ...]:
        """Patients whose labels a point learns from."""
        return tuple(files.name for files in self.order[:labeled])

    def settings(self, labeled: int) -> TrainSettings:
        """Settings of a point, in its own folder; all points share one folder of embeddings."""
        out = Path(self.base.out)
        return replace(
            self.base,
            cases=(*self.learned(labeled), *self.healthy, *self.validation, *self.test),
            validation=self.validation,
            test=self.test,
            painted=self.healthy,
            out=str(out / point_name(labeled)),
            cache=self.base.cache or str(out / "pictures"),
        )


def plan_curve(settings: TrainSettings, points: str) -> CurvePlan:
    """The plan for settings and points; labels are read to find out who has a tumor.

    :param settings: of all runs; patients are added in the order of `cases`, or in the order they are found.
    :raises InputError: there is no test patient, a point without labels has nothing to learn from, or reading or
        splitting fails.
    """
    if not settings.out:
        raise InputError("Choose a folder for the learning curve: --out FOLDER.")
    if not settings.test:
        raise InputError("Name the patients on which all points are compared: --test PATIENT.")
    files = labeled_cases(settings)
    healthy = _healthy(files, settings)
    with_tumor = [each.name for each in files if each.name not in healthy]
    split = split_patients(with_tumor, settings.validation, settings.test, settings.validation_share, settings.seed)
    parsed = parse_points(points, len(split.train))
    if parsed[0] == 0 and not (healthy and settings.synthetic):
        raise InputError(
            "Without labeled patients only painted tumors are left to learn from: add --synthetic N and a patient with "
            "an outlined liver and no tumor, or leave point 0 out."
        )
    order = tuple(each for each in files if each.name in split.train)
    return CurvePlan(settings, order, healthy, split.validation, split.test, parsed)


def _healthy(files: Sequence[CaseFiles], settings: TrainSettings) -> tuple[str, ...]:
    """Names of the patients with a liver and without tumors."""
    found = []
    for each in files:
        case = load_case(each, settings.label_names)
        if case.liver is not None and not case.tumor.any():
            found.append(each.name)
    return tuple(found)
