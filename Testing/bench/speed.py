"""`python3 dev.py bench [speed]`: time of each step, compared with a plain implementation and the arithmetic limit.

The bundled model takes turns with the encoders of LiteMedSAM and MobileSAM, and with segment-anything's own
SamPredictor, which has MobileSAM's weights; both are downloaded if they are not there. The arithmetic limit is the
number of floating-point operations, divided by the rate at which this machine multiplies matrices in the same run.
Times are medians with (minimum-maximum) of all runs; estimates are marked.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

from bench.speed_gpu import gpu_rows
from bench.speed_memory import measure
from bench.speed_rows import Bench, Row, Size
from bench.speed_timing import Times
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.versions import versions

ROOT = Path(__file__).resolve().parents[2]
SHORT = Size(edge=128, lengths=(24, 40), box_slices=2, runs=1, clicks=2)


def main(arguments: list[str]) -> int:
    """Measure, print the table and write it to a file; 2 with one line if the user can fix something."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="runs of each contender (default: 7)")
    parser.add_argument("--threads", type=int, metavar="N", help="PyTorch's threads (default: PyTorch's choice)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, or cuda for the table of graphics cards")
    parser.add_argument("--short", action="store_true", help="one run of everything on a tiny volume, as a smoke test")
    parser.add_argument("--rows", default="encode,decode,click,first,box,memory", help="rows to measure (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"), metavar="FILE", help="file to write")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = Path(tempfile.mkdtemp(prefix="sam-liver-tumor-bench-"))
    try:
        return _run(args, folder)
    except SAMLiverTumorError as error:
        print(f"bench speed: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(args: argparse.Namespace, folder: Path) -> int:
    size = SHORT if args.short else Size(runs=args.runs)
    bench = Bench(size, device=args.device, folder=folder)
    if bench.predictor.model.device.type == "cpu":
        rows, memory = _cpu(bench, set(args.rows.split(",")))
        device = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    else:
        rows, memory = gpu_rows(bench), {}
        device = torch.cuda.get_device_name(bench.predictor.model.device)
    print(f"$ python3 dev.py bench {' '.join(sys.argv[1:])}\n{time.strftime('%Y-%m-%d')}, {device}, {versions()}\n")
    for row in rows:
        print(_line(row))
    for stage, taken in memory.items():
        print(f"memory, {stage}: {taken / 2**20:,.0f} MiB" if taken else f"memory, {stage}: unknown")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"date": time.strftime("%Y-%m-%d"), "device": device, "versions": versions(), "short": args.short}
    report |= {"rows": [_as_dict(row) for row in rows], "memory_bytes": memory}
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _cpu(bench: Bench, wanted: set[str]) -> tuple[list[Row], dict]:
    encode, decode = bench.encode(), bench.decode()  # other rows are compared with these
    rows = [*encode, *decode]
    if "click" in wanted:
        rows += bench.clicks()
    if "first" in wanted:
        rows += bench.first_mask(encode[0], decode[0])
    if "box" in wanted:
        rows += bench.box()
    if "memory" not in wanted:
        return rows, {}
    size = bench.size
    return rows, measure(size.lengths[1], size.edge, (max(size.box_slices // 3, 1), size.box_slices), bench.model)


def _line(row: Row) -> str:
    ratios = [f"{ratio:.2f} x {name}" for name, ratio in row.ratios().items()]
    notes = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.notes.items()
    ]
    return f"{row.name:52} {row.ours!s:32} {', '.join([*ratios, *notes])}"


def _as_dict(row: Row) -> dict:
    others = {
        name: value.as_dict() if isinstance(value, Times) else {"estimate_s": value}
        for name, value in row.others.items()
    }
    return {
        "name": row.name,
        "ours": row.ours.as_dict(),
        "others": others,
        "limit_s": row.limit_s,
        "ratios": row.ratios(),
        **({"notes": row.notes} if row.notes else {}),
    }
