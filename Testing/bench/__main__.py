"""`python3 dev.py bench [NAME] ...`: the benchmarks below, each with --help; none of them is a test."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ("speed", "panel", "accuracy", "fusion", "train", "soak", "suggest", "batch", "learning-curve")


def main(arguments: list[str]) -> int:
    """Run one benchmark; "speed" where none is named."""
    named = arguments[:1] and arguments[0] in BENCHMARKS
    name, rest = (arguments[0], arguments[1:]) if named else (BENCHMARKS[0], arguments)
    return importlib.import_module(f"bench.{name.replace('-', '_')}").main(rest)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]
    sys.exit(main(sys.argv[1:]))
