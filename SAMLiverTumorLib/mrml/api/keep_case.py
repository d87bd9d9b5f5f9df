"""For scripts, Slicer's Python console and the panel: an outlined segment kept as a training case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer

from SAMLiverTumorLib.datasets.store.anonymous_case import TrainingCase
from SAMLiverTumorLib.datasets.store.case_store import Added, CaseStore
from SAMLiverTumorLib.mrml.api.training_case import SceneCase, sceneCase
from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource, segmentSource
from SAMLiverTumorLib.mrml.segments.segments import provenance

if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.api.find_and_fine_tune import Segment


@dataclass(frozen=True, eq=False)
class OutlinedCase:
    """The case to keep; made in the thread that owns the scene, stored in any thread.

    :param case: volume, tumor and liver.
    :param provenance: of the tumor's segment, oldest first.
    """

    case: SceneCase
    provenance: list[dict]

    def store(
        self, store: CaseStore | None = None, name: str | None = None, cancel: Callable[[], bool] | None = None
    ) -> Added:
        """Keep it; see `CaseStore.add`.

        :raises InputError: nothing is outlined.
        """
        case = TrainingCase(self.case.volume, self.case.labels(), self.provenance)
        return (store or CaseStore()).add(case, name, cancel)


def outlinedCase(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    liver: LabelSource | None = None,
) -> OutlinedCase:
    """A segment's tumors on their volume, with the models and prompts they came from.

    :param liver: the liver, if known; text prompts are trained on it, and slices without tumor are taken from it.
    :raises InputError: a node cannot be used as it is, or the segment's provenance is damaged.
    """
    case = sceneCase(volumeNode, segmentationNode, segmentId, liver)
    return OutlinedCase(case, provenance(segmentationNode, segmentId))


def storeCase(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    liver: Segment | None = None,
    store: CaseStore | None = None,
    name: str | None = None,
) -> Added:
    """Keep an accepted or corrected segment as a training case, without anything that identifies the patient.

    A scan that is kept already is recognized by its voxels, and its outlines are replaced.

    :param liver: the segment of the liver, if it is outlined.
    :param store: the user's own by default.
    :param name: a name for the case instead of its number; it is stored, so do not use the patient's name.
    :return: the kept case, and whether it was new.
    :raises SAMLiverTumorError: with a text for the user; nothing is kept then.

    >>> storeCase(volumeNode, segmentationNode, segmentId, (organsNode, "liver")).case.name   # doctest: +SKIP
    'case-6f0c2b1d94e37a58'
    """
    source = segmentSource(*liver).copied() if liver is not None else None
    return outlinedCase(volumeNode, segmentationNode, segmentId, source).store(store, name)
