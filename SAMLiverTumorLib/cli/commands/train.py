"""`sam-liver-tumor train`: fine-tune a model on your own labeled scans."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.cli.options.label_names import parse_label_names
from SAMLiverTumorLib.cli.options.liver import add_liver_label_option
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.cli.terminal import cancel_by_interrupt, confirm_on_terminal
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.errors import InputError, SAMLiverTumorError
from SAMLiverTumorLib.training.end_to_end.settings import NetworkSettings, read_network_settings
from SAMLiverTumorLib.training.runs.process import CANCEL, cancel_requested
from SAMLiverTumorLib.training.settings import TRAINABLE, TrainSettings, from_mapping, read_settings
from SAMLiverTumorLib.training.whole_tumor.settings import WholeTumorSettings, read_whole_tumor_settings

# name -> (type, help); each is an option and a setting in a TOML file
_NUMBERS = {
    "epochs": (int, "maximum number of epochs"),
    "steps": (int, "steps per epoch"),
    "batch": (int, "slice images per step"),
    "accumulate": (int, "split a step into N parts, to save memory"),
    "learning_rate": (float, "peak learning rate"),
    "patience": (int, "stop after N epochs without a better validation score; 0: never"),
    "copies": (int, "augmented copies of each slice image"),
    "negatives": (int, "slices of liver without tumor from each case"),
    "slices": (int, "maximum number of slices with tumor from each case; 0: all"),
    "validation_slices": (int, "the same for validation"),
    "corrections": (int, "maximum number of corrective clicks"),
    "rank": (int, "rank of the adapters with --train lora"),
    "synthetic": (int, "volumes with painted tumors to add"),
    "seed": (int, "seed of all random numbers"),
}
_TEXTS = {
    "base": "model id or weight file to start from",
    "window": "preset or LOW,HIGH, as with `segment`",
    "hold_out": "file of patients to refuse, one per line",
    "text_encoder": "tokens; or clip, clip:NAME:TAG, clip:FOLDER for any phrase, with open_clip",
    "device": "auto, cpu, cuda, cuda:1",
    "cache": "folder of embeddings, which several runs can share",
}
_LISTS = {
    "images": "folders of images, or files",
    "labels": "folders of label maps, or files, one for each of --images (default: the same folders)",
    "windows": "a window for each of --images, such as 0,255 for scans that are not in Hounsfield units",
    "cases": "only these patients",
    "validation": "patients to validate on (default: a quarter, drawn by --seed)",
    "test": "patients for the comparison before and after",
}


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    defaults = TrainSettings()
    parser = subparsers.add_parser(
        "train",
        help="fine-tune a model on labeled scans",
        description="Fine-tune a model on labeled scans. Dice before and after is measured on patients that it did not "
        "learn from, and the new model is adopted only if it is better.",
    )
    parser.add_argument("--config", metavar="FILE.toml", help="file of settings; options override it")
    parser.add_argument("--out", metavar="RUN", help="folder of the run")
    parser.add_argument("--train", choices=TRAINABLE, help=f"which part learns (default: {defaults.train})")
    for name, text in _LISTS.items():
        parser.add_argument(_option(name), nargs="+", metavar=name.upper(), help=text)
    for name, text in _TEXTS.items():
        parser.add_argument(_option(name), metavar="VALUE", help=f"{text}{_default(getattr(defaults, name))}")
    for name, (kind, text) in _NUMBERS.items():
        help_text = f"{text} (default: {getattr(defaults, name):g})"
        parser.add_argument(_option(name), type=kind, metavar="N", help=help_text)
    parser.add_argument(
        "--label",
        action="append",
        metavar="VALUE=NAME",
        help='meaning of a label value or segment: tumor, liver or ignore; "*" for all others (default: as '
        "dataset.json says, else 1=liver, 2=tumor, and segments by their names)",
    )
    add_liver_label_option(parser, "the labels, as --label NAME=liver")
    add_series_option(parser, "folders of images hold several; the same in each")
    parser.add_argument(
        "--store",
        nargs="?",
        const="",
        metavar="DIR",
        help="learn from the cases kept by `sam-liver-tumor cases`, besides --images or alone",
    )
    parser.add_argument(
        "--text", nargs="*", metavar="CONCEPT", dest="concepts", help="concepts that text prompts learn"
    )
    parser.add_argument("--half", action="store_true", default=None, help="save 16-bit weights: half the file size")
    parser.add_argument("--names", action="store_true", default=None, help="keep patients' names in the weight file")
    parser.add_argument(
        "--no-blend", action="store_false", dest="blend", default=None, help="try no mixtures of weights"
    )
    parser.add_argument(
        "--baseline",
        type=float,
        metavar="MINUTES",
        help="instead train a U-Net on the same patients, for comparison (RUN/unet.safetensors)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the training run in --out")
    parser.add_argument("--json", action="store_true", help="print progress as lines of JSON")
    parser.add_argument("--yes", action="store_true", help="download the base model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Train; exit status 0, or 130 if cancelled.

    :raises SAMLiverTumorError: the user can fix it.
    """
    for read in (read_network_settings, read_whole_tumor_settings) if args.config else ():
        network = read(Path(args.config))
        if network is not None:
            return _run_network(args, network)
    settings = settings_of(args)
    # PyTorch and MONAI take seconds to load, so settings are checked first
    from SAMLiverTumorLib.cli.commands.train_progress_text import ProgressText
    from SAMLiverTumorLib.training.optimization.distributed import join
    from SAMLiverTumorLib.training.progress_events import Reporter
    from SAMLiverTumorLib.training.runs.run_training import run_training

    first = join().first
    report = Reporter(Path(settings.out) if settings.out and first else None, _stream(args, first, ProgressText))
    with cancel_by_interrupt() as interrupted:

        def cancel() -> bool:
            return interrupted() or cancel_requested(Path(settings.out) / CANCEL)

        try:
            if args.baseline is not None:
                return _run_baseline(args, settings, report, cancel)
            outcome = run_training(settings, report, args.resume, confirm_on_terminal(args.yes), cancel)
        except SAMLiverTumorError as error:
            if Path(settings.out).is_dir():
                report("failed", text=str(error))
            raise
    return 130 if outcome.weights is None else 0


