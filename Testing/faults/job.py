"""`Job`: something the product does, and what must hold for its files at any moment."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, eq=False)
class Job:
    """A command of the product on small data.

    :param name: for the table.
    :param run: runs it in a folder, new or used by an earlier run; returns the exit status.
    :param check: raises if a file under its final name is incomplete.
    :param is_done: whether the folder holds the complete result.
    """

    name: str
    run: Callable[[Path], int]
    check: Callable[[Path], None]
    is_done: Callable[[Path], bool]


def in_child(job: Job, folder: Path, kill_after: float | None = None, prepare: Callable[[], None] | None = None) -> int:
    """Run a job in a forked process, which has everything imported already; its exit status, -9 if it was killed.

    :param kill_after: seconds after which it gets SIGKILL.
    :param prepare: called first in the process, for example to set limits.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.setsid()
            quiet = os.open(folder.parent / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            if prepare is not None:
                prepare()
            status = job.run(folder)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    if kill_after is not None:
        end = time.monotonic() + kill_after
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        try:
            os.killpg(child, signal.SIGKILL)  # with the processes it started
        except ProcessLookupError:  # it does not lead a process group yet
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
