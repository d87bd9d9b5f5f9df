"""The jobs: segment, train, batch, embeddings written to disk, download of a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from faults.job import Job

BOX = "--box=35.5,-41.75,-276,65.5,-9.75,-268"
_ARRAYS = 40


def phantom_volume():
    """Body, liver and a lesion, like the tests' phantom: 96 x 96 x 20 voxels."""
    from SAMLiverTumorLib.volume import Volume

    k, j, i = np.meshgrid(np.arange(20), np.arange(96), np.arange(96), indexing="ij")
    body = ((i - 48) / 44) ** 2 + ((j - 48) / 36) ** 2 < 1
    lesion = ((i - 34) * 1.5) ** 2 + ((j - 44) * 1.5) ** 2 + ((k - 10) * 4.0) ** 2 < 14**2
    hu = np.where(body, 110, -1000) - np.where(lesion, 60, 0)
    affine = np.array([[-1.5, 0, 0, 101.5], [0, -1.5, 0, 40.25], [0, 0, 4.0, -312.0], [0, 0, 0, 1]])
    return Volume(hu.astype(np.int16), affine, "phantom")


def segment_job(inputs: Path) -> Job:
    """A box on three slices with the bundled model, with report; an older result is replaced."""
    from cli_case import write_volume

    from SAMLiverTumorLib.cli.main import main
    from SAMLiverTumorLib.io.labels.reader import read_labels

    ct = write_volume(inputs / "ct.nrrd", phantom_volume())

    def run(folder: Path) -> int:
        words = ["segment", ct, "-o", folder / "out.seg.nrrd", "--json", folder / "report.json", BOX, "--overwrite"]
        return main([*map(str, words), "--model", "liver-tumor", "--device", "cpu"])

    def check(folder: Path) -> None:
        if (folder / "out.seg.nrrd").exists():
            labels = read_labels(folder / "out.seg.nrrd")
            assert labels.segments["Liver tumor"].any()
        if (folder / "report.json").exists():
            assert json.loads((folder / "report.json").read_text())["voxels"] > 0

    return Job(
        "segment", run, check, lambda folder: all((folder / n).exists() for n in ("out.seg.nrrd", "report.json"))
    )


def train_job(inputs: Path) -> Job:
    """Two epochs of two steps of the decoder on tiny cases; a run that a folder already holds is resumed."""
    import torch
    from training_case import options, write_cases

    from SAMLiverTumorLib.cli.main import main
    from SAMLiverTumorLib.models.checkpoint import read_checkpoint
    from SAMLiverTumorLib.models.weights import read_about
    from SAMLiverTumorLib.training.optimization.checkpoint_state import NAME, load_state
    from SAMLiverTumorLib.training.progress_events import events_in

    write_cases(inputs / "cases")
    finished = ("model.safetensors", "not-adopted.safetensors")

    def run(folder: Path) -> int:
        torch.set_num_threads(1)
        started = [name for name in (NAME, *finished) if (folder / name).exists()]
        # an interrupted run has left a saved state or nothing
        words = options(inputs / "cases", folder, base="liver-tumor")
        return main(["train", *words, *(["--resume"] if started else [])])

    def check(folder: Path) -> None:
        if (folder / NAME).exists():
            assert load_state(folder).step > 0
        for name in finished:
            if (folder / name).exists():
                assert read_checkpoint(folder / name) and read_about(folder / name)["card"]
        for path in folder.glob("pictures/*.np[yz]"):
            content = np.load(path)
            assert len(list(content.values()) if path.suffix == ".npz" else content)
        for path in folder.glob("pictures/*.json"):
            json.loads(path.read_text())
        if (folder / "progress.jsonl").exists():
            events_in((folder / "progress.jsonl").read_bytes())

    return Job("train", run, check, lambda folder: any((folder / name).exists() for name in finished))


def batch_job(inputs: Path) -> Job:
    """Two small scans on a Dask worker, in a process of its own; finished cases are not repeated."""
    import os
    import sys

    from cli_case import write_volume

    from SAMLiverTumorLib.io.labels.reader import read_labels

    scans = inputs / "scans"
    scans.mkdir()
    for name in ("a", "b"):
        write_volume(scans / f"{name}.nrrd", phantom_volume())
    corners = BOX.removeprefix("--box=")
    table = "case,kind,r,a,s,r2,a2,s2\n" + "".join(f"{name},box,{corners}\n" for name in ("a", "b"))
    (inputs / "prompts.csv").write_text(table)
    root = Path(__file__).resolve().parents[2]

    def run(folder: Path) -> int:
        words = ["batch", scans, "--out", folder / "out", "--prompts", inputs / "prompts.csv", "--workers", "1"]
        words += ["--model", "liver-tumor", "--device", "cpu"]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        program = [sys.executable, "-m", "SAMLiverTumorLib", *map(str, words)]
        return os.spawnve(os.P_WAIT, sys.executable, program, environment)

    def check(folder: Path) -> None:
        for path in folder.rglob("*.seg.nrrd"):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                assert read_labels(path).segments["Liver tumor"].any()
        for path in folder.glob("out/**/*.json"):
            if not any(part.startswith(".") for part in path.relative_to(folder).parts):
                json.loads(path.read_text())

    return Job("batch", run, check, lambda folder: len(list(folder.glob("out/**/[ab]*.seg.nrrd"))) == 2)


def cache_job(inputs: Path) -> Job:
    """Embeddings of MobileSAM's size written to the disk cache."""
    from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache

    def array(number: int) -> np.ndarray:
        return np.full((1, 256, 64, 64), number, np.float16)

    def run(folder: Path) -> int:
        cache = DiskCache(folder / "embeddings")
        for number in range(_ARRAYS):
            if cache.get(str(number)) is None and not cache.put(str(number), array(number)):
                return 2
        return 0

    def check(folder: Path) -> None:
        before = set((folder / "embeddings").glob("*.embedding"))
        for number in range(_ARRAYS):
            found = DiskCache(folder / "embeddings").get(str(number))
            assert found is None or (found == array(number)).all()
        # what is damaged is removed when it is read
        assert set((folder / "embeddings").glob("*.embedding")) == before

    return Job("cache", run, check, lambda folder: len(list(folder.glob("embeddings/*.embedding"))) == _ARRAYS)


@contextmanager
def download_job(inputs: Path) -> Iterator[Job]:
    """A model of 30 MB from a web server on this machine, in pieces."""
    from loopback import LoopbackServer

    from SAMLiverTumorLib.errors import SAMLiverTumorError
    from SAMLiverTumorLib.models.download.store import ModelStore
    from SAMLiverTumorLib.models.registry import UrlSource, get_model

    weights = np.random.default_rng(0).bytes(30_000_000)
    server = LoopbackServer()
    server.files["/weights"] = weights
    info = dataclasses.replace(
        get_model("sam-vit-b"),
        size=len(weights),
        sha256=hashlib.sha256(weights).hexdigest(),
        sources=(UrlSource(server.url + "/weights"),),
    )

    def run(folder: Path) -> int:
        try:
            ModelStore(folder / "models").fetch(info, lambda question: True)
        except SAMLiverTumorError as error:
            print(error)
            return 2
        return 0

    def check(folder: Path) -> None:
        path = folder / "models" / info.file_name
        assert not path.exists() or path.read_bytes() == weights

    try:
        yield Job("download", run, check, lambda folder: (folder / "models" / info.file_name).exists())
    finally:
        server.close()
