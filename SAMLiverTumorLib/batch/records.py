"""Which cases are finished: a record beside each segmentation holds what it was made from.

The record is written first and the segmentation last, each atomically. So a kill at any moment leaves one of `State`,
and an old segmentation stays until the new one is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import parse_json

FORMAT = 1
_BLOCK = 1 << 20


class State(Enum):
    """State of a case's files."""

    ABSENT = "not done yet"
    DONE = "finished"
    CHANGED = "finished with another scan, other prompts or settings"
    EDITED = "finished, and edited since by somebody else"
    FOREIGN = "a file that no batch has written"


def state_of(job: Job, settings: BatchSettings) -> State:
    """State of a case; contents are read only if sizes or times differ from those in the record."""
    if not job.segmentation.exists():
        return State.ABSENT
    record = read_record(job)
    if not record:
        return State.FOREIGN
    found = _sha256(job.segmentation)
    if found != record["output"]["sha256"]:
        # killed between record and segmentation: the earlier segmentation is still there
        return State.ABSENT if found == record["replaces"] else State.EDITED
    same = record["key"] == job.key(settings) and is_same(record["image"], job.image)
    return State.DONE if same and is_same(record["liver"], job.liver) else State.CHANGED


def read_record(job: Job) -> dict:
    """The record of a case; empty if it is missing or damaged."""
    try:
        record = parse_json(job.record.read_bytes())
        if record["format"] == FORMAT and isinstance(record["output"]["sha256"], str):
            _ = record["replaces"], record["key"], record["image"], record["liver"], record["segments"]
            return record
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return {}


def write_case(job: Job, settings: BatchSettings, save: Callable[[Path], None], details: Mapping) -> dict:
    """Write segmentation and record, replacing earlier ones.

    :param save: writes the segmentation to the given path.
    :param details: further entries of the record.
    :return: the record.
    :raises OutputError: disk or folder cannot be written. Earlier files are unchanged, or the new record names the
        earlier segmentation.
    """
    before = _sha256(job.segmentation) if job.segmentation.exists() else None
    with atomic_path(job.segmentation, overwrite=True) as segmentation:
        save(segmentation)
        record = {
            "format": FORMAT,
            "case": job.name,
            "key": job.key(settings),
            "settings": settings.as_dict(),
            "image": fingerprint(job.image),
            "liver": fingerprint(job.liver),
            "output": {"file": job.segmentation.name, "sha256": _sha256(segmentation)},
            "replaces": before,
            **details,
        }
        write_record(job, record)
    return record


def write_record(job: Job, record: Mapping) -> None:
    """Write only the record.

    :raises OutputError: disk or folder cannot be written.
    """
    with atomic_path(job.record, overwrite=True) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def fingerprint(path: Path | None) -> dict | None:
    """Fingerprint of a file or folder: a stamp of sizes and times for a quick check, and a hash of its contents."""
    return None if path is None else {"stamp": _stamp(path), "sha256": _contents(path)}


def is_same(noted: Mapping | None, path: Path | None) -> bool:
    """Whether a file or folder still has a fingerprint.

    If sizes or times differ, as in copies, the contents decide.

    :raises InputError: it cannot be read.
    """
    if noted is None or path is None:
        return noted is None and path is None
    return noted.get("stamp") == _stamp(path) or noted.get("sha256") == _contents(path)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _stamp(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _existing(path):
        status = file.stat()
        digest.update(f"{_name(file, path)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _contents(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _existing(path):
        digest.update(f"{_name(file, path)}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _existing(path: Path) -> list[Path]:
    # a case of 3D-IRCADb may be inside a zip file, which then represents it
    held = path if path.exists() else next((p for p in path.parents if p.is_file()), None)
    if held is None:
        raise InputError(f"'{path}' does not exist; check the path.")
    return list(_files(held))


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix() if path.is_dir() else ""


def _sha256(path: Path) -> str:
    """SHA-256 of a file; not cached, since another program may change it within one tick of the clock.

    :raises InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); check the disk.") from error
    return digest.hexdigest()
