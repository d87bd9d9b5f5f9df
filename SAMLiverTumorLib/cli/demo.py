"""The whole path once, on the sample case: CT into a scene, prompts, masks, images, figures.

The reference stands in for the user: it says where the boxes around three tumors are drawn, and where clicks are set in
and beside them. Masks and figures are computed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.evaluation.metrics.evaluate import Evaluation, evaluate
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.mrml.api.segment import Segmented, segmentNodes
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import createPromptNodes, definedPointsRas, volumeFromNode
from SAMLiverTumorLib.mrml.rendering.render import PICTURES, renderScene
from SAMLiverTumorLib.mrml.scene_files import loadVolume, saveScene, saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import createSegmentation, segmentArray
from SAMLiverTumorLib.resources import sample_case
from SAMLiverTumorLib.volume import Volume, apply_affine

# The largest tumor of the sample case is a confluent mass that fills its bounding box by a fifth and
# encloses healthy liver: no box describes it.
LESIONS = (2, 3, 4)
TUMOR_LABEL = "2"

# A box is drawn this far outside the tumor's outline within a slice, and ends on its first and last
# slice, which a user finds by scrolling.
_MARGIN_MM = 2.0


@dataclass(frozen=True)
class DemoResult:
    """What the demo made: figures, files, and one sentence if there are no images."""

    evaluation: Evaluation
    files: tuple[Path, ...]
    pictures_missing: str | None


def run_demo(
    out: Path,
    pool: PredictorPool,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int | None], None] | None = None,
    lesions: Sequence[int] = LESIONS,
) -> DemoResult:
    """Segment tumors of the sample case and write everything to a folder, replacing an earlier run's.

    :param out: folder for `segmentation.seg.nrrd`, `scene.mrb`, `report.json` and the images; made if needed.
    :param lesions: which of the tumors, by their place among the largest: 1 is the largest.
    :raises SAMLiverTumorError: models cannot be had, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Folder '{out}' cannot be made: {error}; choose another with --out.") from error
    files = sample_case()
    scene = createScene()
    volumeNode = loadVolume(scene, files["ct"])
    volumeNode.SetName("LiTS 117")
    volume = volumeFromNode(volumeNode)
    labels, _ = onto_grid(read_labels(files["label"]), volume.ijk_to_ras, volume.dimensions)
    reference = labels.segments[TUMOR_LABEL]
    segmentationNode = createSegmentation(scene, volumeNode, "Liver tumors")
    largest = largest_components(reference, max(lesions))
    done: list[Segmented] = []
    clicks = []
    for number in lesions:
        name = f"Tumor {number}"
        nodes = createPromptNodes(scene, name)
        place_prompts(volume, largest[number - 1], *nodes)
        clicks.append(definedPointsRas(nodes[0])[0])
        say(f"{name}: box of {'x'.join(f'{s:.0f}' for s in nodes[2].GetSize())} mm, one include and one exclude point")
        done.append(
            segmentNodes(
                volumeNode, *nodes, segmentationNode=segmentationNode, segmentName=name, pool=pool, progress=progress
            )
        )
    segments = {
        f"Tumor {n}": segmentArray(segmentationNode, d.segmentId, volumeNode)
        for n, d in zip(lesions, done, strict=True)
    }
    evaluation = evaluate(segments, reference, volume.voxel_volume_ml, spacing=volume.spacing[::-1])
    written = [out / name for name in ("segmentation.seg.nrrd", "scene.mrb", "report.json")]
    saveSegmentation(segmentationNode, written[0], overwrite=True)
    segmentationNode.CreateClosedSurfaceRepresentation()
    saveScene(scene, written[1], overwrite=True)
    with atomic_path(written[2], overwrite=True) as temporary:
        text = json.dumps(_report(evaluation, lesions, done, volume), indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
    pictures = [out / name for name in PICTURES]
    for picture in pictures:  # an earlier run's would pass for this one's if rendering failed
        picture.unlink(missing_ok=True)
    missing = renderScene(written[1], out, tuple(clicks[0]))
    if missing is None:
        written += pictures
    return DemoResult(evaluation, tuple(written), missing)


def largest_components(mask: np.ndarray, count: int) -> list[np.ndarray]:
    """The `count` largest lesions, largest first, each a bool array."""
    from SAMLiverTumorLib.image.lesion_components import label_lesions

    labels, _ = label_lesions(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return [labels == label for label in np.argsort(sizes, kind="stable")[::-1][:count]]


def place_prompts(
    volume: Volume,
    lesion: np.ndarray,
    includeNode: slicer.vtkMRMLMarkupsFiducialNode,
    excludeNode: slicer.vtkMRMLMarkupsFiducialNode,
    roiNode: slicer.vtkMRMLMarkupsROINode,
) -> None:
    """Draw a box around a lesion and click in and beside it, on the axial slice where it is largest.

    :param lesion: bool (k, j, i) on the volume's grid, whose k axis runs along S.
    """
    from scipy import ndimage

    voxels = np.argwhere(lesion)[:, ::-1]
    low, high = voxels.min(axis=0) - 0.5, voxels.max(axis=0) + 0.5
    corners = apply_affine(volume.ijk_to_ras, np.array([low, high]))
    size = np.abs(corners[1] - corners[0]) + np.array([2 * _MARGIN_MM, 2 * _MARGIN_MM, 0.0])
    roiNode.SetCenterWorld(*corners.mean(axis=0))
    roiNode.SetSizeWorld(*size)
    k = int(lesion.sum(axis=(1, 2)).argmax())
    j0, i0, j1, i1 = int(low[1] + 0.5), int(low[0] + 0.5), int(high[1] + 0.5), int(high[0] + 0.5)
    outline = lesion[k, j0:j1, i0:i1]
    # one pixel of padding, or the border would count as deep inside the lesion
    depth = ndimage.distance_transform_edt(np.pad(outline, 1))[1:-1, 1:-1]
    beside = ndimage.distance_transform_edt(~outline)
    for node, map_ in ((includeNode, depth), (excludeNode, beside)):
        j, i = np.unravel_index(int(map_.argmax()), map_.shape)
        node.AddControlPointWorld(*apply_affine(volume.ijk_to_ras, np.array([i0 + i, j0 + j, k]))[0])


def _report(evaluation: Evaluation, lesions: Sequence[int], done: list[Segmented], volume: Volume) -> dict:
    return {
        "case": "LiTS / MSD Task03 case 117, crop around the liver",
        "prompts": (
            f"derived from the reference: a box {_MARGIN_MM:g} mm outside each lesion's outline, one include point "
            "at its deepest place and one exclude point beside it, both on its largest axial slice"
        ),
        "caution": (
            "LiteMedSAM was very probably trained on LiTS, and liver-tumor was trained on this very case; these are "
            "not figures on unseen data"
        ),
        "version": __version__,
        "voxel_volume_ml": round(volume.voxel_volume_ml, 9),
        "evaluation": evaluation.as_dict(),
        "segments": [
            {
                "segment": f"Tumor {number}",
                "voxels": each.result.mask.count,
                "volume_ml": round(each.result.mask.volume_ml, 6),
                "notes": list(each.result.notes),
                "provenance": each.result.provenance,
            }
            for number, each in zip(lesions, done, strict=True)
        ],
    }
