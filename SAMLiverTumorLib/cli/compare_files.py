"""Files of `compare`: labeled cases in, the report's files out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.text_table import aligned
from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.atomic import atomic_path, check_output

if TYPE_CHECKING:
    from SAMLiverTumorLib.datasets.cases import Case, CaseFiles
    from SAMLiverTumorLib.evaluation.comparison.compare import Comparison


_ENDINGS = (".csv", ".md", ".html")


def check_outputs(args: argparse.Namespace) -> list[Path]:
    """Paths of the report's files.

    :raises InputError: --limit is below 1.
    :raises OutputError: a file exists already, or cannot be written.
    """
    outputs = [Path(f"{args.output}{ending}") for ending in _ENDINGS]
    for path in outputs:
        check_output(path, args.overwrite)
    if args.limit is not None and args.limit < 1:
        raise InputError("--limit must be 1 or more.")
    return outputs


def write_report(args: argparse.Namespace, comparison: Comparison, outputs: list[Path]) -> None:
    """Write the three files, all or none; print the first table and the paths."""
    from SAMLiverTumorLib.evaluation.comparison.html_report import as_html
    from SAMLiverTumorLib.evaluation.comparison.tables import as_csv, as_markdown, tables

    versions, command = _versions(), _command(args)
    texts = (
        as_csv(comparison),
        as_markdown(comparison, versions, command),
        as_html(comparison, versions, command),
    )
    with ExitStack() as stack:
        for path, text in zip(outputs, texts, strict=True):
            stack.enter_context(atomic_path(path, args.overwrite)).write_text(printable(text), encoding="utf-8")
    table = tables(comparison, versions)[0]
    print("\n".join(aligned([table.header, *table.rows])))
    print(f"Wrote {', '.join(map(str, outputs))}")


def read_cases(
    files: list[CaseFiles], names: Mapping[str, str], others: Mapping[str, str] | None = None
) -> Iterator[Case]:
    """The cases one by one.

    :param names, others: see `load_case`.
    """
    from SAMLiverTumorLib.datasets.cases import load_case

    return (load_case(each, names, others) for each in files)


def _command(args: argparse.Namespace) -> str:
    """The command as text for the report, with the last part of each path only, so that no folder is revealed."""
    words = ["sam-liver-tumor compare", *(_bare(model) for model in args.models)]
    if args.run_folder is not None:
        words.insert(1, f"--run {args.run_folder.resolve().name}")
    for option in ("images", "labels", "cases", "hold_out", "limit", "liver_label", "window", "device"):
        value = getattr(args, option)
        if value is not None:
            words.append(f"--{option.replace('_', '-')} {value.name if isinstance(value, Path) else value}")
    words += [f"--label {text}" for text in args.label]
    if args.series is not None:
        # a UID says whose scan it was
        words.append(f"--series {'UID' if '.' in args.series else args.series}")
    return printable(" ".join([*words, f"-o {args.output.name}"]))


def _bare(model: str) -> str:
    prefix, colon, path = model.rpartition(":") if model.startswith("unet:") else ("", "", model)
    return f"{prefix}{colon}{Path(path).name}"


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from SAMLiverTumorLib.versions import versions

    found = {**versions(), "python": platform.python_version()}
    for package in ("monai", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found
