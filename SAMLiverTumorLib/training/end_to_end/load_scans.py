"""Cases of the settings as slices in memory, all in the grey of the wide window."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.datasets.cases import Case, find_cases, load_case, read_hold_out
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.sampling import sample_plane, voxels_to_slice_mask
from SAMLiverTumorLib.image.window import PRESETS, Window, parse_window
from SAMLiverTumorLib.io.ircadb.lits_cases import lits_number
from SAMLiverTumorLib.plane import slice_count, slice_plane
from SAMLiverTumorLib.training.end_to_end.settings import NetworkSettings
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan
from SAMLiverTumorLib.training.method_settings import MethodSettings

# Single slices are HU from 0 on, pixels of 1.5 mm or so, and 3 mm apart where they belong together.
_FLAT_SPACING = (1.5, 1.5, 3.0)


def load_scans(settings: NetworkSettings, report: Callable[[str], None] = lambda name: None) -> list[Scan]:
    """All scans to learn from, and the single slices.

    :param report: told of each patient.
    :raises InputError: see `find_cases` and `load_case`.
    """
    scans = load_volumes(settings, report)
    for folder in settings.flat:
        report(Path(folder).name)
        scans.append(flat_slices(Path(folder), (*settings.leave_out, *_held(settings))))
    return scans


def load_volumes(settings: MethodSettings, report: Callable[[str], None] = lambda name: None) -> list[Scan]:
    """The scans to learn from.

    :param report: told of each patient.
    :raises InputError: see `find_cases` and `load_case`.
    """
    held = _held(settings)
    scans = []
    for images, labels, window in zip(settings.images, settings.labels, settings.windows, strict=True):
        for files in find_cases(Path(images), Path(labels), held):
            if not _left_out(files.name, settings.leave_out):
                report(files.name)
                scans.append(scan_of(load_case(files), parse_window(window)))
    return scans


def scan_of(case: Case, window: Window) -> Scan:
    """A case's axial slices from inferior to superior.

    :param window: that shows what the wide window does.
    """
    volume = case.volume
    planes = [slice_plane(volume, "axial", index) for index in range(slice_count(volume, "axial"))]
    if planes[0].to_ijk[planes[0].axis, 2] < 0:
        planes.reverse()
    grey = np.stack([window.to_uint8(sample_plane(volume, plane)) for plane in planes])
    label = np.zeros(grey.shape, np.uint8)
    for value, mask in ((1, case.liver), (2, case.tumor)):
        if mask is not None:
            label[np.stack([voxels_to_slice_mask(mask, plane) for plane in planes])] = value
    spacing = tuple(float(mm) for mm in planes[0].spacing)
    return Scan(case.name, grey, label, spacing, has_liver=case.liver is not None)


def flat_slices(folder: Path, leave_out: Sequence[str] = ()) -> Scan:
    """Single slices with a liver: `slices.npz` (image, uint8 of 0 to 255 HU; liver, bool) and `slices.csv`.

    :param folder: of both; the table has columns `row` and `lits_id`, the patient's number in LiTS where it is known.
    :param leave_out: patients whose slices are left out.
    :raises InputError: a file is missing.
    """
    try:
        with np.load(folder / "slices.npz") as arrays:
            hu, liver = arrays["image"], arrays["liver"]
        with (folder / "slices.csv").open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"'{folder}' holds no slices.npz and slices.csv that can be read.") from error
    kept = [int(row["row"]) for row in rows if not _left_out(f"lits{row['lits_id']}", leave_out)]
    grey = PRESETS["wide"].to_uint8(hu[kept])
    return Scan(folder.name, grey, liver[kept].astype(np.uint8), _FLAT_SPACING, has_tumor=False, single=True)


def _held(settings: MethodSettings) -> frozenset[str]:
    return read_hold_out(Path(settings.hold_out)) if settings.hold_out else frozenset()


def _left_out(name: str, leave_out: Sequence[str]) -> bool:
    """Whether a patient is among those, by name or by the number that LiTS and the Decathlon gave."""
    number = lits_number(name)
    return name in leave_out or (number is not None and number in map(lits_number, leave_out))
