"""`sam-liver-tumor train --learning-curve`: the same training with more and more labeled patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.training.settings import TrainSettings

NAME = "learning-curve"
_INTERRUPTED = 130


def run_learning_curve(
    settings: TrainSettings,
    points: str,
    stream: IO[str],
    confirm: Callable[[str], bool],
    cancel: Callable[[], bool],
) -> int:
    """Train the points and write OUT/learning-curve.csv, .md and .png, anew after each point.

    :param points: as `curve_plan.parse_points`.
    :param stream: where progress goes, as lines of JSON.
    :return: 0; 130 where it was cancelled, with the points that were finished.
    :raises SAMLiverTumorError: the user can mend it.
    """
    from SAMLiverTumorLib.evaluation.curve_report import curve_csv, curve_markdown, curve_png
    from SAMLiverTumorLib.training.curve_plan import plan_curve
    from SAMLiverTumorLib.training.learning_curve import PointResult, run_curve
    from SAMLiverTumorLib.training.parallel import join
    from SAMLiverTumorLib.training.progress import Reporter

    if join().count > 1:
        raise InputError("A learning curve is trained by one process; start it without torchrun.")
    plan = plan_curve(settings, points)
    command = f"sam-liver-tumor train --learning-curve {points} ... --out {Path(settings.out).name}"

    def reporter(folder: Path) -> Reporter:
        report = Reporter(folder, stream)
        report("note", text=f"Learning curve: {folder.name}.")
        return report

    def write(results: list[PointResult]) -> None:
        for ending, content in (
            (".csv", curve_csv(results).encode()),
            (".md", curve_markdown(plan, results, command).encode()),
            (".png", curve_png(results)),
        ):
            with atomic_path(Path(settings.out) / f"{NAME}{ending}", overwrite=True) as temporary:
                temporary.write_bytes(content)

    results = run_curve(plan, reporter, write, confirm, cancel)
    if len(results) < len(plan.points):
        return _INTERRUPTED
    Reporter(None, stream)("note", text=curve_markdown(plan, results, command))
    return 0
