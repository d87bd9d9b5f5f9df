"""Reading weight files: nothing in them is run, and what is wrong with them is said plainly."""

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.builders import build_networks
from SAMLiverTumorLib.models.checkpoint import detect_architecture, read_checkpoint, sha256_of
from SAMLiverTumorLib.models.registry import get_model

WEIGHTS = {"layer.weight": torch.arange(600.0).reshape(20, 30), "layer.steps": torch.tensor(7)}


class Malicious:
    """An object whose unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def _write_zip(content, path):
    torch.save(content, path)


def _write_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _write_pickle(content, path):
    path.write_bytes(pickle.dumps(content, 4))


def _assert_same(state, expected=WEIGHTS):
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize("write", [_write_zip, _write_legacy, _write_pickle])
def test_code_in_a_checkpoint_is_refused_and_never_run(write, tmp_path):
    marker, path = tmp_path / "was-run", tmp_path / "model.pth"
    write({**WEIGHTS, "extra": Malicious(marker)}, path)
    with pytest.raises(ModelError, match=r"'model.pth' was not opened: .*Nothing in it was run"):
        read_checkpoint(path)
    assert not marker.exists()
    # the trap is a true one: a reader that trusts the file falls into it
    if write is _write_pickle:
        pickle.loads(path.read_bytes())["extra"].close()
    else:
        torch.load(path, weights_only=False)["extra"].close()
    assert marker.exists()


def test_code_behind_the_name_of_a_safe_format_is_not_run_either(tmp_path):
    marker, path = tmp_path / "was-run", tmp_path / "model.safetensors"
    _write_zip({"extra": Malicious(marker)}, path)
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("write", [_write_zip, _write_legacy])
def test_checkpoints_of_both_generations_are_read(write, tmp_path):
    write(WEIGHTS, tmp_path / "model.pth")
    _assert_same(read_checkpoint(tmp_path / "model.pth"))


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file(WEIGHTS, tmp_path / "model.safetensors")
    state = read_checkpoint(tmp_path / "model.safetensors")
    _assert_same({name: state[name] for name in WEIGHTS})


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_what_training_puts_around_the_weights_is_taken_off(wrapper, tmp_path):
    parallel = {f"module.{name}": weight for name, weight in WEIGHTS.items()}
    _write_zip({wrapper: parallel, "optimizer": {"lr": 0.1, "state": {}}, "epoch": 3}, tmp_path / "model.pth")
    _assert_same(read_checkpoint(tmp_path / "model.pth"))


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_that_is_cut_short_is_reported_as_damaged(kind, kept, tmp_path):
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pth")
    if kind == "safetensors":
        safetensors.torch.save_file(WEIGHTS, path)
    else:
        (_write_zip if kind == "zip" else _write_legacy)(WEIGHTS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelError, match="damaged") as refused:
        read_checkpoint(path)
    assert "\n" not in str(refused.value)


def test_a_file_with_scrambled_bytes_gives_weights_or_a_plain_refusal(tmp_path):
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "model.pth"
    for write in (_write_zip, _write_legacy):
        write(WEIGHTS, path)
        whole = path.read_bytes()
        refused = 0
        for _ in range(150):
            scrambled = bytearray(whole)
            # the first bytes hold the pickle, where each one matters
            for position in torch.randint(900, (4,), generator=generator).tolist():
                scrambled[position] = int(torch.randint(256, (1,), generator=generator))
            path.write_bytes(scrambled)
            try:
                read_checkpoint(path)
            except ModelError:
                refused += 1
        assert refused > 50


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>", b"\x1f\x8b\x08\x00rest"])
def test_a_file_of_another_kind_is_reported_as_no_weight_file(content, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"not a weight file; give a PyTorch checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [[torch.zeros(3)], {}, {"a": 1}, {"model": {}}, {1: torch.zeros(3)}])
def test_a_checkpoint_without_weights_by_name_is_refused(content, tmp_path):
    _write_zip(content, tmp_path / "model.pth")
    with pytest.raises(ModelError, match="holds no weights by name"):
        read_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_numbers_are_refused_by_name(value, tmp_path):
    weights = {**WEIGHTS, "head.bias": torch.tensor([0.0, value])}
    _write_zip(weights, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"its weight head\.bias holds values that are not finite"):
        read_checkpoint(tmp_path / "model.pth")


def test_a_missing_file_or_a_folder_is_reported(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(ModelError, match="There is no weight file"):
            read_checkpoint(path)
    with pytest.raises(ModelError, match="cannot be read"):
        sha256_of(tmp_path / "none.pth")


def test_sha256_is_that_of_the_standard(tmp_path):
    # FIPS 180-2, appendix B.1
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("model_id", ["lite-medsam", "mobile-sam"])
def test_published_tiny_vits_are_told_apart_by_their_shapes(model_id, store):
    info = get_model(model_id)
    detected = detect_architecture(read_checkpoint(store.path(info)))
    assert detected == (info.architecture, info.input_size, info.normalization, info.resize, info.prompts)


@pytest.mark.parametrize("model_id", ["sam-vit-b", "sam-vit-l", "sam-vit-h"])
def test_vits_are_told_apart_by_their_shapes(model_id):
    info = get_model(model_id)
    detected = detect_architecture(build_networks(info.architecture, 1024).state_dict())
    assert detected == (info.architecture, 1024, "sam", "longest", frozenset({"points", "box", "mask"}))


def test_weights_of_a_vit_for_other_images_are_refused_with_its_size():
    state = build_networks("vit_b", 1024).state_dict()
    state["image_encoder.pos_embed"] = torch.zeros(1, 16, 16, 768)
    with pytest.raises(ModelError, match=r"width 768 and depth 12 for images of 256 x 256 pixels"):
        detect_architecture(state)


def test_weights_of_another_network_are_refused():
    with pytest.raises(ModelError, match="do not belong to a Segment Anything network"):
        detect_architecture(WEIGHTS)
