"""The option --liver-label: which segment or value of the file given as --liver is the liver."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.liver import LIVER_OPTION

if TYPE_CHECKING:
    import numpy as np

    from SAMLiverTumorLib.volume import Volume


def add_liver_label_option(group: argparse.ArgumentParser | argparse._ArgumentGroup, file: str = "--liver") -> None:
    """Add the option.

    :param file: what names the file that it chooses from.
    """
    group.add_argument(
        LIVER_OPTION,
        metavar="NAME|N",
        help=f"segment or value of the liver in {file} (default: the only one, the one named liver, or 1 and 2)",
    )


def check_liver_label(args: argparse.Namespace) -> None:
    """Refuse a choice from no file, before anything is read.

    :raises InputError: --liver-label without --liver.
    """
    if args.liver_label is not None and args.liver is None:
        raise InputError(f"{LIVER_OPTION} needs --liver; add it.")


def read_liver(args: argparse.Namespace, volume: Volume, note: Callable[[str], None]) -> np.ndarray | None:
    """The liver that the options name on the volume's grid, bool (k, j, i); None where they name none.

    :param note: told which segments were taken.
    :raises InputError: see `liver_on`.
    """
    check_liver_label(args)
    if args.liver is None:
        return None
    from SAMLiverTumorLib.io.labels.region import liver_on

    return liver_on(args.liver, volume, args.liver_label, note)
