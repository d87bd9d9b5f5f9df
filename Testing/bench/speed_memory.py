"""Memory of one session with a long volume, measured in its own process: prints a JSON object, bytes by stage."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.speed_scene import SceneClick, box_through, phantom, present_bytes
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings, segment
from SAMLiverTumorLib.memory import peak_memory

ROOT = Path(__file__).resolve().parents[2]


def measure(slices: int, edge: int, boxes: tuple[int, ...], model: str) -> dict[str, int | None]:
    """Run `stages` in another process; bytes by stage."""
    arguments = [str(slices), str(edge), ",".join(map(str, boxes)), model]
    folders = [str(ROOT), str(ROOT / "Testing")]
    program = f"import sys; sys.path[:0] = {folders!r}; import bench.speed_memory as memory; memory.main()"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def stages(slices: int, edge: int, boxes: tuple[int, ...], model: str) -> dict[str, int | None]:
    """Memory after each stage, and the peak, with an initially empty disk cache."""
    with tempfile.TemporaryDirectory() as folder:
        return _stages(
            slices, edge, boxes, PredictorPool(confirm=lambda question: True, disk=DiskCache(Path(folder))), model
        )


def _stages(slices: int, edge: int, boxes: tuple[int, ...], pool: PredictorPool, model: str) -> dict[str, int | None]:
    found = {"network loaded": pool.predictor(model) and present_bytes()}
    volume = phantom(slices, edge)
    found["volume made"] = present_bytes()
    SceneClick(volume, pool, model).click()
    found["volume in a scene, one click"] = present_bytes()
    found["peak, one click"] = peak_memory()
    for count in boxes:
        segment(volume, box_through(volume, count), pool, Settings(model=model))
        found[f"peak, box over {count} slices"] = peak_memory()
    return found


def main() -> None:
    """Arguments: slices, edge, comma-separated slices of the boxes, model."""
    slices, edge, boxes, model = sys.argv[1:]
    print(json.dumps(stages(int(slices), int(edge), tuple(int(n) for n in boxes.split(",")), model)))
