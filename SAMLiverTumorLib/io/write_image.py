"""Image and label volumes to files, with nothing in them but voxels and where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.images import set_image_affine
from SAMLiverTumorLib.io.safe_names import writable_name

# Of the direction of an image file, whose axes have to be at right angles.
_SQUARE = 1e-3


def write_image(array: np.ndarray, ijk_to_ras: np.ndarray, path: Path) -> None:
    """Write voxels as a compressed image.

    :param array: (k, j, i).
    :param ijk_to_ras: 4x4 affine from voxel indices (i, j, k) to world RAS in mm.
    :param path: its ending says the format; an existing file is replaced. Give one of `atomic_path` for all or nothing.
    :raises InputError: the voxels are sheared, which no image file can say.
    :raises OutputError: it cannot be written.
    """
    axes = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SQUARE:
        raise InputError("The volume's axes are not at right angles, which no image file can say; resample it first.")
    image = sitk.GetImageFromArray(array)
    set_image_affine(image, ijk_to_ras)
    try:
        with writable_name(path) as written:
            sitk.WriteImage(image, str(written), True)
    except RuntimeError as error:
        raise OutputError(f"'{path.name}' cannot be written: {str(error).strip().splitlines()[-1]}") from error
