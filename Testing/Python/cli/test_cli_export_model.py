"""`models export`."""

import pytest

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.models.registry import get_model

onnx = pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def weights(monkeypatch, store):
    """The command takes its weights from the tests' store."""
    monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(store.root))


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


def test_what_export_cannot_do_is_told(tmp_path, capsys):
    assert "models export ID FILE.onnx" in complaint(capsys, "export", "lite-medsam")
    assert "end in .onnx" in complaint(capsys, "export", "lite-medsam", tmp_path / "a.pt")
    assert "only `models export ID FILE.onnx` takes a file" in complaint(capsys, "verify", "lite-medsam", "a.onnx")
    assert "neither a known model" in complaint(capsys, "export", tmp_path / "gone.pth", tmp_path / "a.onnx")
    assert list(tmp_path.glob("*.onnx")) == []
