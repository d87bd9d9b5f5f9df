"""NRRD files whose list axis is not named as one, which pynrrd leaves and ITK, so Slicer too, ends over."""

from __future__ import annotations

import re
from pathlib import Path

_UNNAMED = ("", "???", "none")


def with_voxels_at(content: bytes, folder: Path) -> bytes:
    r"""The beginning of an NRRD file with the name of its voxels' file, where it has one, led by a folder.

    >>> with_voxels_at(b"NRRD0005\ndata file: ct.raw\n\n", Path("/data"))
    b'NRRD0005\ndata file: /data/ct.raw\n\n'
    """

    def placed(match: re.Match[bytes]) -> bytes:
        name = match[2].decode("utf-8", "surrogateescape")
        return match[1] + (folder / name).as_posix().encode("utf-8", "surrogateescape")

    return re.sub(rb"(?m)^(data ?file: *)(?!LIST)([^\r\n]+)", placed, content, count=1)


def with_kinds(content: bytes) -> bytes | None:
    """The beginning of an NRRD file with a kind for each axis, where those without direction have none.

    :param content: the file's first bytes, its header among them.
    :return: all of them with a line more or another one; None where nothing is missing.

    >>> with_kinds(b"NRRD0005\\ndimension: 2\\nspace directions: none (1)\\n\\n...")
    b'NRRD0005\\ndimension: 2\\nspace directions: none (1)\\nkinds: list domain\\n\\n...'
    """
    end = re.search(rb"\r?\n\r?\n", content)
    header = content[: end.start()] if end else content
    directions = re.search(rb"(?m)^space directions:(.*)$", header)
    axes = re.findall(rb"none|\([^)]*\)", directions[1]) if directions else []
    if directions is None or b"none" not in axes:
        return None
    line = re.search(rb"(?m)^kinds:.*$", header)
    kinds = line[0][6:].split() if line else []
    kinds = kinds if len(kinds) == len(axes) else [b""] * len(axes)
    if not any(kind.decode("latin-1").lower() in _UNNAMED for kind in kinds):
        return None
    named = [
        (b"list" if axis == b"none" else b"domain") if kind.decode("latin-1").lower() in _UNNAMED else kind
        for axis, kind in zip(axes, kinds, strict=True)
    ]
    text = b"kinds: " + b" ".join(named)
    if line:
        return content[: line.start()] + text + content[line.end() :]
    at = header.index(directions[0]) + len(directions[0])
    return content[:at] + b"\n" + text + content[at:]
