"""The rows of the speed table, each measured with contenders that take turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.speed_plain import PlainTinyViT, sam_predictor
from bench.speed_scene import SceneClick, box_through, phantom, tumor_box
from bench.speed_timing import Times, count_flops, matrix_product, take_turns
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.segment_slices import Settings, segment
from SAMLiverTumorLib.models.networks.tiny_vit import TinyViT
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.plane import slice_plane

PLAIN = "segment-anything's SamPredictor"
_PRODUCT = "matrix product"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param name: what was measured.
    :param ours: seconds of this project.
    :param others: seconds of other implementations by name; "estimate" in the name marks times that were not measured.
    :param limit_s: seconds for the arithmetic at this machine's rate of matrix products.
    :param notes: other figures, by name.
    """

    name: str
    ours: Times
    others: dict[str, Times | float] = field(default_factory=dict)
    limit_s: float | None = None
    notes: dict[str, float | int | str] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """Median of ours divided by that of each other, by name."""
        known = {name: times.median if isinstance(times, Times) else times for name, times in self.others.items()}
        if self.limit_s is not None:
            known["arithmetic limit"] = self.limit_s
        return {name: self.ours.median / seconds for name, seconds in known.items()}


@dataclass(frozen=True)
class Size:
    """Sizes and numbers of runs."""

    edge: int = 512
    lengths: tuple[int, int] = (100, 800)
    box_slices: int = 60
    runs: int = 7
    clicks: int = 30


