"""`python3 dev.py bench train`: time of a training step of the decoder, compared with loops that encode in every step.

Each step has one prompt on one slice image of the same phantom. Ours reads the embedding from disk and decodes in
reordered form; the others encode the slice image in every step, as MedSAM's and SAMed's loops do, and decode in
segment-anything's own form. The weights of ViT-B are random, which takes the same time. Runs with --samples show that
memory does not grow with the number of slices.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.speed_plain import PlainTinyViT
from bench.speed_timing import Times, take_turns
from SAMLiverTumorLib.models.builders import SamModel, build_networks
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.models.preprocessing.network_input import network_input
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.training.optimization.losses import mask_losses, to_frame
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel, TrainingExample
from SAMLiverTumorLib.training.progress_events import memory_mb
from SAMLiverTumorLib.training.runs.base_model import open_base, sample_store
from SAMLiverTumorLib.training.samples.embedded_samples import FRAME, Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import BOX, first_prompts
from SAMLiverTumorLib.training.samples.slice_images import SliceImage
from SAMLiverTumorLib.versions import versions

_EDGE = 512


def main(arguments: list[str]) -> int:
    """Measure, print the table and write it to a file."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="steps of each contender (default: 5)")
    parser.add_argument("--short", action="store_true", help="one run without ViT-B, as a smoke test")
    parser.add_argument("--samples", type=int, metavar="N", help="only ours, on N slices: print the peak memory")
    parser.add_argument("--out", type=Path, default=Path("out/bench-train.json"), metavar="FILE", help="file to write")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sam-liver-tumor-bench-") as folder:
        if args.samples:
            return _over_many(Path(folder), args.samples)
        return _compare(Path(folder), args)


def _compare(folder: Path, args: argparse.Namespace) -> int:
    model = open_base("mobile-sam", lambda question: True, "cpu")
    sample = sample_store(folder, model).add(_phantom(0))
    contenders = {"ours": _ours(model, sample)}
    contenders["TinyViT encoded in every step"] = _plain(model, PlainTinyViT(model.image_encoder), sample)
    if not args.short:
        large = _random_vit_b()
        contenders["ViT-B encoded in every step (MedSAM, SAMed)"] = _plain(large, large.image_encoder, sample)
    times = take_turns(contenders, 1 if args.short else args.runs, warm=not args.short)
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    print(f"$ python3 dev.py bench train\n{time.strftime('%Y-%m-%d')}, {machine}, {versions()}\n")
    for name, each in times.items():
        print(f"{name:48} {each}   {_ratio(each, times['ours'])}")
    memory = {} if args.short else {count: _memory_over(count) for count in (20, 200)}
    for count, peak in memory.items():
        print(f"peak memory of training on {count} slices: {peak} MiB")
    report = {"machine": machine, "steps": {name: each.as_dict() for name, each in times.items()}, "memory_mib": memory}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _ratio(times: Times, ours: Times) -> str:
    return "" if times is ours else f"{times.median / ours.median:.1f} x ours"


def _memory_over(count: int) -> int:
    command = [sys.executable, "-m", "bench", "train", "--samples", str(count)]
    folder = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=folder, env={**_environment(folder)}, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _environment(folder: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{folder.parent}"}


def _over_many(folder: Path, count: int) -> int:
    """Train on `count` different samples; their embeddings are random, since only their number matters."""
    model = open_base("mobile-sam", lambda question: True, "cpu")
    store = sample_store(folder, model)
    store._encode = lambda rgb, spacing: np.random.default_rng(0).normal(size=(256, 64, 64)).astype(np.float16)
    samples = [store.add(_phantom(number)) for number in range(count)]
    trainable = TrainableModel(model, [])
    for sample in samples:
        trainable([TrainingExample(sample, BOX, "", 1, (0,))]).backward()
        trainable.zero_grad(set_to_none=True)
    print(memory_mb())
    return 0


def _ours(model: SamModel, sample: Sample) -> Callable[[], object]:
    trainable = TrainableModel(model, [])
    optimizer = torch.optim.AdamW(trainable.learnable().values(), 1e-6)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        trainable([TrainingExample(sample, BOX, "", 1, (0,))]).backward()
        optimizer.step()

    return step


def _plain(model: SamModel, encoder: torch.nn.Module, sample: Sample) -> Callable[[], object]:
    """A step as in published loops: encode, decode with segment-anything's own modules, update."""
    rgb, spacing = sample.rgb()
    size = model.info.input_size
    geometry = input_geometry(rgb.shape[:2], spacing, size, model.info.resize)
    masks = (sample.lesions() == sample.numbers[0])[None]
    targets = torch.from_numpy(masks).float()
    _, boxes = first_prompts(masks, BOX).to_input(size / FRAME, torch.device("cpu"))
    parts = [model.prompt_encoder, model.mask_decoder]
    for part in parts:
        part.requires_grad_(True)
    optimizer = torch.optim.AdamW([weight for part in parts for weight in part.parameters()], 1e-6)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            features = encoder(network_input(rgb, geometry, model.info, torch.device("cpu")))
        sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
        places = model.prompt_encoder.get_dense_pe()
        logits, _ = model.mask_decoder(features, places, sparse, dense, multimask_output=False)
        mask_losses(to_frame(logits, FRAME), targets).mean().backward()
        optimizer.step()

    return step


def _random_vit_b() -> SamModel:
    info = get_model("sam-vit-b")
    networks = build_networks(info.architecture, info.input_size).to_empty(device="cpu")
    for weight in networks.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    networks.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.normal_()
    return SamModel(info, info.sha256, device=torch.device("cpu"), **networks.eval().requires_grad_(False))


def _phantom(number: int) -> SliceImage:
    """A bright disk with a dark one in it, at another place for each number."""
    v, u = np.mgrid[:_EDGE, :_EDGE]
    grey = np.random.default_rng(number).normal(90.0, 12.0, (_EDGE, _EDGE))
    lesion = (v - 200 - number % 40) ** 2 + (u - 250 + number % 30) ** 2 < 18**2
    grey[(v - 256) ** 2 + (u - 256) ** 2 < 150**2] += 40
    grey[lesion] -= 35
    rgb = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return SliceImage("phantom", number, f"phantom {number}", rgb, (0.75, 0.75), lesion.astype(np.uint8), None)
