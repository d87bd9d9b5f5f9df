"""`python3 dev.py bench batch --data FOLDER`: how a cohort scales with workers, and what 10,000 scans would cost.

Liver tumors are found by text in real scans, each run in a new folder, with one thread per worker. Seconds are from the
first submitted case to the last result; the start of the processes, which a cohort pays once, is a separate column.
Processor time is that of the cases alone. It barely changes on a busy machine, while seconds do: see the load.

The figures of a graphics card are computed, not measured: the network of a slice takes as long as the launches of its
operations or as its arithmetic, whichever is longer, and all else stays on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.speed_timing import count_flops
from SAMLiverTumorLib.batch.inputs import find_jobs, models_of
from SAMLiverTumorLib.batch.jobs import BatchSettings
from SAMLiverTumorLib.batch.run import run_batch
from SAMLiverTumorLib.batch.worker import prepared_pool
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.window import parse_window
from SAMLiverTumorLib.inference.model_choice import LIVER_TUMOR
from SAMLiverTumorLib.inference.text_search import text_model
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.plane import slice_plane

SCANS = 10_000
# Seconds to launch an operation from Python on an ordinary processor; a third of the single-precision rate of a data
# center's card, since single slice images do not fill it.
LAUNCH_S, GPU_FLOPS = 10e-6, 20e12


@dataclass(frozen=True)
class Run:
    """One cohort with a number of workers; all times in seconds."""

    workers: int
    wall: float
    start: float
    cpu: float
    slices: int
    scans: int
    load: float


@dataclass(frozen=True)
class Network:
    """One slice's encoder and text decoder."""

    cpu: float
    gflop: float
    operations: int

    @property
    def gpu(self) -> float:
        """Computed seconds on a graphics card."""
        return max(self.gflop * 1e9 / GPU_FLOPS, self.operations * LAUNCH_S)


def main(arguments: list[str]) -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="scans, named as in LiTS")
    parser.add_argument("--cases", nargs="+", default=["0", "1"], metavar="N", help="cases to use (default: 0 1)")
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="copies of each case (default: 2)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--window", default="0,255", help="default: 0,255, for scans stored as 8-bit grey")
    parser.add_argument("--slices", type=int, default=122, help="slices of a scan (default: 122, the mean of LiTS 0-7)")
    parser.add_argument(
        "--core-hour", type=float, default=0.04, metavar="PRICE", help="price of one core (default: 0.04)"
    )
    parser.add_argument(
        "--gpu-hour",
        type=float,
        default=1.2,
        metavar="PRICE",
        help="price of a node with one GPU and 8 cores (default: 1.2)",
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench-batch.json"), metavar="FILE", help="file to write")
    args = parser.parse_args(arguments)
    os.environ["SAM_LIVER_TUMOR_CACHE"] = "off"
    with tempfile.TemporaryDirectory(prefix="sam-liver-tumor-bench-") as folder:
        scans = _scans(args, Path(folder))
        network = _network(scans, args.window)
        runs = [_run(scans, Path(folder) / f"out-{workers}", workers, args.window) for workers in args.workers]
    lines = [*_measured(runs, network), "", *_cost(runs, network, args)]
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"$ python3 dev.py bench batch {' '.join(arguments)}\n{time.strftime('%Y-%m-%d')}, {machine}\n")
    print("\n".join(lines))
    report = {"machine": machine, "runs": [asdict(run) for run in runs], "network": asdict(network), "text": lines}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _scans(args: argparse.Namespace, folder: Path) -> Path:
    """Copies of the cases in their own folder."""
    scans = folder / "scans"
    scans.mkdir()
    for case in args.cases:
        for n in range(args.repeat):
            found = next(path for path in sorted(args.data.glob(f"*_{case}_ct*")))
            shutil.copy(found, scans / f"case{case}copy{n}.nii.gz")
    return scans


