"""A volume of the scene with its outlined tumors, as files for a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer

from SAMLiverTumorLib.datasets.store.anonymous_case import LIVER, TUMOR
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.write_image import write_image
from SAMLiverTumorLib.mrml.nodes.conversions import volumeFromNode
from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource, segmentSource
from SAMLiverTumorLib.volume import Volume


@dataclass(frozen=True, eq=False)
class SceneCase:
    """The case to write; made in the thread that owns the scene, written in any thread.

    :param volume: the scan.
    :param tumor: its tumors.
    :param liver: None if it is not outlined.
    """

    volume: Volume
    tumor: LabelSource
    liver: LabelSource | None = None

    def labels(self) -> np.ndarray:
        """The label map on the volume's grid, uint8 (k, j, i): 1 liver, 2 tumor.

        :raises InputError: nothing is outlined.
        """
        labels = np.zeros(self.volume.array.shape, np.uint8)
        for source, value in ((self.liver, LIVER), (self.tumor, TUMOR)):
            if source is not None:
                mask, _notes = source.onGrid(self.volume)
                if not mask.any():
                    raise InputError(f"Segment '{source.name}' is empty within the volume; outline it first.")
                labels[mask] = value
        return labels

    def write(self, folder: Path, name: str = "scene") -> tuple[Path, Path]:
        """Write `images/NAME.nii.gz` and `labels/NAME.nii.gz` on the volume's grid; existing files are replaced.

        :return: the two folders.
        :raises InputError: nothing is outlined, or the voxels are sheared.
        :raises OutputError: it cannot be written.
        """
        labels = self.labels()
        folders = []
        for kind, array in (("images", self.volume.array), ("labels", labels)):
            try:
                (folder / kind).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
            with atomic_path(folder / kind / f"{name}.nii.gz", overwrite=True) as path:
                write_image(array, self.volume.ijk_to_ras, path)
            folders.append(folder / kind)
        return tuple(folders)


def sceneCase(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    liver: LabelSource | None = None,
) -> SceneCase:
    """The segment's tumors on the volume; the segment's voxels are copied, those of the volume are not.

    :raises InputError: a node cannot be used as it is.
    """
    return SceneCase(volumeFromNode(volumeNode), segmentSource(segmentationNode, segmentId).copied(), liver)
