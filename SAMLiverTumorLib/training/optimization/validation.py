"""Validation: mean Dice per patient on slice images that the network does not learn from, by kind of prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from SAMLiverTumorLib.models.networks.row_bands import workers
from SAMLiverTumorLib.training.optimization.losses import to_frame
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel
from SAMLiverTumorLib.training.samples.embedded_samples import FRAME, Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import (
    BOX,
    POINT,
    TEXT,
    SimulatedPrompts,
    corrections,
    first_prompts,
)
from SAMLiverTumorLib.training.settings import LIVER_TUMOR

POINT_CORRECTED = "point + 3"
KINDS = (POINT, POINT_CORRECTED, BOX, TEXT)

_CORRECTIONS = 3


@torch.inference_mode()
def validate(
    trainable: TrainableModel,
    samples: Sequence[Sample],
    kinds: Sequence[str] = KINDS,
    cancel: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, float]]:
    """Mean Dice for each kind of prompt and patient.

    Prompts are those of the reference figures: a box two pixels outside the lesion, its deepest point, and corrective
    clicks at the deepest place of the largest error, with the previous mask as prompt. Lesions are 8-connected
    components on a slice, and each counts once. With text alone, Dice is over all lesions of all slices of the patient
    together, within the liver if the labels have one.

    :param samples: whole slice images.
    :return: kind -> patient -> Dice; an empty dictionary for a kind with nothing to measure.
    """
    dices: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in kinds}
    shared: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for sample in samples:
        if cancel():
            break
        with workers():
            image = trainable.image_side(sample)
            lesions = sample.lesions()
            if TEXT in kinds:
                marked = _text_mask(trainable, image, LIVER_TUMOR)
                if (liver := sample.liver()) is not None:
                    marked &= liver
                wanted = lesions > 0
                shared[sample.case] += (2 * np.count_nonzero(marked & wanted), marked.sum() + wanted.sum())
            for number in sample.numbers:
                for kind, dice in _lesion_dices(trainable, image, lesions == number, kinds):
                    dices[kind][sample.case].append(dice)
    result = {kind: {case: float(np.mean(found)) for case, found in dices[kind].items()} for kind in kinds}
    if TEXT in kinds:
        result[TEXT] = {case: float(both / all_) for case, (both, all_) in shared.items() if all_}
    return result


def overall(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean over patients, by kind of prompt."""
    return {kind: float(np.mean(list(cases.values()))) for kind, cases in scores.items() if cases}


def _lesion_dices(trainable: TrainableModel, image, mask: np.ndarray, kinds: Sequence[str]):
    masks = mask[None]
    if BOX in kinds:
        yield BOX, _dice(_decoded(trainable, image, first_prompts(masks, BOX), None)[0], mask)
    if POINT in kinds or POINT_CORRECTED in kinds:
        prompts = first_prompts(masks, POINT)
        marked, before = _decoded(trainable, image, prompts, None)
        if POINT in kinds:
            yield POINT, _dice(marked, mask)
        if POINT_CORRECTED in kinds:
            for _ in range(_CORRECTIONS):
                prompts = prompts.with_clicks(*corrections(masks, marked[None]))
                marked, before = _decoded(trainable, image, prompts, before)
            yield POINT_CORRECTED, _dice(marked, mask)


def _decoded(
    trainable: TrainableModel, image, prompts: SimulatedPrompts, before: torch.Tensor | None
) -> tuple[np.ndarray, torch.Tensor]:
    """The mask (FRAME, FRAME), and its low-resolution logits (1, 1, 256, 256)."""
    alone = prompts.boxes is None and before is None and prompts.points.shape[1] == 1
    logits, iou = trainable.decode(image, prompts, before, None, ambiguous=alone)
    chosen = logits[:, int(iou[0].argmax())][:, None]
    return (to_frame(chosen, FRAME)[0, 0] > 0).cpu().numpy(), chosen


def _text_mask(trainable: TrainableModel, image, concept: str) -> np.ndarray:
    logits, _ = trainable.decode(image, None, None, concept, ambiguous=False)
    return (to_frame(logits, FRAME)[0, 0] > 0).cpu().numpy()


def _dice(marked: np.ndarray, mask: np.ndarray) -> float:
    total = np.count_nonzero(marked) + np.count_nonzero(mask)
    return 2.0 * np.count_nonzero(marked & mask) / total if total else 1.0
