"""`python3 dev.py faults [--kills N] [--seed S] [--job NAME]`: inject faults, and check what is left (Linux, macOS)."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOBS = ("download", "cache", "segment", "train", "batch")
FAULTS = ("kill", "full", "read-only", "clock")
# Disk sizes in bytes, from almost nothing to almost enough.
_SIZES = {
    "download": (1 << 20, 16 << 20, 29_990_912),
    "cache": (1 << 20, 8 << 20, 40 << 20),
    "segment": (4096, 8192, 12_288),
    "train": (1 << 14, 1 << 20, 12 << 20),
    "batch": (4096, 8192, 16_384),
}


def main(arguments: list[str]) -> int:
    """Exit status 1 if a file was incomplete, or a job did not complete afterwards."""
    parser = argparse.ArgumentParser(prog="dev.py faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="kills of each job (default: 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the moments (default: 0)")
    parser.add_argument("--job", action="append", choices=JOBS, help="only this job; repeatable (default: all)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this fault; repeatable (default: all)")
    options = parser.parse_args(arguments)
    # networks with one thread, since a forked process lacks its parent's other threads
    os.environ |= {"OMP_NUM_THREADS": "1", "SAM_LIVER_TUMOR_CACHE": "off"}
    import torch

    torch.set_num_threads(1)
    from faults import disturb, jobs

    start, results = time.monotonic(), []
    print("| job | fault | times | struck | left over | failed | seconds |\n|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as inputs, ExitStack() as stack:
        made = {
            "segment": lambda: jobs.segment_job(Path(inputs)),
            "train": lambda: jobs.train_job(Path(inputs)),
            "batch": lambda: jobs.batch_job(Path(inputs)),
            "cache": lambda: jobs.cache_job(Path(inputs)),
            "download": lambda: stack.enter_context(jobs.download_job(Path(inputs))),
        }
        mounts = disturb.can_mount()
        for name in options.job or JOBS:
            job = made[name]()
            for fault in options.fault or FAULTS:
                if fault in ("full", "read-only") and not mounts:
                    print(f"| {name} | {fault} | needs root | | | | |", flush=True)
                    continue
                began = time.monotonic()
                result = {
                    "kill": lambda job=job: disturb.kill(job, options.kills, options.seed),
                    "full": lambda job=job, name=name: disturb.full_disk(job, _SIZES[name]),
                    "read-only": lambda job=job: disturb.read_only(job),
                    "clock": lambda job=job: disturb.wrong_clock(job),
                }[fault]()
                results.append(result)
                print(
                    f"| {name} | {result.fault} | {result.trials} | {result.struck} | {result.leftovers} | "
                    f"{len(result.failures)} | {time.monotonic() - began:.0f} |",
                    flush=True,
                )
    for result in results:
        for failure in result.failures:
            print(f"{result.job}, {result.fault}: {failure}")
    circumstances = f"seed {options.seed}, Python {platform.python_version()}, {platform.system()}"
    print(f"\n{time.monotonic() - start:.0f} s, {circumstances}")
    return int(any(result.failures for result in results))


if __name__ == "__main__":
    sys.path[0:1] = [str(ROOT), str(ROOT / "Testing"), str(ROOT / "Testing" / "support")]
    sys.exit(main(sys.argv[1:]))
