"""One family of exceptions reports what a user can fix; every other exception propagates as a bug.

The text of each error says what is wrong and what to do. The console program prints it as one line
and exits with status 2; the panel shows it in its status line.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""A text that can be shown and written anywhere, as names of files may not: bytes that are no UTF-8 as \xfc.

    >>> print(printable("M\udcfcller.nii"))
    M\xfcller.nii
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


class SAMLiverTumorError(Exception):
    """Base of every error that the user can fix; its text can be shown anywhere."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(each) if isinstance(each, str) else each for each in args))


class InputError(SAMLiverTumorError):
    """An image, label map, markups file or setting cannot be used as it is."""


class PromptError(SAMLiverTumorError):
    """The prompts are missing, lie outside the volume, or are of a kind the model was not trained for."""


class ModelError(SAMLiverTumorError):
    """A model is unknown, not downloaded, damaged, or not a checkpoint of a known architecture."""


class OutputError(SAMLiverTumorError):
    """A result cannot be written: it exists already, or the folder or disk refuses."""


class Cancelled(SAMLiverTumorError):
    """The user cancelled the running job; nothing of it was kept."""
