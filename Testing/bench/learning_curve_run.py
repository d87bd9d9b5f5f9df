"""Run a learning curve: the same training run with more and more labeled patients, point by point, resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.learning_curve_plan import CurvePlan, point_name
from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.training.optimization.checkpoint_state import NAME as STATE
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.finished_run import finished_run
from SAMLiverTumorLib.training.runs.resume_checks import differing
from SAMLiverTumorLib.training.runs.run_training import run_training


@dataclass(frozen=True)
class PointResult:
    """The result of one point.

    :param labeled: number of patients whose labels it learned from, without those of healthy livers.
    :param patients: their names.
    :param before, after: kind of prompt -> test patient -> Dice, of the base model and of the trained one.
    :param best_epoch: chosen on validation; 0 if no epoch was better than the base model.
    :param share: of the trained weights in the mixture chosen on validation.
    """

    labeled: int
    patients: tuple[str, ...]
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    best_epoch: int
    share: float


def run_curve(
    plan: CurvePlan,
    reporter: Callable[[Path], Reporter],
    on_results: Callable[[list[PointResult]], None] = lambda results: None,
    confirm: Callable[[str], bool] = lambda question: False,
    cancel: Callable[[], bool] = lambda: False,
) -> list[PointResult]:
    """Train each point that is not finished in its folder, and resume an interrupted one.

    :param reporter: makes the reporter of a point's progress, from the point's folder.
    :param on_results: called with all results so far, after each point.
    :return: the finished points; fewer than planned if it was cancelled.
    :raises OutputError: a point in the folder was trained with other settings.
    :raises SAMLiverTumorError: see `run_training`; finished points stay.
    """
    results: list[PointResult] = []
    for labeled in plan.points:
        settings = plan.settings(labeled)
        folder = Path(settings.out)
        result = finished_point(plan, labeled)
        if result is None:
            if cancel():
                break
            folder.mkdir(parents=True, exist_ok=True)
            resume = (folder / STATE).is_file()
            if run_training(settings, reporter(folder), resume, confirm, cancel).weights is None:
                break
            result = finished_point(plan, labeled)
        results.append(result)
        on_results(results)
    return results


def finished_point(plan: CurvePlan, labeled: int) -> PointResult | None:
    """The result of a point, from the card of its model; None if it is not finished.

    :raises OutputError: it was trained with other settings.
    """
    settings = plan.settings(labeled)
    run = finished_run(Path(settings.out))
    if run is None:
        return None
    if names := differing(run.settings, settings.as_dict()):
        raise OutputError(
            f"Point '{point_name(labeled)}' in '{plan.base.out}' was trained with other settings "
            f"({', '.join(names)}); choose another folder, or the same settings."
        )
    return PointResult(
        labeled,
        plan.learned(labeled),
        run.card["before"],
        run.card["after"],
        run.card["best_epoch"],
        run.card["share_of_new_weights"],
    )
