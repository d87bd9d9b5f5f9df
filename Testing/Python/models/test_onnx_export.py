"""Image encoders as ONNX files: the same embeddings, in whole files that name their weights."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from SAMLiverTumorLib.errors import ModelError, OutputError
from SAMLiverTumorLib.models import onnx_export
from SAMLiverTumorLib.models.onnx_export import export_encoder

onnx = pytest.importorskip("onnx")
# official builds send usage data to their maker, the first at import
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="module")
def exported(lite_medsam, tmp_path_factory):
    """(LiteMedSAM's export, its embedding of random pixels before that, the pixels)."""
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        before = lite_medsam.image_encoder(images)
    path = export_encoder(lite_medsam, tmp_path_factory.mktemp("onnx") / "encoder.onnx")
    return path, before, images


def run(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session, session.run(["embedding"], {"images": images.numpy()})[0]


def test_the_graph_gives_tiny_vits_embedding_and_is_a_valid_one(exported):
    path, before, images = exported
    session, embedding = run(path, images)
    assert session.get_inputs()[0].shape == [1, 3, 256, 256]
    assert embedding.shape == (1, 256, 64, 64)
    assert np.abs(embedding - before.numpy()).max() <= 1e-5
    onnx.checker.check_model(str(path), full_check=True)


def test_the_graph_is_that_of_whole_layers_and_not_of_bands(exported):
    # 2 in the stem, 3 in each of 2 blocks, 3 in each of 3 steps down, 1 in each of 10 attention blocks, 2 in the neck
    convolutions = [node for node in onnx.load(str(exported[0])).graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 2 + 6 + 9 + 10 + 2


def test_the_model_is_as_it_was_before_its_export(exported, lite_medsam):
    _, before, images = exported
    assert not any(module.training for module in lite_medsam.image_encoder.modules())
    with torch.inference_mode():
        assert torch.equal(lite_medsam.image_encoder(images), before)


def test_the_file_names_its_weights_and_its_graph(exported, lite_medsam):
    described = {entry.key: entry.value for entry in onnx.load(str(exported[0])).metadata_props}
    assert described["weights_sha256"] == lite_medsam.sha256
    assert described["model"] == "lite-medsam"
    assert len(described["graph_sha256"]) == 64


def test_segment_anythings_vit_is_exported_too(lite_medsam, tmp_path):
    from segment_anything.modeling import ImageEncoderViT  # importable once a model has been loaded

    torch.manual_seed(0)
    vit = ImageEncoderViT(
        img_size=128, embed_dim=32, depth=2, num_heads=2, use_rel_pos=True, window_size=3, global_attn_indexes=(1,)
    )
    with torch.no_grad():
        for weight in vit.parameters():  # zeros at first, among them all relative positions
            weight.normal_(0, 0.1)
    vit.eval().requires_grad_(False)
    model = replace(lite_medsam, info=replace(lite_medsam.info, input_size=128), image_encoder=vit)
    images = torch.rand(1, 3, 128, 128)
    _, embedding = run(export_encoder(model, tmp_path / "vit.onnx"), images)
    with torch.inference_mode():
        expected = vit(images).numpy()
    assert embedding.shape == (1, 256, 8, 8)
    assert np.abs(embedding - expected).max() <= 1e-4 * np.abs(expected).max()


def test_an_existing_file_is_replaced_only_when_asked_to(lite_medsam, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        export_encoder(lite_medsam, path)
    assert path.read_bytes() == b"mine"


def test_an_export_that_breaks_off_leaves_nothing(lite_medsam, tmp_path, monkeypatch):
    def half(module, images, path, **options):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.onnx, "export", half)
    with pytest.raises(OutputError, match="free some space"):
        export_encoder(lite_medsam, tmp_path / "encoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_large_for_a_file_and_a_missing_package_are_reported(lite_medsam, tmp_path, monkeypatch):
    vit_h = SimpleNamespace(parameters=lambda: [torch.empty(637_000_000, device="meta")])
    huge = replace(lite_medsam, image_encoder=vit_h)
    with pytest.raises(ModelError, match=r"takes 2\.4 GiB.*PyTorch"):
        export_encoder(huge, tmp_path / "encoder.onnx")
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install onnx"):
        export_encoder(lite_medsam, tmp_path / "encoder.onnx")
