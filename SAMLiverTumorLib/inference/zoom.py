"""Zoom: a small lesion is looked at twice, on the whole slice and in a crop of it that fills the network's input.

A network with an input of 256 pixels sees a slice of 512 at half its resolution, and a lesion of 8 mm as some 5 pixels.
A crop alone loses much: without its surroundings the network takes the wrong thing for the lesion. So the whole slice
says what is meant, the crop is decoded with the same prompts, and the mean of both logits makes the mask, unless the
two disagree.

Off unless asked for, since no gain is certain. Mean Dice on whole slices and with zoom, crops of 128 pixels, on LiTS
cases 0, 1, 2, 3 and 5 (47 slices, on which all this was chosen) and on 6 and 7 (26 slices): liver-tumor with boxes
0.792 and 0.802, 0.716 and 0.718; with one click 0.690 and 0.699, 0.590 and 0.589; LiteMedSAM with boxes 0.773 and
0.787, 0.713 and 0.726. On 6 and 7 lesions of 8 to 15 mm gain 0.006 to 0.037, and smaller and larger ones lose 0.001 to
0.021. `python3 dev.py bench zoom --data lits8 --cases ... --models liver-tumor lite-medsam --edges 128`, 2026-11-29;
see docs/results/zoom.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.image.sampling import within
from SAMLiverTumorLib.inference.crop import Crop, crop_around, mask_prompt
from SAMLiverTumorLib.models.registry import ModelInfo
from SAMLiverTumorLib.prompts import PlanePrompts

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.prediction import Prediction
    from SAMLiverTumorLib.inference.predictor import Predictor

OFF, AUTO, ON = ZOOMS = ("off", "auto", "on")

# Edge of a crop in the picture's pixels, by the network's input, which so has two or four pixels for one of them.
_EDGES = {256: 128, 1024: 256}

# Models that "auto" zooms with, for a box alone: their mean was better on both sets of cases (above).
_GAINS = frozenset({"liver-tumor", "lite-medsam"})
# Nothing larger has been measured (mm).
_LARGEST_MM = 40.0

LEAST_AGREEMENT = 0.5
"""IoU of the first mask and the one to take its place, below which the first stays."""


def zoomed(
    predictor: Predictor,
    rgb: np.ndarray,
    spacing: tuple[float, float],
    prompts: PlanePrompts,
    whole: Prediction,
    zoom: str,
    cancel: Callable[[], bool] | None = None,
    edge: int | None = None,
) -> tuple[Prediction, Crop | None]:
    """What a second look, at a crop, makes of a prediction.

    :param rgb: uint8 (rows, columns, 3), the whole picture.
    :param spacing: millimeters per pixel along (rows, columns).
    :param prompts: in the whole picture's pixels; exclude points outside the crop have had their say on the whole.
    :param whole: what `predictor` made of them on the whole picture.
    :param zoom: of `ZOOMS`: "auto" looks twice only with models and prompts whose mean was better so.
    :param cancel: asked before every layer of the encoder.
    :param edge: of the crop, in the picture's pixels; the model's own if not given.
    :return: the prediction in the whole picture's pixels, and the crop; `whole` itself and None where a second look is
        not wanted, the lesion does not fit into a crop, or the two looks disagree.
    :raises Cancelled: when `cancel` says so.
    """
    first = whole.mask if prompts.box is None else whole.mask & within(prompts.box, whole.mask.shape)
    info = predictor.model.info
    crop = choose_crop(info, prompts, first, spacing, zoom, edge)
    if crop is None:
        return whole, None
    embedding = predictor.embed(rgb, spacing, cancel, crop=crop)
    asked = crop.prompts(prompts)
    if prompts.box is None and "mask" in info.prompts:
        # without a box only the first mask says how large the lesion is
        asked = replace(asked, mask=mask_prompt(crop.of(whole.logits), embedding.geometry))
    logits = crop.onto((crop.of(whole.logits) + predictor.predict(embedding, asked).logits) / 2.0, whole.logits)
    mask = logits > 0.0
    second = mask if prompts.box is None else mask & within(prompts.box, mask.shape)
    if np.count_nonzero(first & second) < LEAST_AGREEMENT * np.count_nonzero(first | second):
        return whole, None
    if _obeyed(second, prompts) < _obeyed(first, prompts):
        return whole, None
    # imported late: choosing settings needs no PyTorch
    from SAMLiverTumorLib.inference.prediction import stability_score

    return replace(whole, mask=mask, logits=logits, stability=stability_score(logits)), crop


def choose_crop(
    info: ModelInfo,
    prompts: PlanePrompts,
    found: np.ndarray,
    spacing: tuple[float, float],
    zoom: str,
    edge: int | None = None,
) -> Crop | None:
    """The crop to look at, around a first mask and what was prompted; None for none.

    :param found: bool (rows, columns), the mask found on the whole picture.
    :param spacing: millimeters per pixel along (rows, columns).
    :param zoom: of `ZOOMS`.
    :param edge: of the crop, in the picture's pixels; the model's own if not given.
    """
    if zoom == OFF or not found.any() or not prompts.says_where:
        return None
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    box = (columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5)
    if zoom == AUTO:
        longest = max((box[2] - box[0]) * spacing[1], (box[3] - box[1]) * spacing[0])
        if info.id not in _GAINS or prompts.kinds != {"box"} or longest > _LARGEST_MM:
            return None
    corners = [np.reshape(box, (2, 2)), prompts.points[prompts.labels == 1]]
    if prompts.box is not None:
        corners.append(np.reshape(prompts.box, (2, 2)))
    places = np.concatenate(corners)
    around = (*places.min(axis=0).tolist(), *places.max(axis=0).tolist())
    return crop_around(around, edge or _EDGES[info.input_size], found.shape, spacing)


def _obeyed(mask: np.ndarray, prompts: PlanePrompts) -> int:
    """How many clicks a mask (rows, columns) has on the side that they want."""
    u, v = np.rint(prompts.points).astype(int).T
    last = np.array(mask.shape) - 1
    return int(np.count_nonzero(mask[np.clip(v, 0, last[0]), np.clip(u, 0, last[1])] == (prompts.labels == 1)))
