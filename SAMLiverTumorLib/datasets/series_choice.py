"""Which series of their DICOM folders several scans are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.ircadb.cases import is_ircadb

if TYPE_CHECKING:
    from SAMLiverTumorLib.datasets.cases import CaseFiles


def has_series(image: Path) -> bool:
    """Whether a scan lies in a DICOM folder or file, which may hold several series. 3D-IRCADb has one each."""
    return not is_ircadb(image) and (image.is_dir() or is_dicom(image))


def with_series(cases: Sequence[CaseFiles], series: str | None) -> list[CaseFiles]:
    """The cases, of which those in DICOM folders are read from this series; other files have no choice.

    :param series: number or UID; None or empty for the only one.
    :raises InputError: no scan lies in a DICOM folder, or a UID, which one scan alone can have, is for several.
    """
    if not series:
        return list(cases)
    choosing = [case for case in cases if has_series(case.image)]
    if not choosing:
        raise InputError(f"--series {series} chooses from DICOM folders, but none of the scans is one; leave it out.")
    refuse_one_for_several(series, len(choosing))
    return [replace(case, series=series) if case in choosing else case for case in cases]


def refuse_one_for_several(series: str, scans: int) -> None:
    """Refuse a UID for several scans, since one alone can have it.

    :raises InputError: see above.
    """
    if scans > 1 and "." in series:
        raise InputError(
            f"The series '{series}' is of one scan, but there are {scans}; give --series a number that the series "
            "has in each of them, or run them apart."
        )