class Bench:
    """Measures rows on a phantom with one model; encoders also beside others.

    :param model: of all rows.
    :param beside: models whose encoders are timed in turn with it.
    :param plain: the model whose weights segment-anything's SamPredictor gets.
    """

    def __init__(
        self,
        size: Size,
        model: str = "liver-tumor",
        device: str = "cpu",
        folder: Path | None = None,
        beside: Sequence[str] = ("lite-medsam",),
        plain: str = "mobile-sam",
    ) -> None:
        self.size, self.model, self._beside, self._plain = size, model, tuple(beside), plain
        self.pool = PredictorPool(confirm=lambda question: True, device=device, disk=None)
        self.predictor: Predictor = self.pool.predictor(model)
        self._folder = Path(folder or tempfile.mkdtemp(prefix="sam-liver-tumor-bench-"))
        self.volume = phantom(size.lengths[0], size.edge)
        plane = slice_plane(self.volume, "axial", size.lengths[0] // 2)
        self.rgb, self.spacing = plane_to_rgb(self.volume, plane, PRESETS["liver"]), plane.spacing[1::-1]
        self.prompts = tumor_box(self.volume)

    def encode(self) -> list[Row]:
        """Rows of the encoders: ours beside the others, the plain implementation, the limit."""
        names = [self.model, *self._beside, self._plain]
        predictors = {name: self.pool.predictor(name) for name in names}
        sam = sam_predictor(predictors[self._plain].model)
        multiply, flops = matrix_product(self.predictor.model.device)
        contenders = {
            name: partial(_encode, predictor, self.rgb, self.spacing) for name, predictor in predictors.items()
        }
        contenders[PLAIN] = lambda: sam.set_image(self.rgb)
        contenders[_PRODUCT] = lambda: [multiply() for _ in range(4)]
        times = take_turns(contenders, self.size.runs)
        self.rate = 4 * flops / times[_PRODUCT].median
        rows = []
        for number, name in enumerate(names):
            work = _arithmetic(predictors[name])
            others = {other: times[other] for other in names[number + 1 :]}
            notes: dict[str, float | int | str] = {"GFLOP": work / 1e9, "GFLOP/s": work / times[name].median / 1e9}
            if name == self._plain:
                others[PLAIN], notes["Dice with the plain way's mask"] = times[PLAIN], self._agreement(predictors[name])
            rows.append(Row(f"encode one slice, {name}", times[name], others, work / self.rate, notes))
        rows[0].notes["matrix product GFLOP/s"] = self.rate / 1e9
        return rows

    def _agreement(self, predictor: Predictor) -> float:
        """Dice of a box's masks, a model's own and the plain implementation's."""
        sam = sam_predictor(predictor.model)
        sam.set_image(self.rgb)
        box = _in_sams_pixels(self.prompts.box, predictor.model.info.input_size / self.size.edge)
        masks, _, _ = sam.predict(box=box, multimask_output=False)
        return _dice(predictor.predict(predictor.embed(self.rgb, self.spacing), self.prompts).mask, masks[0])

    def decode(self) -> list[Row]:
        """One prompt, and eight at once, on an encoded slice image."""
        predictor, known = self.predictor, self.pool.predictor(self._plain)
        sam = sam_predictor(known.model)
        sam.set_image(self.rgb)
        embedding, other = (each.embed(self.rgb, self.spacing) for each in (predictor, known))
        box = _in_sams_pixels(self.prompts.box, known.model.info.input_size / self.size.edge)
        eight = [tumor_box(self.volume, grow=n) for n in range(8)]
        times = take_turns(
            {
                "one": lambda: predictor.predict(embedding, self.prompts),
                "eight": lambda: predictor.predict_batch(embedding, eight),
                self._plain: lambda: known.predict(other, self.prompts),
                PLAIN: lambda: sam.predict(box=box, multimask_output=False),
            },
            self.size.clicks,
        )
        sparse, dense = sam.model.prompt_encoder(points=None, boxes=torch.zeros(1, 4, device=sam.device), masks=None)
        places = sam.model.prompt_encoder.get_dense_pe()
        work = count_flops(lambda: sam.model.mask_decoder(sam.features, places, sparse, dense, multimask_output=False))
        others = {self._plain: times[self._plain], PLAIN: times[PLAIN]}
        return [
            Row("decode one prompt, cached", times["one"], others, work / self.rate),
            Row("decode eight prompts, cached", times["eight"], {"eight times one": 8 * times["one"].median}),
        ]

    def clicks(self) -> list[Row]:
        """From a click to the changed segment in the scene, in a short and in a long volume."""
        scenes = {
            length: SceneClick(phantom(length, self.size.edge), self.pool, self.model) for length in self.size.lengths
        }
        times = take_turns({str(length): scene.click for length, scene in scenes.items()}, self.size.clicks)
        short, long = (times[str(length)] for length in self.size.lengths)
        name = "click to changed segment, {0} x {0} x {1}"
        return [
            Row(name.format(self.size.edge, self.size.lengths[0]), short),
            Row(name.format(self.size.edge, self.size.lengths[1]), long, {f"{self.size.lengths[0]} slices": short}),
        ]

    def first_mask(self, encode: Row, decode: Row) -> list[Row]:
        """From a new volume to its first mask."""
        volumes = iter([phantom(self.size.lengths[0], self.size.edge, seed) for seed in range(1, self.size.runs + 2)])

        def open_and_prompt() -> None:
            volume = next(volumes)
            segment(volume, box_through(volume, 1), self._fresh_pool(), Settings(model=self.model))

        times = take_turns({"ours": open_and_prompt}, self.size.runs)["ours"]
        one = encode.ours.median + decode.ours.median
        name = f"opening {self.size.lengths[0]} slices to first mask"
        return [Row(name, times, {"1 encode + 1 decode": one})]

    def box(self) -> list[Row]:
        """One box through many slices: the first time, again, and after a restart."""
        volume, slices = self.volume, self.size.box_slices
        prompts, settings = box_through(volume, slices), Settings(model=self.model)
        predictor, runs = self.predictor, max(self.size.runs // 3, 1)
        disk = DiskCache(self._folder / "embeddings")
        encoded: dict[str, int] = {}
        encoding: list[float] = []

        def counted(name: str, pool: PredictorPool) -> None:
            before = pool.predictor(self.model).encoded
            segment(volume, prompts, pool, settings)
            encoded[name] = pool.predictor(self.model).encoded - before

        def first() -> None:
            disk.clear()
            with _timed(predictor.model.image_encoder) as calls:
                counted("first", self._fresh_pool(disk))
            encoding.append(sum(calls))

        def encode_all() -> None:
            for _ in range(slices):
                _encode(predictor, self.rgb, self.spacing)

        kept = self._fresh_pool()
        segment(volume, prompts, kept, settings)
        contenders: dict[str, Callable[[], None]] = {
            "encode": encode_all,
            "first": first,
            "reopened": lambda: counted("reopened", self._fresh_pool(disk)),
            "again": partial(counted, "again", kept),
        }
        times = take_turns(contenders, runs, warm=False)
        # the machine's speed drifts over minutes, so the run's own encodes are timed as well
        own = {f"its own {encoded['first']} encodes": Times(tuple(encoding))}
        others = {f"{slices} x encode": times["encode"], **own}
        again = {"the first time": times["first"]}
        return [
            Row(f"box over {slices} slices", times["first"], others, None, {"encodes": encoded["first"]}),
            Row("the same again", times["again"], again, None, {"encodes": encoded["again"]}),
            Row("the same after a new start", times["reopened"], again, None, {"encodes": encoded["reopened"]}),
        ]

    def _fresh_pool(self, disk: DiskCache | None = None) -> PredictorPool:
        """A pool as in a new session, but with the weights already loaded."""
        pool = PredictorPool(disk=disk)
        pool._predictors[self.model] = Predictor(self.predictor.model, pool.cache)
        return pool


def _encode(predictor: Predictor, rgb: np.ndarray, spacing: tuple[float, float]) -> None:
    """The network alone, without what keeps its answers."""
    geometry = input_geometry(rgb.shape[:2], spacing, predictor.model.info.input_size, predictor.model.info.resize)
    predictor._encode(rgb, geometry)


def _arithmetic(predictor: Predictor) -> int:
    """Floating-point operations of encoding a slice."""
    model = predictor.model
    encoder = model.image_encoder
    if isinstance(encoder, TinyViT):
        # fused operations, which ours uses, are not counted
        encoder = PlainTinyViT(encoder)
    side = model.info.input_size
    return count_flops(lambda: encoder(torch.zeros(1, 3, side, side, device=model.device)))


@contextmanager
def _timed(network: torch.nn.Module) -> Iterator[list[float]]:
    """Seconds of each of a network's calls within the block."""
    seconds: list[float] = []
    starts: list[float] = []
    hooks = (
        network.register_forward_pre_hook(lambda *_: starts.append(time.perf_counter())),
        network.register_forward_hook(lambda *_: seconds.append(time.perf_counter() - starts.pop())),
    )
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def _in_sams_pixels(box: tuple[float, float, float, float], scale: float) -> np.ndarray:
    """The same box for SamPredictor, which adds its half pixel after scaling to the input instead of before."""
    return np.asarray(box) + 0.5 - 0.5 / scale
