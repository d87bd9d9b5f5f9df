"""Low-rank adapters: they change nothing at first, merging adds their product, and small files find their base."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.builders import build_networks, load_model
from SAMLiverTumorLib.models.lora import LowRank, add_lora, merged, with_base
from SAMLiverTumorLib.models.networks.tiny_vit import TinyViT
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.models.weights import describe, save_weights
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel
from SAMLiverTumorLib.training.runs.base_model import encoder_hash
from SAMLiverTumorLib.training.runs.weight_file import file_content, mixture

# TinyViT's third stage alone has six of its ten attentions; four stages, the first without any
TINY_LAYERS = 2 * (2 + 6 + 2)


def small_vit():
    """segment_anything's own image encoder, two blocks, with random weights; images (1, 3, 64, 64)."""
    ensure_torchvision_imports()
    from segment_anything.modeling import ImageEncoderViT

    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=64,
        embed_dim=32,
        depth=2,
        num_heads=4,
        out_chans=16,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=2,
        global_attn_indexes=(1,),
    )
    return encoder.eval()


def adapters(encoder):
    """A and B of every adapter, by name within the encoder."""
    return {name: weight for name, weight in encoder.named_parameters() if name.endswith(("lora_a", "lora_b"))}


def learn_something(encoder, seed=1):
    """Adapters as after a training run: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if name.endswith("lora_b"):
                weight.normal_(0, 0.05, generator=generator)


@pytest.fixture
def lite(store):
    """A LiteMedSAM for one test, which may change it."""
    return load_model(store.path(get_model("lite-medsam")), get_model("lite-medsam"), "cpu")


@pytest.fixture(scope="module")
def images():
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))


def test_an_adapter_adds_the_product_of_its_matrices():
    layer = LowRank(nn.Linear(2, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))
    with torch.no_grad():
        layer.base.weight.copy_(torch.eye(2))
        layer.base.bias.copy_(torch.tensor([10.0, 20.0]))
    # A x = 1 * 5 + 2 * 6 = 17; W x + b = (15, 26); B A x = (51, 68)
    assert torch.equal(layer(torch.tensor([5.0, 6.0])), torch.tensor([66.0, 94.0]))


def test_new_adapters_leave_segment_anythings_vit_unchanged_and_learn_alone():
    encoder = small_vit()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = encoder(image)
    add_lora(encoder, 4)
    assert torch.equal(encoder(image), before)
    encoder(image).square().sum().backward()
    learning = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert learning == {
        f"blocks.{block}.attn.{layer}.lora_{half}" for block in (0, 1) for layer in ("qkv", "proj") for half in "ab"
    }
    moved = {name for name, weight in encoder.named_parameters() if weight.grad is not None and weight.grad.any()}
    # A gets no gradient while B is zero
    assert moved == {name for name in learning if name.endswith("lora_b")}


def test_a_merged_vit_has_plain_layers_and_gives_the_same():
    encoder = small_vit()
    names = set(encoder.state_dict())
    add_lora(encoder, 4)
    learn_something(encoder)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        adapted = encoder(image)
        assert merged(encoder) is encoder
        assert (encoder(image) - adapted).abs().max() <= 1e-5
    assert set(encoder.state_dict()) == names
    assert not any(isinstance(part, LowRank) for part in encoder.modules())


def test_tiny_vit_with_adapters_gives_the_same_in_bands_with_gradients_and_merged(lite, images):
    encoder = lite.image_encoder
    with torch.inference_mode():
        plain = encoder(images)
    add_lora(encoder, 8)
    assert len(adapters(encoder)) == 2 * TINY_LAYERS
    with torch.inference_mode():
        assert (encoder(images) - plain).abs().max() <= 1e-5
    learn_something(encoder)
    with torch.inference_mode():
        in_bands = encoder(images)
    with_gradients = encoder(images)
    assert with_gradients.requires_grad
    assert (in_bands - plain).abs().max() > 0.01
    assert (with_gradients.detach() - in_bands).abs().max() <= 1e-4
    with torch.inference_mode():
        assert (merged(encoder)(images) - in_bands).abs().max() <= 1e-4


def test_adapters_work_under_autocast():
    encoder = small_vit()
    add_lora(encoder, 4)
    learn_something(encoder)
    image = torch.rand(1, 3, 64, 64)
    exact = encoder(image)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(image)
    assert (rough.float() - exact).abs().max() < 0.1
    rough.float().square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in encoder.parameters() if weight.requires_grad)


def test_a_second_set_of_adapters_is_refused():
    encoder = small_vit()
    add_lora(encoder, 4)
    with pytest.raises(ValueError, match="adapters already"):
        add_lora(encoder, 4)


def test_the_same_seed_gives_the_same_adapters():
    first, second, other = small_vit(), small_vit(), small_vit()
    add_lora(first, 4, seed=3)
    add_lora(second, 4, seed=3)
    add_lora(other, 4, seed=4)
    name = "blocks.0.attn.qkv.lora_a"
    assert torch.equal(first.state_dict()[name], second.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


def test_half_a_mixture_has_half_of_the_product():
    down, fresh = torch.tensor([[1.0, 2.0]]), torch.tensor([[7.0, 7.0]])
    up = torch.tensor([[4.0], [6.0]])
    old = {"q.lora_a": fresh, "q.lora_b": torch.zeros(2, 1), "w": torch.tensor([0.0])}
    mixed = mixture(old, {"q.lora_a": down, "q.lora_b": up, "w": torch.tensor([8.0])}, 0.5)
    assert torch.equal(mixed["q.lora_b"] @ mixed["q.lora_a"], torch.tensor([[2.0, 4.0], [3.0, 6.0]]))
    assert mixed["w"] == 4.0


class TestFile:
    """The weight file of a training run with adapters."""

    @pytest.fixture
    def trained(self, lite):
        """(model, trainable) after simulated training."""
        trainable = TrainableModel(lite, ["liver tumor"], "lora", rank=8)
        learn_something(lite.image_encoder)
        with torch.no_grad():
            lite.mask_decoder.iou_token.weight += 0.1
        return lite, trainable

    @pytest.fixture
    def written(self, trained, tmp_path):
        model, trainable = trained
        weights, about = file_content(model, trainable, 8)
        path = tmp_path / "small.safetensors"
        save_weights(path, weights, {**describe(model.info), **about})
        return path

    def test_it_is_small_and_opens_as_a_plain_network_that_gives_the_same(self, trained, written, images, store):
        model, trainable = trained
        assert written.stat().st_size < 0.5 * store.path(model.info).stat().st_size
        opened = load_model(written, device="cpu")
        assert opened.sha256 != model.sha256 and opened.info.sha256 == opened.sha256
        assert not any(isinstance(part, LowRank) for part in opened.image_encoder.modules())
        assert not any(weight.requires_grad for weight in opened.image_encoder.parameters())
        assert torch.equal(opened.mask_decoder.iou_token.weight, model.mask_decoder.iou_token.weight)
        assert torch.equal(opened.text("liver tumor"), trainable.text("liver tumor"))
        with torch.inference_mode():
            difference = opened.image_encoder(images) - model.image_encoder(images)
        assert difference.abs().max() <= 1e-5

    def test_its_encoder_has_a_name_of_its_own_for_embeddings(self, written, store):
        base = load_model(store.path(get_model("lite-medsam")), get_model("lite-medsam"), "cpu")
        opened = load_model(written, device="cpu")
        assert encoder_hash(opened) != encoder_hash(base)
        assert encoder_hash(opened) == encoder_hash(load_model(written, device="cpu"))

    def test_without_its_base_it_says_which_to_fetch(self, written, tmp_path, monkeypatch):
        monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(tmp_path / "empty"))
        with pytest.raises(ModelError, match=r"small\.safetensors.*sam-liver-tumor models fetch lite-medsam"):
            load_model(written, device="cpu")

    @pytest.mark.parametrize(
        ("adapter", "message"),
        [
            ({"base": "lite-medsam", "base_sha256": "0" * 64}, "other weights of LiteMedSAM"),
            ({"base": "nobody", "base_sha256": "0" * 64}, "'nobody', which this version does not know"),
            ({"base": "lite-medsam"}, "damaged header"),
            ("lite-medsam", "damaged header"),
        ],
    )
    def test_another_base_is_refused(self, adapter, message):
        with pytest.raises(ModelError, match=message):
            with_base({}, adapter, "small.safetensors")

    def test_a_half_adapter_is_refused(self, trained, store, tmp_path):
        model, trainable = trained
        weights, about = file_content(model, trainable, 8)
        del weights["image_encoder.layers.1.blocks.0.attn.qkv.lora_b"]
        path = tmp_path / "small.safetensors"
        save_weights(path, weights, {**describe(model.info), **about})
        with pytest.raises(ModelError, match=r"layers\.1\.blocks\.0\.attn\.qkv.*does not fit"):
            load_model(path, device="cpu")

    def test_on_a_users_own_model_everything_is_written_merged(self, store, tmp_path, images):
        own = tmp_path / "mine.safetensors"
        info = get_model("lite-medsam")
        save_weights(own, torch.load(store.path(info), weights_only=True), describe(info))
        model = load_model(own, device="cpu")
        trainable = TrainableModel(model, ["liver tumor"], "lora", rank=2)
        learn_something(model.image_encoder)
        with torch.inference_mode():
            adapted = model.image_encoder(images)
        weights, about = file_content(model, trainable, 2)
        assert about == {}
        path = tmp_path / "new.safetensors"
        save_weights(path, weights, describe(model.info))
        with torch.inference_mode():
            assert (load_model(path, device="cpu").image_encoder(images) - adapted).abs().max() <= 1e-4


def test_every_vit_of_the_registry_has_adapters_in_each_block():
    encoder = build_networks("vit_b", 1024)["image_encoder"]
    with torch.device("meta"):
        add_lora(encoder, 4)
    assert len(adapters(encoder)) == 12 * 2 * 2
    assert np.prod(adapters(encoder)["blocks.0.attn.qkv.lora_b"].shape) == 3 * 768 * 4


def test_tiny_vit_on_the_meta_device_is_adapted_there():
    with torch.device("meta"):
        encoder = TinyViT("mobile-sam")
    add_lora(encoder, 4)
    assert all(weight.is_meta for weight in adapters(encoder).values())
