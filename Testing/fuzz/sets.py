"""Targets: DICOM SEG, 3D-IRCADb in zip files, kept cases, tables of prompts."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from fuzz import kinds, seeds
from fuzz.structure import dicom_element, json_value, nested, zip_member
from fuzz.target import Files, Target


def _read_labels(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.io.labels.reader import read_labels

    labels = read_labels(path)
    assert all(mask.shape == labels.layers[0].shape for mask in labels.segments.values())


def _seg_files() -> dict[str, Files]:
    import SimpleITK as sitk

    from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
    from SAMLiverTumorLib.io.dicom.source import read_source
    from SAMLiverTumorLib.io.labels.label_file import LabelFile

    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder) / "ct"
        series.mkdir()
        for name, data in seeds.dicom_series().items():
            (series / name).write_bytes(data)
        source = read_source(series)
        layer = sitk.GetArrayFromImage(seeds.crops()[1])[:4].copy()
        labels = LabelFile("made", (layer,), {"Liver": (0, 1), "Liver tumor": (0, 2)}, source.ijk_to_ras)
        write_dicom_seg(labels, source, Path(folder) / "seg.dcm")
        return {"two": {"seg.dcm": (Path(folder) / "seg.dcm").read_bytes()}}


def _read_ircadb(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.io.ircadb.cases import read_ircadb

    assert read_ircadb(path, liver_only=True).volume.dimensions


def _ircadb_files() -> dict[str, Files]:
    from ircadb_case import Patient

    with tempfile.TemporaryDirectory() as folder:
        return {"nested": {"3Dircadb1.1.zip": Patient().write_nested(Path(folder)).read_bytes()}}


def _in_a_slice(rng, data: bytes) -> bytes:
    """Damage an element of one slice, inside the archive within the archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as outer:
        kinds = {name: outer.read(name) for name in outer.namelist()}
    kind = rng.choice(sorted(kinds))
    with zipfile.ZipFile(io.BytesIO(kinds[kind])) as inner:
        slices = {name: inner.read(name) for name in inner.namelist()}
    name = rng.choice(sorted(slices))
    slices[name] = dicom_element(rng, slices[name])
    kinds[kind] = _packed(slices)
    return _packed(kinds)


def _packed(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return target.getvalue()


def _read_kept(folder: Path, path: Path, out: Path) -> None:
    """Read a case's folder whose image and label are empty."""
    from SAMLiverTumorLib.datasets.store.case_record import read_kept

    read_kept(folder)


def _kept_files() -> dict[str, Files]:
    import json

    record = {
        **{"format": 1, "id": "case-0123456789", "name": "study-017", "version": 1, "stored": "2026-11-28"},
        **{"voxels": [24, 20, 6], "spacing_mm": [0.8, 0.7, 3.0], "tumor_ml": 1.5, "liver_ml": None},
        **{"window": [-160.0, 240.0], "content": "0" * 64, "outline": "1" * 64, "origin": [{"models": [{"id": "a"}]}]},
    }
    return {"one": {"case.json": json.dumps(record).encode(), "image.nrrd": b"", "label.nrrd": b""}}


def _read_table(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.batch.prompts_csv import read_prompts_csv

    read_prompts_csv(path)


def _read_meanings(folder: Path, path: Path, out: Path) -> None:
    """What a label map's values mean, by the `dataset.json` beside it."""
    from SAMLiverTumorLib.io.labels.dataset_json import dataset_labels, meanings_in_set, named_by_set
    from SAMLiverTumorLib.io.labels.reader import read_labels

    label = folder / "x.nii"
    dataset_labels(label)
    meanings_in_set(label, {}, {"1": "liver"})
    named_by_set(read_labels(label), label)


TARGETS = (
    Target("dicom-seg", _seg_files, _read_labels, {".dcm": (dicom_element,)}, (b"BINARY", b"FRACTIONAL", b"SQ\0\0")),
    Target("ircadb", _ircadb_files, _read_ircadb, {".zip": (zip_member, _in_a_slice, _in_a_slice)}, (), 0.5),
    Target("kept-case", _kept_files, _read_kept, {"case.json": (json_value, nested)}, (), 0.5),
    Target("prompts-table", kinds.tables, _read_table, {}, (b"\t", b";", b'"', b"box", b"nan")),
    Target("dataset-json", kinds.dataset_jsons, _read_meanings, {".json": (json_value, nested)}, (b"labels", b"liver")),
)
