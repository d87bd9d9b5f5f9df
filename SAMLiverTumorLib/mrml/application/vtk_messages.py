"""Captures VTK's and MRML's messages, to keep them off the screen and use them in our own messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import vtk


class VtkMessages:
    """Errors and warnings that VTK reported while they were captured."""

    def __init__(self) -> None:
        self.window = vtk.vtkStringOutputWindow()

    @property
    def lines(self) -> list[str]:
        """One line each, without file, line number and object address, repeated ones once."""
        texts = []
        output = self.window.GetOutput()
        if isinstance(output, bytes):  # VTK returns bytes if a damaged file's text is not UTF-8
            output = output.decode("utf-8", "replace")
        for text in re.split(r"(?m)^(?:ERROR|Warning|Generic Warning|Info): In ", output):
            # "vtkX.cxx, line 12\nvtkX (0x55..): what happened"
            text = re.sub(r"^\S+, line \d+\s*", "", text)
            text = " ".join(re.sub(r"^vtk\w+ \((?:0x)?[0-9a-fA-F]+\): ", "", text.strip()).split())
            if text and text not in texts:
                texts.append(text)
        return texts

    def __str__(self) -> str:
        """The first error, short enough for a status line."""
        lines = [re.sub(r"^\w+::\w+: ", "", line) for line in self.lines if not line.startswith("Algorithm vtk")]
        return lines[0][:300].rstrip() if lines else "no reason given"


@contextmanager
def capturedVtkMessages() -> Iterator[VtkMessages]:
    """Capture VTK's errors and warnings in the yielded object instead of showing them."""
    messages = VtkMessages()
    window = vtk.vtkOutputWindow.GetInstance()
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkOutputWindow.SetInstance(messages.window)
    # the logger prints in addition to the output window
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
        vtk.vtkOutputWindow.SetInstance(window)
