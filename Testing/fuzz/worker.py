"""The process that reads damaged files, and may crash: it takes lines (target, seed, number) and answers in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(root: Path) -> None:
    """Serve until standard input ends."""
    # output of libraries must not mix with the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from fuzz import sandbox

    sandbox.prepare(root)
    import torch

    torch.set_num_threads(1)
    from fuzz.targets import TARGETS
    from SAMLiverTumorLib.errors import SAMLiverTumorError

    watch, warm = sandbox.Watch(root), set()
    for line in sys.stdin:
        name, seed, number = json.loads(line)
        target = TARGETS[name]
        if name not in warm:
            warm.add(name)
            _warm_up(target, root)
            sandbox.limit_memory()
        files = target.damaged(seed, number)
        first = _put(root / "in", files)
        print(json.dumps({"started": number}), file=answers, flush=True)
        start = time.monotonic()
        outcome, text, place = "read", "", ""
        try:
            with watch.watching():
                try:
                    target.read(root / "in", first, root / "out")
                except SAMLiverTumorError as error:
                    outcome, text = "refused", str(error)
                    if not text.strip():
                        raise AssertionError("an error without a text") from error
        except sandbox.Escape as error:
            outcome, text, place = "escape", str(error), name
        except Exception as error:
            outcome = "error"
            text, place = f"{type(error).__name__}: {error}"[:300], _place(error)
        seconds = time.monotonic() - start
        answer = {
            "number": number,
            "outcome": outcome,
            "text": text,
            "place": place,
            "seconds": seconds,
            "peak": _peak(),
        }
        print(json.dumps(answer), file=answers, flush=True)


def _warm_up(target, root: Path) -> None:
    """Read the intact files once, so that imports and the files that libraries create do not count."""
    for files in target.seeds.values():
        with contextlib.suppress(Exception):
            target.read(root / "in", _put(root / "in", files), root / "out")


def _put(folder: Path, files: dict[str, bytes]) -> Path:
    for each in (folder, folder.parent / "out", folder.parent / "work"):
        for path in each.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / next(iter(files), "missing")


def _place(error: BaseException) -> str:
    """The innermost line of the product, to distinguish failures."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "SAMLiverTumorLib" in each.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside the product"


def _peak() -> int:
    from SAMLiverTumorLib.memory import peak_memory

    return peak_memory() or 0


if __name__ == "__main__":
    sys.path[0:1] = [str(ROOT), str(ROOT / "Testing"), str(ROOT / "Testing" / "support")]
    main(Path(sys.argv[1]))
