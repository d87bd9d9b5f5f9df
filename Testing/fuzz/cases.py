"""Targets: the files that ../shared/cases makes, as public bug reports have them, where it lies beside the checkout.

The generators need nibabel and pynrrd; without them, or without the folder, these targets are not there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fuzz.images import DICOM_WORDS, NIFTI_MUTATIONS, NRRD_WORDS, TEXT_MUTATIONS, check_volume, read_markups
from fuzz.structure import dicom_element, json_value, nested, zip_member
from fuzz.target import Files, Target
from fuzz.weights import CHECKPOINT_WORDS, read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(os.environ.get("SAM_LIVER_TUMOR_SHARED", ROOT.parent / "shared")) / "cases"
_MADE = ROOT / "out" / "fuzz" / "cases"
_IMAGES = (".nii", ".nii.gz", ".hdr", ".nrrd", ".mha")


def folder() -> Path:
    """The generators' files, made once for all processes."""
    if not _MADE.is_dir():
        _MADE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_MADE.parent) as made:
            copy = Path(made) / "cases"
            shutil.copytree(SOURCE, copy)
            _few_weights(copy / "few.safetensors")
            for script in sorted(copy.glob("*/make.py")):
                words = [copy / "few.safetensors"] if script.parent.name == "checkpoints" else []
                # the rules of one process are not those of its children: what is imported here is there as well
                environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
                call = [sys.executable, "-W", "ignore", script, *words]
                done = subprocess.run(call, cwd=script.parent, env=environment, capture_output=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{script}: {done.stderr.decode(errors='replace')[-500:]}")
            try:
                copy.rename(_MADE)
            except OSError:  # another process was first
                if not _MADE.is_dir():
                    raise
    return _MADE


def _few_weights(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    names = ("image_encoder.patch_embed.seq.0.c.weight", "prompt_encoder.no_mask_embed.weight", "mask_decoder.x.weight")
    save_file({name: torch.arange(24.0).reshape(2, 3, 2, 2) for name in names}, str(path))


def _files(*kinds: str, fitting: Callable[[str], bool]) -> dict[str, Files]:
    """Every file of these folders alone, by "folder/name"; a header with its .img."""
    found = {}
    for kind in kinds:
        for path in sorted((folder() / kind).rglob("*")):
            if path.is_file() and path.name != "make.py" and fitting(path.name):
                pair = path.with_suffix(".img") if path.suffix == ".hdr" else None
                found[f"{kind}/{path.relative_to(folder() / kind)}"] = {
                    each.name: each.read_bytes() for each in (path, pair) if each is not None
                }
    return found


def _folders(*kinds: str) -> dict[str, Files]:
    """Every folder in these folders with all that is in it, by "folder/name"."""
    found = {}
    for kind in kinds:
        for top in sorted(path for path in (folder() / kind).iterdir() if path.is_dir()):
            files = {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
            if files and top.name != "__pycache__":
                found[f"{kind}/{top.name}"] = files
    return found


def _is_image(name: str) -> bool:
    return name.endswith(_IMAGES)


def _read_series(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.io.dicom.series import read_dicom

    check_volume(read_dicom(folder).volume)


def _read_image(folder: Path, path: Path, out: Path) -> None:
    """Read a file as a scan and as labels, whichever it is, and bring the labels onto the scan's grid as a liver."""
    from SAMLiverTumorLib.errors import SAMLiverTumorError
    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.io.labels.grids import common_grid, onto_grid, why_apart
    from SAMLiverTumorLib.io.labels.liver import liver_of
    from SAMLiverTumorLib.io.labels.reader import read_labels

    refusal, volume = None, None
    try:
        volume = read_volume(path)
        check_volume(volume)
    except SAMLiverTumorError as error:
        refusal = error
    try:
        labels = read_labels(path)
    except SAMLiverTumorError:
        if refusal is not None:
            raise
        return
    if volume is not None:
        why_apart(labels, volume.ijk_to_ras, volume.dimensions)
    liver, _notes = liver_of(labels)
    common_grid(liver, labels)
    moved, _notes = onto_grid(liver, _ct_grid(), (128, 96, 24))
    assert all(mask.shape == (24, 96, 128) for mask in moved.segments.values())


def _ct_grid():
    import numpy as np

    return np.array([[-1.5, 0, 0, 96.0], [0, -1.5, 0, 72.0], [0, 0, 4.0, -300.0], [0, 0, 0, 1.0]])


def _read_table(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.batch.prompts_csv import read_prompts_csv

    read_prompts_csv(path)


def _read_set(folder: Path, path: Path, out: Path) -> None:
    """Pair the scans and labels of a set, as `train` does, and read the first case."""
    from SAMLiverTumorLib.datasets.cases import find_cases, load_case

    images, labels = (next((folder / n for n in names if (folder / n).is_dir()), folder) for names in (_SCANS, _LABELS))
    load_case(find_cases(images, labels)[0])


_SCANS = ("imagesTr", "images", "scans", "影像")
_LABELS = ("labelsTr", "labels", "out", "标签")


def _targets() -> tuple[Target, ...]:
    # broken in a way that people have, some of them are refused as they are
    return (
        Target(
            "cases-dicom",
            lambda: _folders(
                *("dicom-deidentified", "dicom-enhanced", "dicom-multipass", "dicom-odd-numbers"),
                *("dicom-undeclared-scout", "name-not-utf8"),
            ),
            _read_series,
            # nothing else is in these folders
            {"": (dicom_element,)},
            DICOM_WORDS,
            2.0,
            refuses_seeds=True,
        ),
        Target(
            "cases-images",
            lambda: _files(
                *("nifti-odd-shapes", "nifti-sform-vs-pixdim", "nifti-label-scaled", "nifti-not-gzipped"),
                *("labels-identity-affine", "segnrrd-odd", "name-not-utf8"),
                fitting=_is_image,
            ),
            _read_image,
            {**NIFTI_MUTATIONS, **TEXT_MUTATIONS},
            NRRD_WORDS,
            3.0,
            refuses_seeds=True,
        ),
        Target(
            "cases-markups",
            lambda: _files("markups-odd", fitting=lambda name: name.endswith((".json", ".fcsv"))),
            read_markups,
            {".json": (json_value, json_value, nested)},
            (b'"LPS"', b"null", b"CoordinateSystem = ", b",,"),
            1.0,
            refuses_seeds=True,
        ),
        Target(
            "cases-table",
            lambda: _files("csv-excel", fitting=lambda name: name.endswith(".csv")),
            _read_table,
            {},
            (b"\t", b";", b'"', b"box", b"nan", b"sep=", b"\xff\xfe"),
            1.0,
            refuses_seeds=True,
        ),
        Target(
            "cases-set",
            lambda: _folders("dataset-json", "folders-layouts"),
            _read_set,
            {**NIFTI_MUTATIONS, ".json": (json_value, json_value, nested)},
            (b"labels", b"tumor", b"liver"),
            1.5,
            refuses_seeds=True,
        ),
        Target(
            "cases-checkpoint",
            lambda: _files("checkpoints", fitting=lambda name: name.endswith((".pth", ".pt", ".ckpt"))),
            read_checkpoint,
            {".pth": (zip_member,), ".pt": (zip_member,), ".ckpt": (zip_member,)},
            CHECKPOINT_WORDS,
            1.0,
            refuses_seeds=True,
        ),
    )


def _is_possible() -> bool:
    return SOURCE.is_dir() and all(importlib.util.find_spec(name) is not None for name in ("nibabel", "nrrd"))


TARGETS = _targets() if _is_possible() else ()
