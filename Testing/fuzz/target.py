"""`Target`: a reader of one kind of file, real files of that kind, and ways to damage them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from random import Random

from fuzz.mutations import Mutation, havoc

Files = dict[str, bytes]
"""Name -> content; a reader of a single file gets the first one."""


@dataclass(frozen=True, eq=False)
class Target:
    """One reader under test.

    :param name: as given to --target.
    :param make: returns intact files by a name for each set; all of them are read without an error.
    :param read: called with the folder of the files, the first file, and a folder it may write to. It may raise
        SAMLiverTumorError and nothing else.
    :param mutations: ending of the file name ("" for any other) -> damage that knows the format.
    :param words: keywords of the format.
    :param share: relative share of the inputs.
    :param refuses_seeds: whether some of the intact files are such that they have to be refused.
    """

    name: str
    make: Callable[[], Mapping[str, Files]]
    read: Callable[[Path, Path, Path], object]
    mutations: Mapping[str, tuple[Mutation, ...]]
    words: tuple[bytes, ...] = ()
    share: float = 1.0
    refuses_seeds: bool = False

    @cached_property
    def seeds(self) -> Mapping[str, Files]:
        """The intact files, made once."""
        return self.make()

    def damaged(self, seed: int, number: int) -> Files:
        """Input `number` of a run; the same seed gives the same input on any machine."""
        rng = Random(f"{seed}/{self.name}/{number}")
        files = dict(self.seeds[rng.choice(sorted(self.seeds))])
        named = rng.choice(list(files))
        kinds = self._kinds(named)
        others = [each[name] for each in self.seeds.values() for name in each if self._kinds(name) == kinds]
        for _ in range(rng.choice((1, 1, 1, 2))):
            known = rng.choice(kinds) if kinds and rng.random() < 0.6 else None
            try:
                files[named] = known(rng, files[named]) if known else havoc(rng, files[named], self.words, others)
            except Exception:  # damage that needs an intact file, applied to a damaged one
                files[named] = havoc(rng, files[named], self.words, others)
        if len(files) > 1 and rng.random() < 0.1:
            self._mix(rng, files)
        return files

    def _kinds(self, name: str) -> tuple[Mutation, ...]:
        fitting = [ending for ending in self.mutations if name.endswith(ending)]
        return self.mutations[max(fitting, key=len)] if fitting else ()

    @staticmethod
    def _mix(rng: Random, files: Files) -> None:
        """Remove, duplicate, rename or empty one file of a series or a set."""
        name = rng.choice(list(files))
        kind = rng.randrange(4)
        if kind == 0:
            del files[name]
        elif kind == 1:
            files[_beside(name, f"copy-{PurePosixPath(name).name}")] = files[name]
        elif kind == 2:
            odd = rng.choice(("._{}", "~${}", "{} (1)", "{}.bak", "\udcc3{}", "{}:Zone.Identifier", ".{}", "肝 {}"))
            files[_beside(name, odd.format(PurePosixPath(name).name))] = files.pop(name)
        else:
            files[name] = b""


def _beside(name: str, other: str) -> str:
    """Another name in the same folder."""
    return str(PurePosixPath(name).with_name(other))
