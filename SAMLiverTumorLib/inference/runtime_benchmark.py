"""PyTorch against ONNX Runtime on this machine: time of encoding, and whether the masks are the same."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.image.window import parse_window, plane_to_rgb
from SAMLiverTumorLib.inference.cache import EmbeddingCache
from SAMLiverTumorLib.inference.prediction import Embedding
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.runtime import ONNXRUNTIME, PYTORCH, in_onnxruntime
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.resources import sample_case

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel

# Axial slices of the sample case through its fourth largest tumor, and a box around that.
_SLICES = (70, 73, 76)
_BOX = (38.5, 29.5, 69.5, 63.5)

# A gain that is not worth other rounding, and may be chance.
_WORTHWHILE = 0.9
_SAME_MASKS = 0.995


@dataclass(frozen=True)
class Comparison:
    """What was found.

    :param seconds: of each run, one slice each, by runtime.
    :param difference: the largest between two values of the embeddings, which are float16.
    :param largest: the largest absolute value of PyTorch's embeddings.
    :param dice: the least of the slices' masks of one box, between the runtimes.
    :param encoder: name and version of the other runtime.
    """

    seconds: dict[str, tuple[float, ...]]
    difference: float
    largest: float
    dice: float
    encoder: str

    def median(self, runtime: str) -> float:
        """Seconds of the middle run."""
        return statistics.median(self.seconds[runtime])

    @property
    def same_masks(self) -> bool:
        """Whether the runtimes agree well enough to choose between them."""
        return self.dice >= _SAME_MASKS

    @property
    def choice(self) -> str:
        """ONNX Runtime if it takes a tenth less time at least, with the same masks; else PyTorch."""
        faster = self.median(ONNXRUNTIME) <= _WORTHWHILE * self.median(PYTORCH)
        return ONNXRUNTIME if faster and self.same_masks else PYTORCH

    def as_dict(self) -> dict:
        """JSON-ready."""
        return {"seconds": self.seconds, "difference": self.difference, "dice": self.dice, "encoder": self.encoder}


def compare_runtimes(model: SamModel) -> Comparison:
    """Encode slices of the sample case in either runtime, taking turns, after one run of each that does not count.

    :param model: on the CPU, in PyTorch.
    :raises SAMLiverTumorError: a package or the sample case is missing, or the export cannot be made.
    """
    volume = read_volume(sample_case()["ct"])
    planes = [slice_plane(volume, "axial", index) for index in _SLICES]
    window = parse_window(model.info.default_window)
    pictures = [(plane_to_rgb(volume, plane, window), plane.spacing[1::-1]) for plane in planes]
    models = {PYTORCH: model, ONNXRUNTIME: in_onnxruntime(model)}
    predictors = {runtime: Predictor(loaded, EmbeddingCache()) for runtime, loaded in models.items()}
    for predictor in predictors.values():
        predictor.embed(*pictures[0])
        predictor.cache.clear()
    seconds: dict[str, list[float]] = {runtime: [] for runtime in predictors}
    differences, values, dices = [], [], []
    for picture in pictures:
        embeddings = {}
        for runtime, predictor in predictors.items():
            start = time.perf_counter()
            embeddings[runtime] = predictor.embed(*picture)
            seconds[runtime].append(time.perf_counter() - start)
        ours, others = embeddings[PYTORCH], embeddings[ONNXRUNTIME]
        differences.append(float((ours.features - others.features).abs().max()))
        values.append(float(ours.features.abs().max()))
        dices.append(_dice(*(_mask(predictors[PYTORCH], embedding) for embedding in (ours, others))))
    times = {runtime: tuple(runs) for runtime, runs in seconds.items()}
    return Comparison(times, max(differences), max(values), min(dices), predictors[ONNXRUNTIME].runtime)


def _mask(predictor: Predictor, embedding: Embedding) -> np.ndarray:
    if "box" in predictor.model.info.prompts:
        return predictor.predict(embedding, PlanePrompts(box=_BOX)).mask
    center = ((_BOX[0] + _BOX[2]) / 2, (_BOX[1] + _BOX[3]) / 2)
    return predictor.predict(embedding, PlanePrompts([center], [1])).mask


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    """1 where both are empty: they agree."""
    marked = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / marked if marked else 1.0
