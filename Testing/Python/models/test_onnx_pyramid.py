"""The bundled model's kind of network as two ONNX files: what embedded use takes gives the same masks."""

import os

import numpy as np
import pytest
import torch

from SAMLiverTumorLib.inference.decoder import Decoder
from SAMLiverTumorLib.inference.onnx_decoder import export_decoder
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.onnx_export import export_encoder
from SAMLiverTumorLib.models.weights import describe, save_weights
from SAMLiverTumorLib.training.end_to_end.run import network_info
from SAMLiverTumorLib.training.end_to_end.student import Student

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_weights(path, Student().eval().model_weights(), describe(network_info()))
    return load_model(path, None, "cpu")


@pytest.fixture(scope="module")
def embedding(model) -> torch.Tensor:
    images = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.image_encoder(images)


@pytest.fixture(scope="module")
def answers(model, tmp_path_factory):
    path = export_decoder(model, tmp_path_factory.mktemp("onnx") / "decoder.onnx")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _close(one: np.ndarray, other: torch.Tensor) -> None:
    assert np.abs(one - other.numpy()).max() <= 1e-4 * max(1.0, float(other.abs().max()))


def test_the_encoders_graph_gives_the_same_features(model, embedding, tmp_path):
    path = export_encoder(model, tmp_path / "encoder.onnx")
    images = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _close(session.run(["embedding"], {"images": images.numpy()})[0], embedding)


@pytest.mark.parametrize("prompt", ["click", "three clicks", "box", "click with mask", "text"])
def test_the_decoders_graph_answers_as_the_library(model, embedding, answers, prompt):
    points, kinds, mask = [(200.0, 210.0), (0.0, 0.0)], [1, -1], None
    clicks, box, text = (torch.tensor([[[200.0, 210.0]]]), torch.ones(1, 1, dtype=torch.int32)), None, None
    if prompt == "three clicks":
        points, kinds = [(200.0, 210.0), (180.0, 190.0), (90.0, 20.0), (0.0, 0.0)], [1, 1, 0, -1]
        clicks = torch.tensor([points[:3]]), torch.tensor([[1, 1, 0]], dtype=torch.int32)
    elif prompt == "box":
        points, kinds, clicks, box = (
            [(90.5, 80.5), (150.5, 170.5)],
            [2, 3],
            None,
            torch.tensor([[90.5, 80.5, 150.5, 170.5]]),
        )
    elif prompt == "click with mask":
        mask = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(2))
    elif prompt == "text":
        number = model.info.concepts.index("liver")
        points, kinds = [(0.0, 0.0)] * 4, [4 + 4 * number + n for n in range(4)]
        clicks, text = None, model.text("liver")
    with torch.inference_mode():
        decoder = Decoder(model.prompt_encoder, model.mask_decoder)
        logits, iou = decoder.decode(decoder.image_side(embedding), clicks, box, mask, False, text)
    got = answers.run(
        ["logits", "iou"],
        {
            "embedding": embedding.numpy(),
            "points": np.array([points], np.float32),
            "kinds": np.array([kinds], np.int64),
            "mask": np.zeros((1, 1, 256, 256), np.float32) if mask is None else mask.numpy(),
            "has_mask": np.array([mask is not None], np.float32),
        },
    )
    _close(got[0], logits)
    _close(got[1], iou)
