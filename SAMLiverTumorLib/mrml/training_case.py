"""A volume of the scene with its outlined tumors, as files that a training reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.images import set_image_affine
from SAMLiverTumorLib.mrml.label_sources import LabelSource, segmentSource
from SAMLiverTumorLib.mrml.nodes import volumeFromNode
from SAMLiverTumorLib.volume import Volume

LIVER, TUMOR = 1, 2
"""Label values, as in LiTS."""

# Of the direction of an image file, whose axes have to be at right angles.
_SQUARE = 1e-3


@dataclass(frozen=True, eq=False)
class SceneCase:
    """What is written; made in the thread that owns the scene, written in whichever.

    :param volume: the scan.
    :param tumor: its tumors.
    :param liver: None where there is no outline of it.
    """

    volume: Volume
    tumor: LabelSource
    liver: LabelSource | None = None

    def write(self, folder: Path, name: str = "scene") -> tuple[Path, Path]:
        """Write `images/NAME.nii.gz` and `labels/NAME.nii.gz` on the volume's voxels; existing ones are replaced.

        :return: the two folders.
        :raises InputError: nothing is outlined, or the voxels are sheared.
        :raises OutputError: it cannot be written.
        """
        labels = np.zeros(self.volume.array.shape, np.uint8)
        for source, value in ((self.liver, LIVER), (self.tumor, TUMOR)):
            if source is not None:
                mask, _notes = source.onGrid(self.volume)
                if not mask.any():
                    raise InputError(f"Segment '{source.name}' is empty within the volume; outline it first.")
                labels[mask] = value
        folders = []
        for kind, array in (("images", self.volume.array), ("labels", labels)):
            try:
                (folder / kind).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
            with atomic_path(folder / kind / f"{name}.nii.gz", overwrite=True) as path:
                _write(array, self.volume.ijk_to_ras, path)
            folders.append(folder / kind)
        return tuple(folders)


def sceneCase(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    liver: LabelSource | None = None,
) -> SceneCase:
    """The segment's tumors on the volume; voxels of the segments are copied, those of the volume are not.

    :raises InputError: a node cannot be used as it is.
    """
    return SceneCase(volumeFromNode(volumeNode), segmentSource(segmentationNode, segmentId).copied(), liver)


def _write(array: np.ndarray, ijkToRas: np.ndarray, path: Path) -> None:
    axes = ijkToRas[:3, :3] / np.linalg.norm(ijkToRas[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SQUARE:
        raise InputError("The volume's axes are not at right angles, which no image file can say; resample it first.")
    image = sitk.GetImageFromArray(array)
    set_image_affine(image, ijkToRas)
    try:
        sitk.WriteImage(image, str(path), True)
    except RuntimeError as error:
        raise OutputError(f"'{path.name}' cannot be written: {str(error).strip().splitlines()[-1]}") from error
