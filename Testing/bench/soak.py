"""`python3 dev.py bench soak`: does memory grow over 500 interactions of one session and 50 volumes opened and closed?

It uses the bundled model, the real scene and the product's own session, on small volumes. Memory is the process's
resident memory; growth is from the end of a warm-up to the end. Each part runs in its own process.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from bench.speed_scene import phantom, present_bytes

ROOT = Path(__file__).resolve().parents[2]
MOST_GROWTH = 0.05
MODEL = "liver-tumor"
_SLICES, _EDGE = 12, 96


def interactions(count: int, warm_up: int) -> list[tuple[int, int]]:
    """(interactions done, bytes) from the warm-up on, every 20: clicks, corrections, boxes, undo, new segments."""
    from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment

    seen = []
    with _pool() as pool:
        case = _opened(phantom(_SLICES, _EDGE), pool)
        for number in range(1, count + 1):
            k = 2 + number % (_SLICES - 4)
            case.look(k)
            u, v = 0.325 * _EDGE + number % 5, 0.475 * _EDGE - number % 3
            kind = number % 20
            if kind == 0:
                case.session.undo()
            elif kind == 7:
                case.session.clearSlice()
            elif kind in (5, 15):
                case.click(u + 9, v + 9, k, "exclude")
            elif kind == 10:
                case.draw_box((int(u) - 6, int(v) - 6, k), (int(u) + 6, int(v) + 6, k))
            elif kind == 19:
                case.session.clearAll()
            else:
                case.click(u, v, k)
            case.finish()
            if number % 100 == 0:
                # another lesion: remove the old segment
                case.session.setSegment(addTumorSegment(case.node, f"S{number}"))
                case.node.GetSegmentation().RemoveSegment(case.node.GetSegmentation().GetNthSegmentID(0))
            if number >= warm_up and (number - warm_up) % 20 == 0:
                seen.append((number, _settled()))
    jobs, last = case.worker.submitted, case.session.log[-1]
    print(f"{count} interactions, {jobs} jobs for the network; the session says: {last}", file=sys.stderr)
    return seen


@contextmanager
def _pool():
    """The product's pool: the warm-up fills its limited memory for embeddings, and the rest goes to disk."""
    import torch

    from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
    from SAMLiverTumorLib.inference.pool import PredictorPool

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        yield PredictorPool(confirm=lambda question: False, device="cpu", disk=DiskCache(Path(folder)))


def _opened(volume, pool):
    """A scene with the volume, and a session with the real network."""
    from session_case import Case, SteppedWorker

    from SAMLiverTumorLib.inference.segment_slices import Settings

    case = Case(worker=SteppedWorker(), volume=volume)
    case.session.close()
    case.pool = pool
    case.session = case.new_session()
    case.session.setSettings(Settings(model=MODEL))
    return case


def volumes(count: int, warm_up: int) -> list[tuple[int, int]]:
    """(volumes done, bytes) from the warm-up on: each is read, shown, clicked into, and closed with its session."""
    from cli_case import write_volume

    from SAMLiverTumorLib.io.images import read_volume

    seen = []
    with tempfile.TemporaryDirectory() as folder, _pool() as pool:
        for number in range(1, count + 1):
            path = write_volume(Path(folder) / "ct.nii.gz", phantom(2 * _SLICES, 2 * _EDGE, seed=number))
            case = _opened(read_volume(path), pool)
            for k in range(_SLICES - 2, _SLICES + 2):  # ten volumes fill the memory for embeddings
                case.look(k)
                case.click(0.325 * 2 * _EDGE, 0.475 * 2 * _EDGE, k)
                case.finish()
            assert case.array().any()
            case.session.close()
            case.scene.Clear(True)
            del case
            if number >= warm_up:
                seen.append((number, _settled()))
    return seen


def _settled() -> int:
    """Resident bytes, after Python and the C library have returned free memory."""
    gc.collect()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).malloc_trim(0)
    return present_bytes()


PARTS = {"interactions": (interactions, 500, 100), "volumes": (volumes, 50, 10)}


def main(arguments: list[str]) -> int:
    """Exit status 1 if memory grew by 5 % or more."""
    parser = argparse.ArgumentParser(prog="dev.py bench soak", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="one part (default: both)")
    parser.add_argument("--count", type=int, metavar="N", help="instead of 500 interactions or 50 volumes")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        run, count, warm_up = PARTS[options.part]
        count = options.count or count
        print(json.dumps(run(count, min(warm_up, count // 2))))
        return 0
    print("| what | after warm-up | at the end | growth | seconds |\n|---|---|---|---|---|", flush=True)
    grown = []
    for part in [options.part] if options.part else PARTS:
        start = time.monotonic()
        seen = _in_own_process(part, options.count)
        (first, before), (last, after) = seen[0], seen[-1]
        grown.append(after / before - 1)
        print(
            f"| {part} {first} to {last} | {before / 2**20:,.1f} MiB | {after / 2**20:,.1f} MiB | {grown[-1]:.2%} | "
            f"{time.monotonic() - start:.0f} |",
            flush=True,
        )
    print(f"\n{MODEL}, Python {platform.python_version()}, {platform.system()} {platform.machine()}; target: under 5 %")
    return int(max(grown) >= MOST_GROWTH)


def _in_own_process(part: str, count: int | None) -> list[tuple[int, int]]:
    folders = [str(ROOT), str(ROOT / "Testing"), str(ROOT / "Testing" / "support")]
    words = ["--here", "--part", part, *(["--count", str(count)] if count else [])]
    program = f"import sys; sys.path[:0] = {folders!r}; import bench.soak as soak; sys.exit(soak.main({words!r}))"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
