"""Probability and uncertainty maps to files that lie over the CT voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.io.images import set_image_affine
from SAMLiverTumorLib.io.safe_names import writable_name
from SAMLiverTumorLib.voxel_map import VoxelMap

SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")


def check_map_name(path: Path) -> None:
    """Refuse, before any work is done for it, a name that no map can be written under.

    :raises OutputError: saying which endings can be.
    """
    name = path.name.lower()
    if not name.endswith(SUFFIXES) or name.endswith(".seg.nrrd"):
        raise OutputError(f"'{path}' has to end in {', '.join(SUFFIXES)}: it holds a value for every voxel.")


def write_map(values: VoxelMap, path: Path) -> None:
    """Write a map as a compressed image on the whole grid of its volume: whole percent, 0 to 100, 8 bits a voxel.

    :param path: see `check_map_name`; an existing file is replaced. Give one of `atomic_path` for all or nothing.
    :raises OutputError: it cannot be written.
    """
    whole = np.zeros(values.dimensions[::-1], np.uint8)
    whole[values.box] = values.percent
    image = sitk.GetImageFromArray(whole)
    del whole  # a copy of it is in the image
    set_image_affine(image, values.ijk_to_ras)
    try:
        with writable_name(path) as written:
            sitk.WriteImage(image, str(written), True)
    except RuntimeError as error:
        raise OutputError(f"'{path}' cannot be written: {str(error).strip().splitlines()[-1]}") from error
