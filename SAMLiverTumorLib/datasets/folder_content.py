"""What lies in a folder, without what systems leave behind: image files, or the slices of a DICOM series."""

from __future__ import annotations

import os
import re
from pathlib import Path

from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.safe_archive import is_junk

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".hdr.gz")
"""Of images. A pair of Analyze or NIfTI goes by its .hdr."""
_VOXELS = (".img", ".img.gz")
_NO_SLICES = {
    "readme",
    "license",
    "licence",
    "copying",
    "notice",
    "changelog",
    "changes",
    "version",
    "authors",
    "dicomdir",
}


def visible(folder: Path) -> list[Path]:
    """Entries in order, without hidden ones: the Decathlon's archive has a ._liver_N.nii.gz beside each scan."""
    return sorted(path for path in folder.iterdir() if not is_junk(path.name))


def image_files(folder: Path) -> list[Path]:
    """Image files that lie in a folder itself."""
    return [path for path in visible(folder) if path.is_file() and path.name.lower().endswith(ENDINGS)]


def holds_images(folder: Path, depth: int) -> bool:
    """Whether image files lie in a folder or at most so many folders deeper."""
    if image_files(folder):
        return True
    return depth > 0 and any(holds_images(path, depth - 1) for path in visible(folder) if path.is_dir())


def holds_series(folder: Path) -> bool:
    """Whether the folder is one DICOM series rather than a folder of cases."""
    if not folder.is_dir():
        return False
    files = [path for path in visible(folder) if path.is_file() and path.name.lower() not in _NO_SLICES]
    return bool(files) and all(_is_slice_name(path.name) for path in files)


def may_hold_dicom(folder: Path) -> bool:
    """Whether a folder, or one within it, has a file that may be a slice, by its name or content."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        for name in sorted(files):
            if is_junk(name) or name.lower() in _NO_SLICES:
                continue
            if _is_slice_name(name) or is_dicom(Path(place, name)):
                return True
    return False


def without_voxels(path: Path) -> Path:
    """The header of a pair (.hdr) where its voxels are named (.img), so that no pair counts twice; else the file."""
    if not path.name.lower().endswith(_VOXELS):
        return path
    same = [each for each in visible(path.parent) if stem(each.name) == stem(path.name)]
    return next((each for each in same if each.name.lower().endswith((".hdr", ".hdr.gz"))), path)


def stem(name: str) -> str:
    """A file's name without its ending."""
    for ending in (*ENDINGS, *_VOXELS, ".dcm"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _is_slice_name(name: str) -> bool:
    """1.nrrd is an image of its own, 1.001 a slice, and 1.2.840.10008 the UID of one."""
    if name.lower().endswith(ENDINGS):
        return False
    path = Path(name)
    return path.suffix.lower() in ("", ".dcm", ".ima") or re.fullmatch(r"[\d.]+", path.stem) is not None
