"""What VTK and MRML have to say, kept off the user's screen and put into our own messages."""

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
        if isinstance(output, bytes):  # which VTK hands out where a damaged file's text is no UTF-8
            output = output.decode("utf-8", "replace")
        for text in re.split(r"(?m)^(?:ERROR|Warning|Generic Warning|Info): In ", output):
            # "vtkX.cxx, line 12\nvtkX (0x55..): what happened"
            text = re.sub(r"^\S+, line \d+\s*", "", text)
            text = " ".join(re.sub(r"^vtk\w+ \((?:0x)?[0-9a-fA-F]+\): ", "", text.strip()).split())
            if text and text not in texts:
                texts.append(text)
        return texts

    def __str__(self) -> str:
        """The first thing that went wrong, short enough for a status line."""
        told = [re.sub(r"^\w+::\w+: ", "", line) for line in self.lines if not line.startswith("Algorithm vtk")]
        return told[0][:300].rstrip() if told else "no reason given"


@contextmanager
def capturedVtkMessages() -> Iterator[VtkMessages]:
    """Keep VTK's errors and warnings from the screen; they can be read from the object handed out."""
    messages = VtkMessages()
    window = vtk.vtkOutputWindow.GetInstance()
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkOutputWindow.SetInstance(messages.window)
    # the logger prints beside the output window
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
        vtk.vtkOutputWindow.SetInstance(window)
