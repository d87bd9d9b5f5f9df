"""The option --series: which series of a DICOM folder that holds several."""

from __future__ import annotations

import argparse


def add_series_option(
    group: argparse.ArgumentParser | argparse._ArgumentGroup, where: str = "CT holds several"
) -> None:
    """Add the option.

    :param where: when it is needed.
    """
    text = f"which DICOM series, if {where}; without it, several are listed"
    group.add_argument("--series", metavar="NUMBER|UID", help=text)
