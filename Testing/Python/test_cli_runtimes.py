"""`models export`, `models benchmark` and `segment --runtime`."""

import json
import sys

import numpy as np
import onnx
import pytest
from cli_case import ONE_SLICE, read_segment, refused, run

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.inference.runtime import kept_choice
from SAMLiverTumorLib.models.registry import get_model


@pytest.fixture(autouse=True)
def cache(user_cache, monkeypatch, store):
    """The user's cache folder in the test's, but for the weights."""
    monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(store.root))
    monkeypatch.delenv("SAM_LIVER_TUMOR_RUNTIME", raising=False)
    return user_cache / "sam-liver-tumor"


def complaint(capsys, *words):
    assert main(["models", *map(str, words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_model_is_exported_by_its_id_and_by_its_file(tmp_path, store, capsys):
    by_id, by_file = tmp_path / "id.onnx", tmp_path / "file.onnx"
    weights = store.path(get_model("lite-medsam"))
    assert main(["models", "export", "lite-medsam", str(by_id)]) == 0
    assert "lite-medsam, (1, 3, 256, 256) to (1, 256, 64, 64)" in capsys.readouterr().out
    assert main(["models", "export", str(weights), str(by_file)]) == 0
    assert by_id.read_bytes() == by_file.read_bytes()
    properties = {entry.key: entry.value for entry in onnx.load(str(by_id)).metadata_props}
    assert properties["weights_sha256"] == get_model("lite-medsam").sha256
    assert "exists already" in complaint(capsys, "export", "lite-medsam", by_id)


def test_what_export_and_benchmark_cannot_do_is_told(tmp_path, capsys):
    assert "models export ID FILE.onnx" in complaint(capsys, "export", "lite-medsam")
    assert "end in .onnx" in complaint(capsys, "export", "lite-medsam", tmp_path / "a.pt")
    assert "only `models export ID FILE.onnx` takes a file" in complaint(capsys, "verify", "lite-medsam", "a.onnx")
    assert "models benchmark ID" in complaint(capsys, "benchmark")
    assert "neither a known model" in complaint(capsys, "benchmark", tmp_path / "gone.pth")
    assert list(tmp_path.glob("*.onnx")) == []


def test_the_benchmark_prints_both_runtimes_and_keeps_its_choice(cache, store, capsys):
    assert main(["models", "benchmark", str(store.path(get_model("lite-medsam")))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("lite-medsam, ")
    assert [line.split()[0] for line in lines[1:3]] == ["pytorch", "onnxruntime"]
    assert "Dice of masks 1.0000" in lines[3] or "Dice of masks 0.99" in lines[3]
    (record,) = json.loads((cache / "runtimes.json").read_text()).values()
    assert {runtime: len(runs) for runtime, runs in record["seconds"].items()} == {"pytorch": 3, "onnxruntime": 3}
    assert 0 < record["difference"] <= 1e-3
    assert record["dice"] >= 0.995
    # what lies where is the user's to see, and goes with the weights
    assert lines[4] == f'"auto" runs it in {record["runtime"]} from now on, by {cache / "runtimes.json"}'
    assert kept_choice(get_model("lite-medsam").sha256) == record["runtime"]
    assert len(list((cache / "onnx").glob("lite-medsam-*.onnx"))) == 1


def test_segment_takes_a_runtime_and_gives_the_same_mask(cache, ct, tmp_path):
    masks = []
    for runtime in ("pytorch", "onnxruntime"):
        out = tmp_path / f"{runtime}.seg.nrrd"
        assert run(ct, "-o", out, ONE_SLICE, "--device", "cpu", "--runtime", runtime) == 0
        masks.append(read_segment(out)[0])
        assert (cache / "onnx").exists() == (runtime == "onnxruntime")
    assert np.count_nonzero(masks[0]) > 50
    assert np.count_nonzero(masks[0] != masks[1]) <= 0.005 * np.count_nonzero(masks[0])


def test_following_through_the_volume_takes_it_too(ct, out, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = (ct, "-o", out, ONE_SLICE, "--device", "cpu", "--mode", "volume", "--runtime", "onnxruntime")
    assert "pip install onnxruntime" in refused(capsys, *words)
