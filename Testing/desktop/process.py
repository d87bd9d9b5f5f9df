"""Programs on a desktop of their own: one QApplication and patched modules do not fit into pytest's process."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SAMLiverTumor" / "SAMLiverTumor.py"
_BEFORE = """
import sys
from pathlib import Path
import desktop
application = desktop.start({options})
import qt
import ctk
import slicer
import vtk
"""
_OPEN = "widget = desktop.openModule({module!r})\n"
_AFTER = "\ndesktop.check()\ndesktop.quit()\ndesktop.check()\n"


def run_on_desktop(
    program: str,
    folder: Path,
    open_module: bool = True,
    options: str = "",
    timeout: float = 300,
    **variables: str,
) -> str:
    """Run a program on a fresh desktop, in a process of its own and away from the checkout; its standard output.

    The program finds `desktop, application, qt, ctk, slicer, vtk, sys, Path` and, with `open_module`, the panel as
    `widget`. Afterwards the desktop quits; an exception in a slot, an observer or a callback fails the run.

    :param options: arguments of desktop.start as source text, such as "testing=True, views=False".
    :param variables: environment variables for the process.
    :raises AssertionError: with the process's standard error if it fails or takes longer than `timeout` seconds.
    """
    text = _BEFORE.format(options=options) + (_OPEN.format(module=str(MODULE)) if open_module else "")
    environment = {name: value for name, value in os.environ.items() if name != "SLICER_BASE_PYTHON"}
    environment.update(PYTHONPATH=str(ROOT / "Testing"), QT_QPA_PLATFORM="offscreen", **variables)
    # A file rather than -c, so that a traceback shows the failing line.
    source = folder / "program.py"
    source.write_text(text + program + _AFTER, encoding="utf-8")
    command = [sys.executable, "-X", "faulthandler", str(source)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(
            f"the desktop hung for {timeout} s:\n{_text(error.stdout)}{_text(error.stderr)}"
        ) from error
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    return done.stdout


def _text(output: bytes | str | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""
