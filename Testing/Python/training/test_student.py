"""The student's own decoding, and the file made of it, against the product's predictor."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SAMLiverTumorLib.inference.mask_prompts import MOST_LOGIT
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.models.weights import describe, save_weights
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.training.end_to_end import prompts
from SAMLiverTumorLib.training.end_to_end.crops import normalized
from SAMLiverTumorLib.training.end_to_end.examples import LIVER, LIVER_TUMOR, Example
from SAMLiverTumorLib.training.end_to_end.step import step_losses
from SAMLiverTumorLib.training.end_to_end.student import Student

_INFO = replace(
    get_model("liver-tumor"),
    architecture="pyramid",
    input_size=512,
    normalization="liver",
    channels="slices",
    prompts=frozenset({"points", "box", "mask", "text"}),
)


@pytest.fixture(scope="module")
def student() -> Student:
    """With weights that make blocks more than the identity."""
    torch.manual_seed(3)
    student = Student()
    for name, weight in student.named_parameters():
        if name.endswith("narrow.norm.weight"):
            torch.nn.init.uniform_(weight, 0.2, 0.5)
    return student.eval()


@pytest.fixture(scope="module")
def predictor(student, tmp_path_factory) -> Predictor:
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    save_weights(path, student.model_weights(), describe(_INFO))
    return Predictor(load_model(path, None, "cpu"))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)


def _decoded(student: Student, picture: np.ndarray, tokens, before=None):
    with torch.no_grad():
        images = normalized(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        features = student.image_encoder.features(images)
        places = student.places([(0, 0)], 512)
        return student.decode(features, places, torch.tensor([0]), tokens, before)


def test_the_file_gives_the_masks_that_the_student_gave(student, predictor, picture):
    embedding = predictor.embed(picture, (0.8, 0.8))
    tokens = {
        "click": ([(200.0, 150.0, prompts.INCLUDE), (0.0, 0.0, prompts.NOTHING)], PlanePrompts([(200, 150)], [1])),
        "box": (
            [(90.5, 100.5, prompts.FIRST_CORNER), (180.5, 170.5, prompts.LAST_CORNER)],
            PlanePrompts(box=(90.5, 100.5, 180.5, 170.5)),
        ),
    }
    for given, asked in tokens.values():
        at, kinds = torch.tensor([[g[:2] for g in given]]), torch.tensor([[g[2] for g in given]])
        logits, iou = _decoded(student, picture, student.prompt_tokens(at, kinds))
        prediction = predictor.predict(embedding, asked)
        # embeddings are kept in 16 bits
        np.testing.assert_allclose(prediction.low_resolution, logits[0].numpy(), atol=0.02 * float(logits.std()) + 1e-3)
        assert prediction.predicted_iou == pytest.approx(float(iou), abs=5e-3)
        corrected = predictor.predict(embedding, replace(asked, mask=prediction.low_resolution))
        again, _ = _decoded(student, picture, student.prompt_tokens(at, kinds), logits)
        np.testing.assert_allclose(corrected.low_resolution, again[0].numpy(), atol=0.02 * float(again.std()) + 1e-3)


def test_only_prompts_with_a_lasso_have_a_mask_so_far(student, picture):
    points = torch.tensor([[[200.0, 150.0], [0.0, 0.0]], [[120.0, 90.0], [0.0, 0.0]]])
    tokens = student.prompt_tokens(points, torch.tensor([[prompts.INCLUDE, prompts.NOTHING]] * 2))
    enclosed = torch.full((2, 1, 256, 256), -MOST_LOGIT)
    enclosed[:, :, 40:60, 50:80] = MOST_LOGIT
    with torch.no_grad():
        features = student.image_encoder.features(normalized(torch.from_numpy(picture).permute(2, 0, 1)[None].float()))
        places, image = student.places([(0, 0)], 512), torch.tensor([0, 0])
        mixed, _ = student.decode(features, places, image, tokens, enclosed, torch.tensor([True, False]))
        drawn, _ = student.decode(features, places, image[:1], tokens[:1], enclosed[:1])
        clicked, _ = student.decode(features, places, image[:1], tokens[1:], None)
    np.testing.assert_allclose(mixed[:1].numpy(), drawn.numpy(), atol=1e-4)
    np.testing.assert_allclose(mixed[1:].numpy(), clicked.numpy(), atol=1e-4)
    assert float((drawn - _without_lasso(student, features, places, tokens)).abs().max()) > 1e-3


def _without_lasso(student, features, places, tokens):
    with torch.no_grad():
        return student.decode(features, places, torch.tensor([0]), tokens[:1], None)[0]


def test_text_is_understood_by_the_file(student, predictor, picture):
    logits, _ = _decoded(student, picture, student.text(LIVER)[None])
    prediction = predictor.predict_text(predictor.embed(picture, (0.8, 0.8)), LIVER)
    np.testing.assert_allclose(prediction.low_resolution, logits[0].detach().numpy(), atol=0.02 * float(logits.std()))


def test_a_step_teaches_every_part(student):
    student.train()
    rng = np.random.default_rng(1)
    lesion = np.zeros((64, 64), bool)
    lesion[20:40, 24:44] = True
    images = rng.uniform(0, 255, (3, 64, 64)).astype(np.float32)
    examples = [Example(images, (64, 128), [lesion, lesion.T], [(LIVER_TUMOR, lesion), (LIVER, lesion)])] * 2
    losses = step_losses(student, examples, 2, rng, half=False)
    assert set(losses) == {"mask", "text"}
    student.zero_grad()
    sum(losses.values()).backward()
    still = {name for name, weight in student.named_parameters() if weight.grad is None or not weight.grad.any()}
    # the key's bias cancels in the softmax, and not every kind of token was drawn
    assert [name for name in still if not name.endswith("k_proj.bias") and "point" not in name] == []
    student.eval()


def test_a_crop_has_the_places_of_its_part_of_the_whole(student):
    with torch.no_grad():
        whole = student.places([(0, 0)], 512)
        part = student.places([(64, 128)], 96)
    assert torch.equal(part[0], whole[0][:, 8:20, 16:28])
