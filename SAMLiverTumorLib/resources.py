"""Where the extension's data files lie, such as the sample case."""

from __future__ import annotations

from pathlib import Path

from SAMLiverTumorLib.errors import InputError

LIBRARY_PARENT = Path(__file__).resolve().parents[1]
"""The folder that holds this package: on the path of programs started with it, and the parent of `Resources/`."""


def resource_folder(name: str) -> Path:
    """A folder under `Resources/` of the repository or of the installed extension, such as "SampleCase".

    `Resources/` and this package have the same parent in a checkout, in Slicer's build tree and in the
    installed extension; only a wheel of the library alone comes without it.

    :raises InputError: where it was not installed.
    """
    folder = LIBRARY_PARENT / "Resources" / name
    if not folder.is_dir():
        raise InputError(
            f"{folder} is missing: the library was installed without its data. Work from a clone of the repository "
            "or from the Slicer extension."
        )
    return folder


def sample_case() -> dict[str, Path]:
    """The sample case: "ct" (HU) and "label" (1 liver, 2 tumor), both `.nii.gz` on one grid.

    :raises InputError: where it was not installed.
    """
    folder = resource_folder("SampleCase")
    return {name: folder / f"{name}.nii.gz" for name in ("ct", "label")}
