"""Labeled scans for tests of training: tiny volumes with obvious tumors, as files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from cli_case import write_volume

from SAMLiverTumorLib.training.samples.embedded_samples import FRAME, Sample
from SAMLiverTumorLib.training.samples.slice_images import SliceImage
from SAMLiverTumorLib.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
LIVER_HU, TUMOR_HU, AROUND_HU = 110, 20, -120
SIZE, SLICES = 64, 5


def scan(center=(32, 30), radius=10, slices=SLICES, with_tumor=range(1, 4), seed=0):
    """(CT, label map): a disc of liver on each slice, a dark disc in it on some, 2 mm pixels, 5 mm slices.

    :param center: of the tumor, (u, v).
    """
    v, u = np.mgrid[:SIZE, :SIZE]
    liver = np.hypot(u - 31, v - 33) < 27
    tumor = np.hypot(u - center[0], v - center[1]) < radius
    labels = np.stack([liver + (tumor * (k in with_tumor)).astype(np.uint8) for k in range(slices)]).astype(np.uint8)
    hu = np.choose(labels, [AROUND_HU, LIVER_HU, TUMOR_HU]) + np.random.default_rng(seed).normal(0, 6, labels.shape)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    return Volume(np.rint(hu).astype(np.int16), affine, "scan"), Volume(labels, affine, "label")


def write_case(folder, name, **options):
    """A case as NAME_ct.nii.gz and NAME_label.nii.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    for volume, kind in zip(scan(**options), ("ct", "label"), strict=True):
        write_volume(folder / f"{name}_{kind}.nii.gz", volume)


def write_cases(folder):
    """Three patients with tumors at different places: p1, p2 and p3."""
    for number, (center, radius) in enumerate([((32, 30), 10), ((24, 36), 9), ((40, 34), 11)], 1):
        write_case(folder, f"p{number}", center=center, radius=radius, seed=number)
    return folder


def options(folder, out, **more):
    """Options of `sam-liver-tumor train` for a short training of the decoder on such cases."""
    given = {
        "images": folder,
        "labels": folder,
        "out": out,
        "validation": "p3",
        "epochs": 2,
        "steps": 2,
        "batch": 2,
        "copies": 0,
        "negatives": 1,
        "slices": 1,
        "validation_slices": 1,
        "corrections": 1,
        "device": "cpu",
        "learning_rate": 1e-3,
        **more,
    }
    words = []
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return words


def command(*words, launcher=("-m", "SAMLiverTumorLib"), **variables):
    """The real command in a process of its own, one thread, standard output and error as text."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, *launcher, "train", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def events(folder, kind):
    """What a run reported, of one kind."""
    lines = (Path(folder) / "progress.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def losses(folder):
    """Loss by step."""
    return {event["step"]: event["loss"] for event in events(folder, "step")}


def disc(u, v, radius, edge=FRAME):
    """Bool (edge, edge), True around a pixel."""
    rows, columns = np.mgrid[:edge, :edge]
    return np.hypot(columns - u, rows - v) <= radius


def slice_image(lesions, liver=None, case="p1", index=3, spacing=(1.0, 1.0)):
    """A grey slice image whose lesions are dark."""
    grey = np.where(lesions > 0, 60, 150).astype(np.uint8)
    return SliceImage(case, index, f"{case} slice {index}", np.repeat(grey[..., None], 3, 2), spacing, lesions, liver)


def sample(folder, lesions, case="p1", name="p1 slice 3", liver=None, seed=0, channels=256):
    """A sample in a folder with an embedding made of noise; lesions uint8 (FRAME, FRAME)."""
    noise = torch.randn(channels, 64, 64, generator=torch.Generator().manual_seed(seed)).half().numpy()
    stem = f"{case}-{seed}-{name.replace(' ', '_')}"
    np.save(folder / f"{stem}.npy", noise)
    liver = np.zeros((0, 0), bool) if liver is None else liver
    rgb = np.repeat(np.random.default_rng(seed).integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2)
    np.savez_compressed(folder / f"{stem}.npz", lesions=lesions, liver=liver, rgb=rgb, spacing=np.ones(2))
    numbers = tuple(int(n) for n in np.unique(lesions) if n)
    return Sample(case, name, numbers, folder / f"{stem}.npy", folder / f"{stem}.npz")
