"""Target: random sequences of what a user does to a session; see session_player. Numbers in place of files."""

from __future__ import annotations

from pathlib import Path

from fuzz.images import one_scene
from fuzz.target import Files, Target

STEPS = 9


class _Sequences(Target):
    """A sequence is named by the seed and the number of the input."""

    def damaged(self, seed: int, number: int) -> Files:
        return {"sequence.txt": f"{seed}/{number}".encode()}


def _play(folder: Path, path: Path, out: Path) -> None:
    from session_player import play

    play(path.read_text(), STEPS, one_scene())


TARGETS = (_Sequences("sequences", lambda: {"one": {"sequence.txt": b"one"}}, _play, {}, (), 3.0),)
