"""Kept cases as NIfTI files, for other programs."""

from __future__ import annotations

from pathlib import Path

from SAMLiverTumorLib.datasets.store.case_record import KeptCase
from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.write_image import write_image


def export_case(case: KeptCase, folder: Path, overwrite: bool = False) -> tuple[Path, Path]:
    """Write `images/NAME.nii.gz` and `labels/NAME.nii.gz` in a folder: both appear, or none.

    :return: the two files.
    :raises InputError: the case's files are damaged.
    :raises OutputError: a file exists and `overwrite` is False, or the folder or disk refuses.
    """
    paths = tuple(folder / kind / f"{case.name}.nii.gz" for kind in ("images", "labels"))
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
    with atomic_path(paths[0], overwrite) as image, atomic_path(paths[1], overwrite) as label:
        for source, path in ((case.image, image), (case.label, label)):
            volume = read_volume(source)
            write_image(volume.array, volume.ijk_to_ras, path)
    return paths
