"""How much memory this process has taken at most."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory() -> int | None:
    """Bytes of physical memory at most so far; None where the system does not tell.

    On Linux not from getrusage: there a process begins with what its parent had when it was started, so that a training
    started from Slicer would report Slicer's volumes as its own.
    """
    if _STATUS.exists() and (peak := re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)):
        return 1024 * int(peak[1])
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
