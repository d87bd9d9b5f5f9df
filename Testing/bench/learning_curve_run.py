"""A learning curve: the same training with more and more labeled patients, point by point; resumed where it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.learning_curve_plan import CurvePlan, CurvePoint
from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.training.optimization.checkpoint_state import NAME as STATE
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.finished_run import finished_run
from SAMLiverTumorLib.training.runs.resume_checks import differing
from SAMLiverTumorLib.training.runs.run_training import run_training


@dataclass(frozen=True)
class PointResult:
    """What came of one point.

    :param patients: whose labels it learned from, without those of healthy livers.
    :param unlabeled: patients that its mean teacher learned from.
    :param before, after: kind of prompt -> patient of the test -> Dice, of the base model and of the trained one.
    :param best_epoch: chosen on validation; 0 where no epoch was better than the base model.
    :param share: of the trained weights in the mixture with the base model's that validation chose.
    """

    point: CurvePoint
    patients: tuple[str, ...]
    unlabeled: tuple[str, ...]
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    best_epoch: int
    share: float


def run_curve(
    plan: CurvePlan,
    reporter: Callable[[Path], Reporter],
    told: Callable[[list[PointResult]], None] = lambda results: None,
    confirm: Callable[[str], bool] = lambda question: False,
    cancel: Callable[[], bool] = lambda: False,
) -> list[PointResult]:
    """Train each point that is not finished in its folder, and go on with one that was interrupted.

    :param reporter: makes what is told of a point's progress, from the point's folder.
    :param told: given all results so far after each point.
    :return: the finished points; fewer than planned where it was cancelled.
    :raises OutputError: a point in the folder was trained with other settings.
    :raises SAMLiverTumorError: see `run_training`; finished points stay.
    """
    results: list[PointResult] = []
    for point in plan.points:
        settings = plan.settings(point)
        folder = Path(settings.out)
        result = finished_point(plan, point)
        if result is None:
            if cancel():
                break
            folder.mkdir(parents=True, exist_ok=True)
            resume = (folder / STATE).is_file()
            if run_training(settings, reporter(folder), resume, confirm, cancel).weights is None:
                break
            result = finished_point(plan, point)
        results.append(result)
        told(results)
    return results


def finished_point(plan: CurvePlan, point: CurvePoint) -> PointResult | None:
    """The result of a point from the card of its model; None where it is not finished.

    :raises OutputError: it was trained with other settings.
    """
    settings = plan.settings(point)
    run = finished_run(Path(settings.out))
    if run is None:
        return None
    if names := differing(run.settings, settings.as_dict()):
        raise OutputError(
            f"Point '{point.name}' in '{plan.base.out}' was trained with other settings ({', '.join(names)}); choose "
            "another folder, or the same settings."
        )
    return PointResult(
        point,
        plan.learned(point),
        tuple(files.name for files in plan.unlabeled(point)),
        run.card["before"],
        run.card["after"],
        run.card["best_epoch"],
        run.card["share_of_new_weights"],
    )
