"""The console program `sam-liver-tumor`: commands over the same functions as the panel."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.cli.commands import (
    batch,
    cases,
    compare,
    demo,
    evaluate,
    export,
    ircadb,
    models,
    report,
    segment,
    suggest,
    train,
)
from SAMLiverTumorLib.cli.console import Console, any_console
from SAMLiverTumorLib.errors import InputError, SAMLiverTumorError

# Options whose value may begin with a minus sign; argparse would take "-10,20,30" for an option.
_COORDINATE_OPTIONS = ("--point", "--exclude-point", "--box", "--window")

# Options of files and folders that are kept as texts.
_PATHS_AS_TEXT = ("images", "labels", "out", "config", "cache", "hold_out", "store")


def build_parser() -> argparse.ArgumentParser:
    """The program's parser; each command sets `run`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="sam-liver-tumor",
        description="Interactive liver tumor segmentation in CT with the Segment Anything Model. Not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"sam-liver-tumor {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (segment, batch, train, cases, suggest, compare, evaluate, report, export, ircadb, models, demo):
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: 0 when done; 2 with one line on standard error for what the user can mend; 130 when interrupted; 141
        when nobody reads the output any more; 74 when it cannot be written. With the last two the work was done.
    """
    with any_console() as console:
        try:
            return console.status(_run(sys.argv[1:] if argv is None else list(argv), console))
        except SystemExit as ended:  # by --help, or options that argparse refuses
            raise SystemExit(console.status(ended.code) if isinstance(ended.code, int) else ended.code) from None


def _run(argv: list[str], console: Console) -> int:
    args = build_parser().parse_args(_join_negative_values(argv))
    try:
        if console.folder_lost:
            _refuse_relative(args)
        return args.run(args)
    except SAMLiverTumorError as error:
        return _refused(str(error))
    except MemoryError:
        return _refused("There is not enough memory for this; close other programs, or use a machine with more.")
    except UnicodeError as error:
        name = str(getattr(error, "object", ""))[:80]
        return _refused(f"A text or name cannot be used here, {name!r} ({error.reason}); rename it.")
    except OSError as error:
        name = f"'{os.fsdecode(error.filename)}'" if isinstance(error.filename, str | bytes) else "A file"
        return _refused(f"{name} cannot be used ({error.strerror or error}); check the path and the disk.")
    except KeyboardInterrupt:
        print("sam-liver-tumor: interrupted; nothing was left half written", file=sys.stderr)
        return 130


def _refused(text: str) -> int:
    print(f"sam-liver-tumor: error: {' '.join(text.split())}", file=sys.stderr)
    return 2


def _refuse_relative(args: argparse.Namespace) -> None:
    """Refuse paths from a working folder that is gone.

    :raises InputError: naming the first.
    """
    for name, value in vars(args).items():
        for each in value if isinstance(value, list | tuple) else [value]:
            is_path = isinstance(each, Path) or (isinstance(each, str) and each and name in _PATHS_AS_TEXT)
            if is_path and not Path(each).expanduser().is_absolute():
                raise InputError(
                    f"The folder that this was started in does not exist any more, so '{each}' is nowhere; change to a "
                    "folder that exists, or give full paths."
                )


def _join_negative_values(argv: list[str]) -> list[str]:
    """["--point", "-1,2,3"] to ["--point=-1,2,3"]."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in _COORDINATE_OPTIONS and re.match(r"-[\d.]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
