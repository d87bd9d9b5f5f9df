"""The console program `sam-liver-tumor`: commands over the same functions as the panel."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

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
from SAMLiverTumorLib.errors import SAMLiverTumorError

# Options whose value may begin with a minus sign; argparse would take "-10,20,30" for an option.
_COORDINATE_OPTIONS = ("--point", "--exclude-point", "--box", "--window")


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
        when nobody reads the output any more.
    """
    args = build_parser().parse_args(_join_negative_values(sys.argv[1:] if argv is None else list(argv)))
    try:
        return args.run(args)
    except SAMLiverTumorError as error:
        print(f"sam-liver-tumor: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # whoever read the output, such as `head`, has enough; Python's own flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("sam-liver-tumor: interrupted; nothing was left half written", file=sys.stderr)
        return 130


def _join_negative_values(argv: list[str]) -> list[str]:
    """["--point", "-1,2,3"] to ["--point=-1,2,3"]."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in _COORDINATE_OPTIONS and re.match(r"-[\d.]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
