"""`python3 dev.py bench panel`: does the panel keep up with its user?

The real panel, networks and scene, on the stand-in for Slicer's widgets (Testing/desktop); views are not rendered.
Clicks are timed from the click to the written segment, on a slice that is already encoded, and each is undone before
the next. The GUI thread's event loop is watched throughout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from bench.panel_user import CLICKS, BenchUser, Clicks
from bench.panel_watch import Hold, Watch
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.versions import versions

ROOT = Path(__file__).resolve().parents[2]
_MODELS = ("lite-medsam", "liver-tumor")
_MEDIAN_TARGET_MS, _HOLD_TARGET_MS = 150, 100


def main(arguments: list[str]) -> int:
    """Measure, print and write the figures; 2 with one line if the user can fix something."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench panel", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clicks", type=int, default=40, metavar="N", help="warm clicks on each volume (default: 40)")
    parser.add_argument("--slices", default="100,800", metavar="N,N", help="lengths of the volumes (default: 100,800)")
    parser.add_argument("--short", action="store_true", help="three clicks on a tiny volume, as a smoke test")
    parser.add_argument("--out", type=Path, default=Path("out/bench-panel.json"), metavar="FILE", help="file to write")
    args = parser.parse_args(arguments)
    for name in _MODELS:
        if not ModelStore().is_present(get_model(name)):
            print(f"bench panel: first fetch the model: sam-liver-tumor models fetch {name}", file=sys.stderr)
            return 2
    # neither use embeddings of an earlier run nor leave any behind
    os.environ["SAM_LIVER_TUMOR_CACHE"] = "off"
    edge, lengths = (128, [16]) if args.short else (512, [int(part) for part in args.slices.split(",")])
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "device": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
        "short": args.short,
        "targets": {"median_click_ms": _MEDIAN_TARGET_MS, "longest_hold_ms": _HOLD_TARGET_MS},
        "volumes": _run(edge, lengths, 3 if args.short else args.clicks, 2 if args.short else 7),
    }
    print(f"\n{report['date']}, {report['device']}, {report['versions']}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _run(edge: int, lengths: list[int], clicks: int, through: int) -> list[dict]:
    import desktop

    desktop.start()
    widget = desktop.openModule(ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
    import qt

    from bench.speed_scene import phantom

    volumes = []
    for length in lengths:
        watch = Watch(qt)
        end = time.perf_counter() + (0.2 if edge == 128 else 2)
        watch.do("nothing", lambda: None, lambda end=end: time.perf_counter() > end)
        volume = phantom(length, edge)
        timed = BenchUser(widget, watch).work(volume, clicks, through)
        watch.close()
        _print(volume.name, timed, list(watch.longest.values()))
        holds = [hold.as_dict() for hold in watch.longest.values()]
        volumes.append({"volume": volume.name, **timed.as_dict(), "longest_holds": holds})
        del volume
    desktop.quit()
    desktop.check()
    return volumes


def _print(name: str, timed: Clicks, holds: list[Hold]) -> None:
    figures, most = timed.as_dict(), max(holds, key=lambda hold: hold.wall_s)
    print(f"\n{name}")
    print(
        f"{CLICKS}: median {figures['median_ms']:.0f} ms, 95th percentile {figures['p95_ms']:.0f} ms, of "
        f"{figures['clicks']}, of which {figures['changed']} changed the segment (target: median under "
        f"{_MEDIAN_TARGET_MS} ms)"
    )
    print(f"longest time the GUI thread was held: {1e3 * most.wall_s:.0f} ms (target: never over {_HOLD_TARGET_MS} ms)")
    for hold in holds:
        print(f"  {hold.phase:<32} {1e3 * hold.wall_s:6.0f} ms, own {1e3 * hold.cpu_s:4.0f} ms  {hold.where}")
