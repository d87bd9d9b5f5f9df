"""An encoder cut in two: what is kept of its frozen part, and what its last stage makes of that."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from training_case import disc, slice_image

from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.networks.encoder_split import before_last, from_last, last_parts
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel, TrainingExample
from SAMLiverTumorLib.training.runs import base_model as base
from SAMLiverTumorLib.training.runs.base_model import sample_store


@pytest.fixture
def lite(store):
    info = get_model("lite-medsam")
    return load_model(store.path(info), info, "cpu")


@pytest.fixture(scope="module")
def vit():
    """segment_anything's ViT, but small, with its own random weights."""
    ensure_torchvision_imports()
    from segment_anything.modeling import ImageEncoderViT

    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=64,
        embed_dim=24,
        depth=4,
        num_heads=2,
        out_chans=8,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=2,
        global_attn_indexes=(1, 3),
    )
    nn.init.normal_(encoder.pos_embed)
    return encoder.eval()


def test_both_parts_of_a_vit_are_the_whole(vit):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        kept = before_last(vit, images)
        assert kept.shape == (2, 4, 4, 24)
        assert torch.equal(from_last(vit, kept), vit(images))


def test_gradients_reach_the_last_parts_of_a_vit_and_nothing_before(vit):
    from_last(vit, torch.rand(1, 4, 4, 24)).square().sum().backward()
    learned = {id(weight) for part in last_parts(vit) for weight in part.parameters()}
    got = {id(weight) for weight in vit.parameters() if weight.grad is not None}
    vit.zero_grad()
    assert got == learned


def test_the_last_stage_makes_the_embedding_of_what_is_kept_on_the_disk(lite, tmp_path):
    shown = slice_image(disc(40, 50, 12, edge=128).astype(np.uint8))
    whole = sample_store(tmp_path, lite).add(shown).embedding()
    store = sample_store(tmp_path, lite, "last")
    kept = store.add(shown)
    assert kept.embedding().shape == (1, 320, 64, 64) and store.encoded == 1
    trainable = TrainableModel(lite, [], "last")
    with torch.no_grad():
        features = trainable.features(kept).numpy()
    # both were rounded to 16 bits on the way, at different places
    assert np.abs(features - whole).max() <= 0.01 * np.abs(whole).max()
    assert np.linalg.norm(features - whole) <= 1e-3 * np.linalg.norm(whole)


def test_no_step_asks_the_frozen_part_again(lite, tmp_path, monkeypatch):
    kept = sample_store(tmp_path, lite, "last").add(slice_image(disc(40, 50, 12, edge=128).astype(np.uint8)))
    monkeypatch.setattr(lite.image_encoder, "trunk", lambda images: pytest.fail("encoded again"))
    trainable = TrainableModel(lite, [], "last")
    trainable([TrainingExample(kept, "box", "", 1, (0,))]).backward()
    moved = {name for name, weight in trainable.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert any(name.startswith("image_encoder.layers.3.blocks.0.attn") for name in moved)
    assert any(name.startswith("image_encoder.neck.") for name in moved)


def test_where_all_of_the_encoder_learns_nothing_is_encoded(lite, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "network_input", lambda *_: pytest.fail("encoded"))
    kept = sample_store(tmp_path, lite, "lora").add(slice_image(disc(40, 50, 12, edge=128).astype(np.uint8)))
    assert not kept.embedding_path.exists() and kept.content_path.exists()
