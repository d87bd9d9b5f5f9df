"""Anonymous reports: names of files and folders, which may identify a patient, stay out unless asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

from SAMLiverTumorLib.errors import printable


def add_paths_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add --paths, which puts file names into the report."""
    parser.add_argument(
        "--paths",
        action="store_true",
        help="also name the files in the report; their names may identify a patient",
    )


def without_names(notes: Iterable[str], names: Mapping[str | Path, str]) -> list[str]:
    """Notes with a description in place of each file's path or name, quoted or not.

    >>> without_names(["'doe.nii' has no label 2; see /data/doe.nii"], {Path("/data/doe.nii"): "the scan"})
    ['the scan has no label 2; see the scan']
    """
    texts = list(notes)
    for path, description in names.items():
        for name in map(printable, (str(path), Path(path).name)):
            texts = [text.replace(f"'{name}'", description).replace(name, description) for text in texts]
    return texts
