"""Yes or no on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

from SAMLiverTumorLib.errors import ModelError


def confirm_on_terminal(assume_yes: bool) -> Callable[[str], bool]:
    """A function that puts a question to the user and tells whether the answer is yes.

    The question goes to standard error, so that standard output holds results alone.

    :param assume_yes: answer yes to everything without asking (`--yes`).
    :return: `confirm(question) -> bool`; raises ModelError where there is nobody to ask.
    """

    def confirm(question: str) -> bool:
        if assume_yes:
            return True
        if sys.stdin is None or not sys.stdin.isatty():
            raise ModelError(f"{question} There is no terminal to answer on; give --yes to agree.")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return confirm
