"""Targets: images, label maps, DICOM series, Slicer's segmentations, markups and scenes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace

from fuzz import kinds, seeds
from fuzz.mutations import havoc
from fuzz.structure import (
    dicom_element,
    gzipped,
    json_value,
    nested,
    nifti_field,
    text_header,
    zip_member,
)
from fuzz.target import Files, Target

NIFTI_MUTATIONS = {".nii": (nifti_field,), ".nii.gz": (gzipped(nifti_field), gzipped(nifti_field), gzipped(havoc))}
NRRD_WORDS = tuple(
    word.encode()
    for word in (
        *("type: short", "type: block", "block size: 8", "dimension: 3", "dimension: 16", "sizes: 24 20 6", "none"),
        *("encoding: raw", "encoding: gzip", "encoding: ascii", "encoding: hex", "encoding: bzip2", "endian: big"),
        *("data file: x.raw", "data file: LIST", "data file: ../../../etc/passwd", "data file: %d.raw 1 9999999 1"),
        *("line skip: -1", "byte skip: -1", "byte skip: 99999999999", "space: left-posterior-superior", "kinds: list"),
        *("space directions: none (1,0,0) (0,1,0) (0,0,1)", "space origin: (nan,0,0)", "NRRD0005", "\n\n", ":=", "\n"),
    )
)
_META_WORDS = tuple(
    word.encode()
    for word in (
        *("NDims = 3", "NDims = 100", "DimSize = 24 20 6", "ElementType = MET_SHORT", "ElementType = MET_STRING"),
        *("ElementDataFile = LOCAL", "ElementDataFile = LIST", "ElementDataFile = %d.raw 1 9 1", "HeaderSize = -1"),
        *("BinaryData = False", "CompressedData = True", "CompressedDataSize = 1", "ElementNumberOfChannels = 1000000"),
        *("TransformMatrix = 0 0 0 0 0 0 0 0 0", "ElementByteOrderMSB = True", "ObjectType = Scene", "\n"),
    )
)
DICOM_WORDS = (
    *(
        b"DICM",
        b"\xfe\xff\x00\xe0",
        b"\xfe\xff\x0d\xe0",
        b"\xfe\xff\xdd\xe0",
        b"\xff\xff\xff\xff",
        b"SQ\0\0",
        b"UN\0\0",
    ),
    *(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.5\0"),
    *(b"\xe0\x7f\x10\x00", b"MONOCHROME1 ", b"PALETTE COLOR ", b"RGB ", b"OB", b"OW", b"DS", b"IS", b"US"),
)


def _read_volume(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.io.images import read_volume

    volume = read_volume(path)
    check_volume(volume)


def check_volume(volume) -> None:
    """Check that the volume is usable: finite affine, positive spacing, readable voxels."""
    import numpy as np

    assert np.isfinite(volume.ijk_to_ras).all()
    assert min(volume.spacing) > 0
    assert volume.voxel_hash


def _read_labels(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.io.labels.reader import read_labels

    labels = read_labels(path)
    assert all(mask.shape == labels.layers[0].shape for mask in labels.segments.values())


def _read_series(folder: Path, path: Path, out: Path) -> None:
    _read_volume(folder, folder, out)


@cache
def one_scene():
    """One scene for all inputs, since each scene makes a temporary folder that stays until the process ends."""
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene

    return createScene()


def _load_volume(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.mrml.scene_files import loadVolume

    try:
        loadVolume(one_scene(), path)
    finally:
        one_scene().Clear(False)


def _load_scene(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.mrml.scene_files import loadScene

    try:
        loadScene(one_scene(), path)
    finally:
        one_scene().Clear(False)


def read_markups(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.cli.options.prompts import read_prompts

    options = {"include": None, "exclude": None, "roi": None, "point": [], "exclude_point": [], "box": None}
    kind = "roi" if path.name.startswith("roi") else "include"
    try:
        read_prompts(SimpleNamespace(**{**options, kind: path}), one_scene())
    finally:
        one_scene().Clear(False)


def _scalar_files() -> dict[str, Files]:
    import SimpleITK as sitk

    names = {"x.nii": {}, "x.nii.gz": {}}
    files = {name: {name: seeds.image_bytes(name[1:], **options)} for name, options in names.items()}
    files["float.nii"] = {"x.nii": seeds.image_bytes(".nii", kind=sitk.sitkFloat32)}
    return files | seeds.odd_nifti(labels=False)


def _nrrd_files() -> dict[str, Files]:
    return {
        "raw": {"x.nrrd": seeds.image_bytes(".nrrd")},
        "gzip": {"x.nrrd": seeds.image_bytes(".nrrd", compressed=True)},
    }


def _meta_files() -> dict[str, Files]:
    return {
        "raw": {"x.mha": seeds.image_bytes(".mha")},
        "zlib": {"x.mha": seeds.image_bytes(".mha", compressed=True)},
    }


def _label_files() -> dict[str, Files]:
    return {
        suffix: {f"x{suffix}": seeds.image_bytes(suffix, labels=True)}
        for suffix in (".nii", ".nii.gz", ".nrrd", ".mha")
    } | seeds.odd_nifti(labels=True)


def _dicom_files() -> dict[str, Files]:
    series = seeds.dicom_series()
    return {"series": series, "one": dict(list(series.items())[:1])} | kinds.dicom_kinds()


TEXT_MUTATIONS = {".nrrd": (text_header,), ".mha": (text_header,)}

TARGETS = (
    Target("nifti", _scalar_files, _read_volume, NIFTI_MUTATIONS, (b"n+1\0", b"ni1\0", b"n+2\0"), 1.5),
    Target("nrrd", _nrrd_files, _read_volume, TEXT_MUTATIONS, NRRD_WORDS, 1.5),
    Target("metaimage", _meta_files, _read_volume, TEXT_MUTATIONS, _META_WORDS),
    Target("labels", _label_files, _read_labels, {**NIFTI_MUTATIONS, **TEXT_MUTATIONS}, NRRD_WORDS),
    Target(
        "segmentation",
        lambda: {"two": {"x.seg.nrrd": seeds.segmentation_bytes()}} | seeds.odd_segmentations(),
        _read_labels,
        TEXT_MUTATIONS,
        (b"Segment0_", b"Segment1_", b"Segment99999999999_ID:=x", b"LabelValue:=", b"Layer:=", *NRRD_WORDS),
    ),
    Target("dicom", _dicom_files, _read_series, {".dcm": (dicom_element,)}, DICOM_WORDS, 2.0, refuses_seeds=True),
    Target(
        "slicer-volume",
        lambda: {**_scalar_files(), **_nrrd_files(), **_meta_files()},
        _load_volume,
        {**NIFTI_MUTATIONS, **TEXT_MUTATIONS},
    ),
    Target(
        "markups",
        lambda: {
            "points": {"points.mrk.json": seeds.markups_bytes(False)},
            "roi": {"roi.mrk.json": seeds.markups_bytes(True)},
            **kinds.old_markups(),
        },
        read_markups,
        {".json": (json_value, json_value, json_value, nested)},
        (b'"LPS"', b'"RAS"', b'"ROI"', b'"Fiducial"', b'"Plane"', b"null", b"[]", b"{}"),
        1.5,
    ),
    Target("scene", lambda: {"small": {"x.mrb": seeds.scene_bytes()}}, _load_scene, {".mrb": (zip_member,)}, (), 0.3),
)
