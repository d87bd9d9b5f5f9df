"""What the points of a learning curve learn from: more and more labeled patients, everything else the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SAMLiverTumorLib.datasets.cases import CaseFiles, load_case
from SAMLiverTumorLib.datasets.split import split_patients
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.samples.prepare import labeled_cases
from SAMLiverTumorLib.training.settings import TrainSettings

ALL, UNLABELED = "all", "unlabeled"


@dataclass(frozen=True, order=True)
class CurvePoint:
    """One training of a learning curve.

    :param labeled: number of patients whose tumors are labeled.
    :param unlabeled: whether a mean teacher learns from the other patients without their labels.
    """

    labeled: int
    unlabeled: bool = False

    @property
    def name(self) -> str:
        """Of the point's folder, such as "labeled-1-unlabeled"."""
        return f"labeled-{self.labeled}{'-' + UNLABELED if self.unlabeled else ''}"


def parse_points(text: str, available: int) -> tuple[CurvePoint, ...]:
    """Points from what a user writes, in ascending order, each once.

    >>> [point.name for point in parse_points("all,1,1+unlabeled", 6)]
    ['labeled-1', 'labeled-1-unlabeled', 'labeled-6']

    :param available: number of patients with labeled tumors that can be learned from.
    :raises InputError: something else, or more patients than there are.
    """
    points = set()
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        count, plus, more = word.partition("+")
        if (plus and more != UNLABELED) or not (count == ALL or count.isdecimal()):
            raise InputError(f"'{word}' is no point of a learning curve; give numbers, all, and 1+unlabeled, say.")
        labeled = available if count == ALL else int(count)
        if labeled > available:
            raise InputError(
                f"A learning curve with {labeled} labeled patients needs as many beside those for validation and "
                f"test; there are {available}."
            )
        if plus and labeled == available:
            raise InputError(f"With all {available} patients labeled, none is left for '{word}' to take as unlabeled.")
        points.add(CurvePoint(labeled, bool(plus)))
    if not points:
        raise InputError("Name the points of the learning curve, such as 0,1,2,4,all.")
    return tuple(sorted(points))


@dataclass(frozen=True)
class CurvePlan:
    """The trainings of a learning curve.

    :param base: settings of all of them.
    :param order: files of the patients with labeled tumors; a point learns from the first so many.
    :param healthy: patients with a liver and without tumors, whom all points learn from; into their livers alone
        tumors are painted, so that a point with no labeled patient learns from these only.
    :param validation: patients that choose the epoch in all points.
    :param test: patients that all points are judged by.
    """

    base: TrainSettings
    order: tuple[CaseFiles, ...]
    healthy: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    points: tuple[CurvePoint, ...]

    def learned(self, point: CurvePoint) -> tuple[str, ...]:
        """Patients whose labels a point learns from."""
        return tuple(files.name for files in self.order[: point.labeled])

    def unlabeled(self, point: CurvePoint) -> tuple[CaseFiles, ...]:
        """Patients that its mean teacher learns from: the rest, as far as they are stored like the first of it."""
        rest = self.order[point.labeled :] if point.unlabeled else ()
        return tuple(files for files in rest if files.window == rest[0].window)

    def settings(self, point: CurvePoint) -> TrainSettings:
        """Of a point's training, in a folder of its own; pictures are encoded once for all of them."""
        out = Path(self.base.out)
        unlabeled = self.unlabeled(point)
        return replace(
            self.base,
            cases=(*self.learned(point), *self.healthy, *self.validation, *self.test),
            validation=self.validation,
            test=self.test,
            painted=self.healthy,
            unlabeled=tuple(str(files.image) for files in unlabeled),
            unlabeled_window=unlabeled[0].window if unlabeled else "",
            out=str(out / point.name),
            cache=self.base.cache or str(out / "pictures"),
        )


def plan_curve(settings: TrainSettings, points: str) -> CurvePlan:
    """The plan for what settings and points say; labels are read to tell who has a tumor.

    :param settings: of all trainings; patients are learned from in the order of `cases`, or as they are found.
    :raises InputError: no patient to test on, nothing for a point without labels to learn from, and what reading and
        splitting refuse.
    """
    if not settings.out:
        raise InputError("Say where the learning curve's files go: --out FOLDER.")
    if not settings.test:
        raise InputError("Name the patients that all points of the learning curve are judged by: --test PATIENT.")
    if settings.unlabeled:
        raise InputError(
            "A learning curve takes its unlabeled scans from the labeled patients; leave --unlabeled out, and name "
            "points such as 1+unlabeled."
        )
    files = labeled_cases(settings)
    healthy = _healthy(files, settings)
    sick = [each.name for each in files if each.name not in healthy]
    split = split_patients(sick, settings.validation, settings.test, settings.validation_share, settings.seed)
    parsed = parse_points(points, len(split.train))
    if parsed[0].labeled == 0 and not (healthy and settings.synthetic):
        raise InputError(
            "With no labeled patient only painted tumors can be learned from: add --synthetic N, and a patient with "
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
