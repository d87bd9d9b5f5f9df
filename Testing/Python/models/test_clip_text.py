"""Text through CLIP: any phrase, a projection that is trained, nothing downloaded without a yes."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_case import run as segment
from clip_case import CONFIG, needs_open_clip, write_clip
from training_case import options, write_cases

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError, ModelError, PromptError
from SAMLiverTumorLib.inference.model_choice import check_concept
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.clip import clip_source, clip_text
from SAMLiverTumorLib.models.clip.clip_source import load_clip, parse_clip
from SAMLiverTumorLib.models.clip.clip_text import new_clip_text
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
from SAMLiverTumorLib.models.weights import read_about
from SAMLiverTumorLib.training.settings import TrainSettings

pytestmark = needs_open_clip


def refuse(question):
    raise AssertionError(question)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def trained(cases, clip, tmp_path_factory):
    """The weight file of a training run of a few steps whose text goes through CLIP."""
    out = tmp_path_factory.mktemp("trained") / "run"
    words = options(cases, out, epochs=1, steps=4, text=["liver tumor", "liver"], text_encoder=f"clip:{clip}")
    assert main(["train", *words, "--no-blend"]) == 0
    (path,) = out.glob("*.safetensors")
    return path


def test_vectors_are_those_that_open_clip_itself_gives(clip):
    ensure_torchvision_imports()
    import open_clip
    from open_clip.model import CLIP
    from safetensors.torch import load_file

    network = CLIP(CONFIG["embed_dim"], CONFIG["vision_cfg"], CONFIG["text_cfg"]).eval()
    network.load_state_dict(load_file(clip / "open_clip_model.safetensors"))
    with torch.no_grad():
        wanted = network.encode_text(
            open_clip.SimpleTokenizer(context_length=16)(["hypodense nodule"]), normalize=True
        )[0]
    encoder = load_clip(parse_clip(f"clip:{clip}"), refuse)
    assert torch.allclose(encoder.encode("hypodense nodule"), wanted, atol=1e-6) and encoder.width == 24


def test_clip_is_no_part_of_what_learns_and_the_projection_is(clip):
    text = new_clip_text(parse_clip(f"clip:{clip}"), refuse)
    text.add(["liver tumor"])
    assert {name: tuple(p.shape) for name, p in text.named_parameters()} == {
        "projection.weight": (4 * 256, 24),
        "projection.bias": (4 * 256,),
    }
    text("liver tumor").square().sum().backward()
    assert text.projection.weight.grad.abs().sum() > 0
    # as small as tokens of points and boxes begin, and another for each phrase
    assert text("liver tumor").shape == (4, 256) and 0.01 < text("liver tumor").std().item() < 0.04
    assert not torch.allclose(text("liver tumor"), text("gallbladder"))


def test_a_concept_is_said_in_several_ways_while_training_and_the_same_ways_each_time(clip):
    text = new_clip_text(parse_clip(f"clip:{clip}"), refuse)
    said = [text.phrase("liver tumor", np.random.default_rng(n)) for n in range(60)]
    assert said == [text.phrase("liver tumor", np.random.default_rng(n)) for n in range(60)]
    assert len(set(said)) > 4 and 20 < said.count("liver tumor") < 50


def test_the_file_names_its_clip_and_neither_holds_it_nor_says_where_it_lay(trained, clip):
    about = read_about(trained)
    assert about["text_encoder"]["name"] == "tiny-clip" and len(about["text_encoder"]["sha256"]) == 64
    assert str(clip.parent) not in json.dumps(about)
    assert about["card"]["settings"]["text_encoder"] == "clip:tiny-clip"
    from safetensors.torch import load_file

    names = [name for name in load_file(trained) if name.startswith("text.")]
    assert {"text.projection.weight", "text.projection.bias", "text.vectors.liver_tumor"} <= set(names)
    assert not any("token_embedding" in name or "tokens" in name for name in names)


def test_training_moved_the_projection_and_left_clip_as_it_was(trained, clip):
    begun = new_clip_text(parse_clip(f"clip:{clip}"), refuse)
    learned = load_model(trained, device="cpu").text
    assert (learned.projection.weight - begun.projection.weight).abs().max() > 1e-4
    assert learned.about["sha256"] == load_clip(parse_clip(f"clip:{clip}"), refuse).sha256


def test_what_was_trained_needs_neither_clip_nor_its_package(trained, monkeypatch):
    monkeypatch.setattr(clip_text, "load_clip", refuse)
    text = load_model(trained, device="cpu").text
    assert text("liver tumor").shape == text("Hepatic  Lesion").shape == (4, 256)


def test_any_phrase_is_taken_where_clip_lies_beside_the_model(trained, clip, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(trained.read_bytes())
    write_clip(tmp_path / "tiny-clip")
    model = load_model(path, device="cpu")
    assert model.info.open_text and check_concept(" Dark  nodule ", model.info) == "dark nodule"
    with torch.no_grad():
        vector = load_clip(parse_clip(f"clip:{clip}"), refuse).encode("dark nodule")
        wanted = (model.text.projection.weight @ vector + model.text.projection.bias).reshape(4, 256)
        assert torch.allclose(model.text("dark nodule"), wanted, atol=1e-6)


def test_a_clip_that_is_not_here_is_reported_with_where_to_put_it(trained, monkeypatch, tmp_path):
    model = load_model(trained, device="cpu")
    with pytest.raises(ModelError, match="put 'tiny-clip' beside the model"):
        model.text("dark nodule")
    # the same words through another network would mean something else
    monkeypatch.setenv(clip_source.FOLDER_VARIABLE, str(write_clip(tmp_path / "other", seed=1)))
    with pytest.raises(ModelError, match="are not those of 'tiny-clip'"):
        model.text("dark nodule")


def test_the_console_program_searches_for_any_phrase(trained, cases, clip, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(clip_source.FOLDER_VARIABLE, str(clip))
    words = (cases / "p1_ct.nii.gz", "-o", tmp_path / "o.seg.nrrd", "--model", trained, "--text", "dark nodule")
    assert segment(*words, "--device", "cpu") == 0
    assert "searched for 'dark nodule'" in capsys.readouterr().out


def test_a_model_of_learned_tokens_still_refuses_other_phrases(lite_medsam):
    info = replace(lite_medsam.info, concepts=("liver tumor",))
    with pytest.raises(PromptError, match="does not know 'dark nodule'"):
        check_concept("dark nodule", info)


def test_nothing_is_downloaded_without_a_yes(monkeypatch, tmp_path):
    ensure_torchvision_imports()
    import open_clip

    monkeypatch.setattr(clip_source, "clip_folder", lambda: tmp_path / "clip")
    monkeypatch.setattr(open_clip, "download_pretrained", refuse)
    asked = []
    with pytest.raises(ModelError, match="was not downloaded"):
        load_clip(parse_clip("clip"), lambda question: asked.append(question) or False)
    assert len(asked) == 1 and "CLIP ViT-B-32:openai" in asked[0] and not (tmp_path / "clip").exists()


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch, cases, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    words = options(cases, tmp_path / "run", text=["liver tumor"], text_encoder="clip")
    assert main(["train", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "pip install open_clip_torch" in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [("clip:ViT-B-99", "no model 'ViT-B-99'"), ("clip:ViT-B-32:mars", "neither a file nor published weights")],
)
def test_unknown_clip_models_are_reported(text, reason):
    with pytest.raises(ModelError, match=reason):
        load_clip(parse_clip(text), refuse)


def test_damaged_clip_weights_are_reported(clip, tmp_path):
    folder = write_clip(tmp_path / "cut")
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_clip(parse_clip(f"clip:{folder}"), refuse)


def test_another_text_encoder_is_no_setting():
    with pytest.raises(InputError, match="not a text encoder"):
        TrainSettings(text_encoder="bert")


def test_adapters_carry_the_text_along(cases, clip, tmp_path):
    out = tmp_path / "run"
    more = {"epochs": 1, "steps": 1, "batch": 1, "train": "lora", "rank": 2}
    words = options(cases, out, text=["liver tumor"], text_encoder=f"clip:{clip}", **more)
    assert main(["train", *words, "--no-blend"]) == 0
    (path,) = out.glob("*.safetensors")
    assert load_model(path, device="cpu").text("liver tumor").shape == (4, 256)
    assert path.stat().st_size < 20e6
