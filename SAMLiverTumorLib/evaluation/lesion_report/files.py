"""Write a lesion report to a folder: CSV, JSON, HTML and PDF."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import OutputError, printable
from SAMLiverTumorLib.evaluation.lesion_report.table import LesionReport
from SAMLiverTumorLib.io.atomic import atomic_path, check_output
from SAMLiverTumorLib.io.json_text import json_text
from SAMLiverTumorLib.volume import Volume

FILES = ("lesions.csv", "lesions.json", "lesions.html", "lesions.pdf")
"""The files of a report; nothing in them names the patient or a file."""


def check_folder(folder: Path | str, overwrite: bool = False) -> Path:
    """Refuse a folder to which the report cannot be written, before anything is computed.

    :raises OutputError: it is a file, it has a report already and `overwrite` is False, or matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise OutputError(
            "The report's images need matplotlib, which is not installed; run: pip install matplotlib (in Slicer's "
            "Python console: slicer.util.pip_install('matplotlib'))."
        )
    folder = Path(folder)
    if folder.is_dir():
        for name in FILES:
            check_output(folder / name, overwrite)
    elif folder.exists() or folder.is_symlink():
        raise OutputError(f"'{folder}' exists and is not a folder; choose another name.")
    return folder


def write_report(
    folder: Path | str,
    report: LesionReport,
    volume: Volume,
    mask: np.ndarray,
    title: str | None = None,
    pictures: int | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the report's files, all or none; the folder is created if needed.

    :param volume: the CT that was measured.
    :param mask: the segment, bool (k, j, i) on its grid.
    :param title: of the page; None for a neutral one.
    :param pictures: number of lesions shown as images, the largest first; None for the default.
    :raises OutputError: the folder or a file cannot be written.
    """
    from SAMLiverTumorLib.evaluation.lesion_report.html_page import PICTURES, TITLE, as_html, write_pdf

    folder = check_folder(folder, overwrite)
    title, pictures = printable(title or TITLE), PICTURES if pictures is None else pictures
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Folder '{folder}' cannot be created ({error.strerror}); choose another one.") from error
    paths = tuple(folder / name for name in FILES)
    # all files are complete before the first one is put in place
    with ExitStack() as stack:
        csv_path, json_path, html_path, pdf_path = (stack.enter_context(atomic_path(p, overwrite)) for p in paths)
        csv_path.write_text(printable(report.as_csv()), "utf-8")
        json_path.write_text(json_text(report.as_dict(), 2), "utf-8")
        html_path.write_text(printable(as_html(report, volume, mask, title, pictures)), "utf-8")
        write_pdf(pdf_path, report, volume, mask, title, pictures)
    return paths
