"""`sam-liver-tumor compare --run RUN`: the base and the result of a training run, and its U-Net."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.compare_files import check_outputs, read_cases, write_report
from SAMLiverTumorLib.cli.terminal import bar, cancel_by_interrupt, confirm_on_terminal, download_bar
from SAMLiverTumorLib.errors import Cancelled, InputError, SAMLiverTumorError
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.process import ComparisonProcess, cancel_requested, job_lock

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.comparison.compare import Comparison
    from SAMLiverTumorLib.evaluation.comparison.contestants import Contestant
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.training.runs.run_comparison import RunComparison

_INTERRUPTED = 130


def compare_run(args: argparse.Namespace) -> int:
    """Compare, write the report, and report progress in RUN/comparison.jsonl.

    :return: 0; 130 if it was cancelled, with nothing written.
    :raises SAMLiverTumorError: the user can fix it; nothing is written then.
    """
    folder = args.run_folder
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'; give that of a finished training run.")
    if args.window != "auto" or args.label or args.liver_label or args.hold_out:
        raise InputError("With --run, window, labels and held-out patients are those of the run; leave them out.")
    if args.series and args.images is None:
        raise InputError("With --run, the series is that of the run; leave --series out, or name scans with --images.")
    args.output = args.output or folder / "comparison"
    with job_lock(folder, ComparisonProcess), cancel_by_interrupt() as interrupted:
        (folder / ComparisonProcess.progress).unlink(missing_ok=True)
        report = Reporter(folder, None, ComparisonProcess.progress)

        def cancel() -> bool:
            return interrupted() or cancel_requested(folder / ComparisonProcess.cancel_name)

        try:
            outputs = check_outputs(args)
            write_report(args, _compared(args, report, cancel), outputs)
        except Cancelled:
            report("cancelled", step=0)
            return _INTERRUPTED
        except SAMLiverTumorError as error:
            report("failed", text=str(error))
            raise
        # relative to the run's folder, so that the folder may be moved
        report("done", report=outputs[-1].name if outputs[-1].parent.samefile(folder) else str(outputs[-1].absolute()))
    return 0


def _compared(args: argparse.Namespace, report: Reporter, cancel: Callable[[], bool]) -> Comparison:
    from SAMLiverTumorLib.evaluation.comparison.compare import compare
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.training.runs.run_comparison import comparison_of_run

    names = tuple(name.strip() for name in (args.cases or "").split(",") if name.strip())
    plan = comparison_of_run(args.run_folder, args.images, args.labels, names, args.series or "")
    report("note", text=plan.note)
    print(plan.note)
    with download_bar() as downloaded:
        pool = PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded, cancel=cancel)
        contestants = _contestants(plan, args, pool)
    with bar("comparing", "slice") as progressed:

        def advance(done: int, total: int | None) -> None:
            progressed(done, total)
            report("compare", done=done)

        comparison = compare(read_cases(list(plan.cases), plan.label_names), contestants, args.limit, advance, cancel)
    return replace(comparison, notes=(plan.note, *comparison.notes))


def _contestants(plan: RunComparison, args: argparse.Namespace, pool: PredictorPool) -> list[Contestant]:
    """U-Net, base and fine-tuned model of the run, and further models that the user names."""
    from SAMLiverTumorLib.evaluation.comparison.contestants import SamContestant, contestant
    from SAMLiverTumorLib.models.devices import resolve_device

    device = str(resolve_device(args.device))
    named = [contestant(f"unet:{plan.unet}", pool, None, device)] if plan.unet else []
    for model, role in ((plan.base, "zero-shot"), (str(plan.model), "fine-tuned"), *((m, "") for m in args.models)):
        each = contestant(model, pool, None, device)
        named.append(replace(each, windows=plan.windows, role=role) if isinstance(each, SamContestant) else each)
    return named
