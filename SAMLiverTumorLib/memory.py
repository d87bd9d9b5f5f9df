"""The peak memory of this process."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory() -> int | None:
    """Peak physical memory so far, in bytes; None where the system does not report it.

    On Linux not from getrusage: there a process inherits its parent's peak, so that a training run started from Slicer
    would report Slicer's volumes as its own.
    """
    if _STATUS.exists() and (peak := re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)):
        return 1024 * int(peak[1])
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