def _run_network(args: argparse.Namespace, settings: NetworkSettings | WholeTumorSettings) -> int:
    """Train a whole network, whose settings are the file's alone."""
    given = [name for name in (each.name for each in fields(TrainSettings)) if getattr(args, name, None) is not None]
    if not args.out or set(given) - {"out", "device"} or args.label or args.store is not None or args.baseline:
        raise InputError("A training of the whole network takes its settings from the file alone, and --out RUN.")
    from SAMLiverTumorLib.cli.commands.train_progress_text import ProgressText
    from SAMLiverTumorLib.training.end_to_end.run import run_end_to_end
    from SAMLiverTumorLib.training.progress_events import Reporter
    from SAMLiverTumorLib.training.whole_tumor.run import run_whole_tumor

    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    report = Reporter(folder, _stream(args, True, ProgressText))
    with cancel_by_interrupt() as interrupted:
        if isinstance(settings, WholeTumorSettings):
            path = run_whole_tumor(settings, folder, report, args.resume, interrupted)
        else:
            confirm = confirm_on_terminal(args.yes)
            path = run_end_to_end(settings, folder, report, args.resume, confirm, interrupted)
    return 130 if path is None else 0


def _run_baseline(args: argparse.Namespace, settings: TrainSettings, report, cancel) -> int:
    from SAMLiverTumorLib.training.baseline.train_baseline import train_baseline

    if args.resume or args.train or not settings.out or not args.baseline > 0:
        raise InputError("--baseline MINUTES needs --out RUN, and neither --resume nor --train.")
    return 130 if train_baseline(settings, args.baseline, report, cancel) is None else 0


def settings_of(args: argparse.Namespace) -> TrainSettings:
    """The settings from options and file; options override the file.

    :raises InputError: see `from_mapping` and `read_settings`.
    """
    given: dict[str, Any] = {}
    for each in fields(TrainSettings):
        value = getattr(args, each.name, None)
        if value is not None:
            given[each.name] = value
    if args.label or args.liver_label:
        given["label_names"] = parse_label_names(args.label or [], args.liver_label)
    base = read_settings(Path(args.config)) if args.config else None
    if args.store is not None:
        kept = str(CaseStore(args.store or None).root)
        for name in ("images", "labels"):
            given[name] = [*given.get(name, getattr(base, name) if base else ()), kept]
    return from_mapping(given, base)


def _stream(args: argparse.Namespace, first: bool, text):
    if not first:
        return None
    return sys.stdout if args.json else text(sys.stdout)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _default(value: str) -> str:
    return f" (default: {value})" if value else ""
