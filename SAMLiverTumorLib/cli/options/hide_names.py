"""Reports that say nothing of whose scan it was: names of files and folders stay out of them unless asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path


def add_paths_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add --paths; it asks for the files' names in the report."""
    parser.add_argument(
        "--paths",
        action="store_true",
        help="also write into the report which files it is about; their names may say whose they are",
    )


def without_names(notes: Iterable[str], names: Mapping[str | Path, str]) -> list[str]:
    """Notes with what stands for a file in the place of its path or name, quoted or not.

    >>> without_names(["'doe.nii' has no label 2; see /data/doe.nii"], {Path("/data/doe.nii"): "the scan"})
    ['the scan has no label 2; see the scan']
    """
    told = list(notes)
    for path, stands in names.items():
        for name in (str(path), Path(path).name):
            told = [note.replace(f"'{name}'", stands).replace(name, stands) for note in told]
    return told
