"""Weight files as training scripts leave them: whatever stands around the weights, they are the same weights."""

import argparse
import collections
import datetime
import pathlib
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch
from random_weights import random_state

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.checkpoint import read_checkpoint
from SAMLiverTumorLib.models.state_dicts import network_state

# a weight and a counter of each part, by names that every Segment Anything network has
CORE = {
    "image_encoder.neck.0.weight": torch.arange(6.0).reshape(2, 3),
    "image_encoder.layers.0.bn.num_batches_tracked": torch.tensor(7),
    "prompt_encoder.no_mask_embed.weight": torch.arange(4.0) + 10,
    "mask_decoder.iou_token.weight": torch.arange(5.0) + 20,
}
OPTIMIZER = {"state": {0: {"step": torch.tensor(9.0), "exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 1e-4}]}


def behind(prefix, state=CORE):
    return {prefix + name: weight for name, weight in state.items()}


def within(part, shell):
    """A shell around one part, as `torch.compile(sam.image_encoder)` leaves it."""
    return {name.replace(f"{part}.", f"{part}.{shell}.", 1): weight for name, weight in CORE.items()}


def with_versions(state):
    ordered = collections.OrderedDict(state)
    ordered._metadata = {"": {"version": 1}}
    return ordered


def by_part():
    return {
        part: {name.removeprefix(f"{part}."): weight for name, weight in CORE.items() if name.startswith(part)}
        for part in ("image_encoder", "prompt_encoder", "mask_decoder")
    }


# Of these: MedSAM #122, #200, #224, #228, #272, micro-sam #1132; the others are more of the kind.
SAVED = {
    "plain": CORE,
    "plain beside an epoch and a name": {"epoch": 7, **CORE, "best_metric": 0.9, "name": "x", "none": None},
    "plain beside a counter that is a tensor": {**CORE, "epoch": torch.tensor(7), "best": torch.tensor([0.9])},
    "plain beside an optimizer": {**CORE, "optimizer": OPTIMIZER},
    "MedSAM": {"model": CORE, "optimizer": OPTIMIZER, "epoch": 7},
    "PyTorch's tutorial": {"model_state_dict": CORE, "optimizer_state_dict": OPTIMIZER, "epoch": 1, "loss": 0.1},
    "torch-em": {"model_state": behind("sam."), "epoch": 3, "best_metric": 0.9, "scheduler_state": {"last_epoch": 3}},
    "Lightning": {"state_dict": behind("model."), "global_step": 10, "hyper_parameters": {"lr": 1e-4}, "loops": {}},
    "Lightning with weights of the loss": {"state_dict": {**behind("model."), "loss.weight": torch.ones(2)}},
    "torch.compile": behind("_orig_mod."),
    "torch.compile of the encoder alone": within("image_encoder", "_orig_mod"),
    "data parallel": behind("module."),
    "data parallel of the decoder alone": {"model": within("mask_decoder", "module")},
    "data parallel of what was compiled": {"model": behind("module._orig_mod.")},
    "compiled data parallel": {"model": behind("_orig_mod.module.")},
    "data parallel twice": {"state_dict": behind("module.module.")},
    "fully sharded": behind("_fsdp_wrapped_module.", within("image_encoder", "_checkpoint_wrapped_module")),
    "a network and its equal average": {"net": CORE, "ema": {name: weight.clone() for name, weight in CORE.items()}},
    "one network under two names": {"net": CORE, "ema": CORE},
    "average of weights": {"n_averaged": torch.tensor(3), **behind("module.")},
    "wrapped three times": {"checkpoint": {"state": {"network": behind("module.net.sam_model.")}}, "time": 1.5},
    "in a list with the epoch": [3, CORE, OPTIMIZER],
    "in a tuple": ({"lr": 0.1}, behind("sam.")),
    "under a number": {0: {"model": CORE}},
    "part by part": by_part(),
    "part by part under a name": {"weights": by_part(), "epoch": 2},
    "encoder and decoder in places of their own": {
        "encoder": {name: weight for name, weight in CORE.items() if name.startswith("image")},
        "trained": {name: weight for name, weight in CORE.items() if not name.startswith("image")},
    },
    "beside a decoder of its own": {
        "model": CORE,
        "best_decoder": {"mask_decoder.iou_token.weight": torch.zeros(5)},
    },
    "optimizer by names": {"model": CORE, "optimizer": {name: {"exp_avg": w + 1} for name, w in CORE.items()}},
    "parameters": {name: torch.nn.Parameter(w) if w.is_floating_point() else w for name, w in CORE.items()},
    "ordered, with versions of modules": {"state_dict": with_versions(behind("module."))},
}


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", SAVED)
def test_the_weights_are_found_whatever_stands_around_them(kind, new_format, tmp_path):
    torch.save(SAVED[kind], tmp_path / "model.pth", _use_new_zipfile_serialization=new_format)
    state = read_checkpoint(tmp_path / "model.pth")
    assert list(state) == list(CORE)
    assert all(torch.equal(state[name], weight) and not state[name].requires_grad for name, weight in CORE.items())


@pytest.mark.parametrize("prefix", ["model.", "module.", "net.module.sam."])
def test_prefixes_are_taken_off_in_safetensors_too(prefix, tmp_path):
    safetensors.torch.save_file(behind(prefix), tmp_path / "model.safetensors")
    state = read_checkpoint(tmp_path / "model.safetensors")
    assert state.keys() == CORE.keys()
    assert all(torch.equal(state[name], weight) for name, weight in CORE.items())


PLAIN = {
    "options": argparse.Namespace(lr=1e-4, out=pathlib.PurePosixPath("work/run"), ratio=np.float32(0.5)),
    "simple options": types.SimpleNamespace(lr=1e-4),
    "a path": pathlib.Path("work/run"),
    "a path of another system": pathlib.PureWindowsPath("c:/work"),
    "a score of NumPy": np.float64(0.91),
    "a count of NumPy": np.int64(3),
    "a truth of NumPy": np.bool_(True),
    "an array": np.arange(5.0),
    "an array of texts": np.array(["a", "b"]),
    "a type of numbers": [np.float32, np.dtype("int16"), torch.float16],
    "losses": collections.defaultdict(list, {"dice": [0.4, 0.3], "box": []}),
    "the last losses": collections.deque([0.4, 0.3], maxlen=10),
    "when": [datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc), datetime.timedelta(hours=1)],
    "random numbers": [np.random.get_state(), np.random.default_rng(1), torch.get_rng_state()],  # noqa: NPY002 (saved)
    "sets": [{1, 2}, frozenset([3]), slice(1, 2), range(3), 1j, b"x", torch.Size([1])],
}


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", PLAIN)
def test_plain_values_beside_the_weights_do_not_matter(kind, new_format, tmp_path):
    content = {"model": CORE, "beside": PLAIN[kind]}
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=new_format)
    assert list(read_checkpoint(tmp_path / "model.pth")) == list(CORE)


@pytest.mark.parametrize("name", ["lightning_fabric.utilities.data.AttributeDict", "easydict.EasyDict"])
def test_options_of_packages_that_are_not_installed_do_not_matter(name, tmp_path, monkeypatch):
    module, _, kind = name.rpartition(".")
    options = type(kind, (dict,), {"__module__": module, "__qualname__": kind})
    for end in range(1, len(module.split(".")) + 1):
        monkeypatch.setitem(sys.modules, ".".join(module.split(".")[:end]), types.ModuleType("made"))
    setattr(sys.modules[module], kind, options)
    value = options(lr=1e-4, out=pathlib.PurePosixPath("run"))
    value.frozen = True
    torch.save({"state_dict": CORE, "hyper_parameters": value}, tmp_path / "model.ckpt")
    monkeypatch.undo()
    assert module not in sys.modules
    assert list(read_checkpoint(tmp_path / "model.ckpt")) == list(CORE)


class _Plain:
    """An object that is written under the name of a plain value, with what should be called when it is read."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_what_a_file_makes_of_a_plain_value_is_never_made(tmp_path):
    marker = tmp_path / "was-run"
    # options take no values without names: making them would fail
    torch.save({"model": CORE, "beside": _Plain(argparse.Namespace, 1, 2)}, tmp_path / "model.pth")
    assert list(read_checkpoint(tmp_path / "model.pth")) == list(CORE)
    torch.save({"model": CORE, "beside": [PLAIN["options"], _Plain(open, str(marker), "w")]}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"program objects \((io|_io|builtins)\.open\).*Nothing in it was run"):
        read_checkpoint(tmp_path / "model.pth")
    assert not marker.exists()


class Net(torch.nn.Module):
    """A network that is saved as a whole."""


def test_a_network_that_was_saved_whole_is_refused_with_its_class_and_the_way_out(tmp_path):
    torch.save(Net(), tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"program objects \(test_checkpoint_wrappers\.Net\).*model\.state_dict\(\)"):
        read_checkpoint(tmp_path / "model.pth")


def test_two_networks_with_different_weights_are_refused_with_both_places(tmp_path):
    other = {name: weight + 1 for name, weight in CORE.items()}
    torch.save({"net": behind("module."), "average": {"shadow": other}}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"2 networks with different weights, under 'net\.module', 'average\.shadow'"):
        read_checkpoint(tmp_path / "model.pth")
    many = {f"fold{n}": {name: weight + n for name, weight in CORE.items()} for n in range(9)}
    with pytest.raises(ModelError, match=r"9 networks .* 'fold0', 'fold1', 'fold2', 'fold3' and 5 more;"):
        network_state(many, "model.pth")


def test_weights_that_the_network_does_not_have_are_kept_to_be_refused():
    beside = {**CORE, "adapter.weight": torch.ones(3), "scale": torch.ones(2)}
    state = network_state({"model": behind("sam.", beside), "head": {"weight": torch.ones(3)}}, "model.pth")
    assert list(state) == [*CORE, "adapter.weight", "scale"]


def test_dictionaries_that_are_nested_deeply_or_hold_themselves_are_read():
    nested = CORE
    for _ in range(20_000):
        nested = {"model": nested}
    nested["self"] = nested
    assert list(network_state(nested, "model.pth")) == list(CORE)


def test_of_another_network_the_largest_dictionary_is_taken():
    weights = {"module.model.0.conv.weight": torch.ones(3), "module.model.1.bias": torch.ones(2)}
    state = network_state({"epoch": torch.tensor(1), "net": weights, "optimizer": OPTIMIZER}, "unet.pth")
    assert list(state) == ["model.0.conv.weight", "model.1.bias"]


@pytest.fixture(scope="module")
def tiny_state():
    return random_state("tiny_vit", input_size=256)


def _load(state, path):
    torch.save(state, path)
    return load_model(path, device="cpu")


def test_a_wrapped_file_is_the_same_model(tiny_state, tmp_path):
    model = _load({"model_state": behind("_orig_mod.sam.", tiny_state), "args": PLAIN["options"]}, tmp_path / "m.pt")
    assert model.info.architecture == "tiny_vit" and model.info.input_size == 256
    loaded = model.mask_decoder.state_dict()
    assert all(torch.equal(loaded[name], tiny_state[f"mask_decoder.{name}"]) for name in loaded)


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        (
            ("prompt_encoder", "mask_decoder"),
            "those of prompt encoder and mask decoder alone, without an image encoder",
        ),
        (("mask_decoder",), "those of mask decoder alone, without an image encoder"),
        (
            ("image_encoder",),
            r"'m\.pth' holds the weights of image encoder alone, without prompt encoder and mask deco",
        ),
        (("image_encoder", "mask_decoder"), "of image encoder and mask decoder alone, without prompt encoder;"),
    ],
)
def test_parts_of_a_network_are_refused_by_name(tiny_state, kept, text, tmp_path):
    state = {name: weight for name, weight in tiny_state.items() if name.startswith(kept)}
    with pytest.raises(ModelError, match=text + ".*state_dict of the whole network"):
        _load({"model": behind("module.", state)}, tmp_path / "m.pth")


def test_another_network_is_refused_with_how_its_names_begin(tmp_path):
    state = {
        f"{name}.weight": torch.ones(2) for name in ("vision_encoder.a", "vision_encoder.b", "shared", "x", "y", "z")
    }
    with pytest.raises(ModelError, match=r"names begin with vision_encoder, shared, x, y and 1 more\."):
        _load(state, tmp_path / "m.pth")
    state = {"image_encoder.trunk.a.weight": torch.ones(2), "image_encoder.neck.b": torch.ones(2), "x.y": torch.ones(2)}
    with pytest.raises(ModelError, match=r"begin with image_encoder\.trunk, image_encoder\.neck, x\."):
        _load(state, tmp_path / "m.pth")


def test_whole_numbers_where_weights_belong_are_refused_by_name(tiny_state, tmp_path):
    name = "mask_decoder.iou_token.weight"
    state = {**tiny_state, name: tiny_state[name].to(torch.int8)}
    with pytest.raises(ModelError, match=rf"1 in whole numbers \({name}\)"):
        _load(state, tmp_path / "m.pth")


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float64"])
def test_weights_of_any_precision_are_read_and_looked_through(kind, tmp_path):
    dtype = getattr(torch, kind)
    name = "mask_decoder.iou_token.weight"
    torch.save({**CORE, name: torch.tensor([0.5, 1.0]).to(dtype)}, tmp_path / "m.pth")
    assert read_checkpoint(tmp_path / "m.pth")[name].dtype is dtype
    torch.save({**CORE, name: torch.tensor([0.5, float("nan")]).to(dtype)}, tmp_path / "m.pth")
    with pytest.raises(ModelError, match="not finite"):
        read_checkpoint(tmp_path / "m.pth")