def _run(scans: Path, out: Path, workers: int, window: str) -> Run:
    jobs, _ = find_jobs([scans], out)
    settings = BatchSettings(text=LIVER_TUMOR, window=window, device="cpu", threads=1)
    settings = replace(settings, hashes=tuple(models_of(jobs, settings).items()))
    started: list[float] = []
    start = time.perf_counter()
    result = run_batch(jobs, settings, workers, on_start=lambda place, count: started.append(time.perf_counter()))
    end = time.perf_counter()
    failed = [outcome.reason for outcome in result.outcomes if outcome.state != "done"]
    if failed:
        raise SystemExit(f"A case failed: {failed[0]}")
    slices = sum(each["slices"] for outcome in result.outcomes for each in outcome.record["segments"])
    cpu, load = result.totals["cpu_seconds"], os.getloadavg()[0]
    return Run(workers, end - started[0], started[0] - start, cpu, slices, len(jobs), load)


def _network(scans: Path, window: str) -> Network:
    """Processor time, arithmetic and number of operations of the network for one slice."""
    volume = read_volume(sorted(scans.iterdir())[0])
    pool = prepared_pool(BatchSettings(device="cpu", threads=1))
    predictor = pool.predictor(text_model("auto"))
    middle = volume.dimensions[2] // 2
    planes = [slice_plane(volume, "axial", middle + n) for n in range(-5, 5)]
    images = [plane_to_rgb(volume, plane, parse_window(window)) for plane in planes]

    def answer(number: int) -> None:
        pool.cache.clear()
        predictor.predict_text(predictor.embed(images[number], planes[number].spacing[1::-1]), LIVER_TUMOR)

    answer(0)
    start = time.process_time()
    for number in range(len(images)):
        answer(number)
    cpu = (time.process_time() - start) / len(images)
    return Network(cpu, count_flops(lambda: answer(0)) / 1e9, _operations(lambda: answer(0)))


def _operations(work) -> int:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Counter.count += 1
            return function(*args, **(kwargs or {}))

    with Counter():
        work()
    return Counter.count


def _measured(runs: list[Run], network: Network) -> list[str]:
    first = runs[0]
    lines = ["workers  seconds  start  cases/h  speed-up  CPU s/slice  load"]
    for run in runs:
        speedup = first.wall / run.wall
        lines.append(
            f"{run.workers:7d}  {run.wall:7.1f}  {run.start:5.1f}  {3600 * run.scans / run.wall:7.0f}  {speedup:8.2f}"
            f"  {run.cpu / run.slices:11.3f}  {run.load:4.1f}"
        )
    lines.append(
        f"{first.scans} scans, {first.slices} slices; the network takes {network.cpu:.3f} CPU s of a slice, "
        f"{network.gflop:.1f} GFLOP in {network.operations} operations."
    )
    return lines


def _cost(runs: list[Run], network: Network, args: argparse.Namespace) -> list[str]:
    slice_cpu = sum(run.cpu for run in runs) / sum(run.slices for run in runs)
    scan = slice_cpu * args.slices
    core_hours = SCANS * scan / 3600
    rest, gpu = max(slice_cpu - network.cpu, 0.0) * args.slices, network.gpu * args.slices
    # other workers read and write meanwhile, on the node's 8 cores
    node_hours = SCANS * max(gpu, (rest + gpu) / 8) / 3600
    return [
        f"{SCANS:,} scans of {args.slices} slices: {scan:.1f} core s each, {core_hours:,.0f} core hours, "
        f"{core_hours / 64:.1f} h on 64 cores, {core_hours * args.core_hour:,.0f} at {args.core_hour:g} a core hour.",
        f"A node with one GPU and 8 cores, computed, not measured: {1000 * network.gpu:.1f} ms of card time per slice, "
        f"{rest:.1f} core s per scan for all else, {node_hours:,.1f} h, {node_hours * args.gpu_hour:,.0f} at "
        f"{args.gpu_hour:g} a node hour.",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
