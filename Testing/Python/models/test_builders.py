"""From a weight file to networks: segment_anything's own builders and the published files are the measure."""

import hashlib
import subprocess
import sys
import textwrap

import pytest
import torch
from random_weights import random_checkpoint, random_state

from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.models import devices
from SAMLiverTumorLib.models.builders import build_networks, load_model
from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
from SAMLiverTumorLib.models.registry import get_model

VITS = {"sam-vit-b": "vit_b", "sam-vit-l": "vit_l", "sam-vit-h": "vit_h"}
NETWORKS = ("image_encoder", "prompt_encoder", "mask_decoder")


@pytest.fixture(scope="module")
def tiny_state():
    """LiteMedSAM's weights by name, random."""
    return random_state("tiny_vit", input_size=256)


@pytest.fixture
def weight_file(tmp_path):
    """A path for a big file; pytest would keep it beyond the run."""
    path = tmp_path / "mine.pth"
    yield path
    path.unlink()


@pytest.fixture
def write(weight_file):
    def write(state):
        torch.save(state, weight_file)
        return weight_file

    return write


def _weights(model):
    return {f"{network}.{name}": w for network in NETWORKS for name, w in getattr(model, network).state_dict().items()}


@pytest.mark.parametrize("model_id", ["lite-medsam", "mobile-sam"])
def test_a_loaded_model_has_the_weights_of_its_file_ready_to_run(model_id, store, request):
    model = request.getfixturevalue(model_id.replace("-", "_"))
    published = torch.load(store.path(model.info), weights_only=True)
    loaded = _weights(model)
    assert set(loaded) == set(published)
    assert all(torch.equal(loaded[name], published[name]) for name in published)
    assert model.info == get_model(model_id) and model.sha256 == model.info.sha256
    assert model.device == torch.device("cpu")
    for network in NETWORKS:
        module = getattr(model, network)
        assert not any(part.training for part in module.modules())
        assert not any(weight.requires_grad for weight in module.parameters())
        assert {tensor.device.type for tensor in (*module.parameters(), *module.buffers())} == {"cpu"}


def test_a_users_copy_of_a_published_file_is_known_by_its_hash(store, weight_file):
    weight_file.write_bytes(store.path(get_model("lite-medsam")).read_bytes())
    assert load_model(weight_file, device="cpu").info == get_model("lite-medsam")


def test_a_users_own_file_gets_an_info_from_its_shapes(tiny_state, write):
    path = write({"model": tiny_state, "epoch": 2})
    model = load_model(path, device="cpu")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.sha256 == model.info.sha256 == digest
    assert (model.info.id, model.info.file_name) == ("file:mine.pth", "mine.pth")
    assert (model.info.architecture, model.info.input_size, model.info.prompts) == ("tiny_vit", 256, {"box"})
    assert (model.info.size, model.info.sources) == (path.stat().st_size, ())


def test_missing_unknown_and_misshapen_weights_are_named(tiny_state, write):
    state = dict(tiny_state)
    del state["mask_decoder.iou_token.weight"]
    state["adapter.weight"] = torch.zeros(3)
    state["image_encoder.neck.0.weight"] = torch.zeros(256, 64, 1, 1)
    with pytest.raises(ModelError) as refused:
        load_model(write(state), device="cpu")
    text = str(refused.value)
    assert "1 missing (mask_decoder.iou_token.weight)" in text
    assert "1 unknown (adapter.weight)" in text
    assert "image_encoder.neck.0.weight (256, 64, 1, 1) instead of (256, 320, 1, 1)" in text


def test_weights_of_another_model_than_said_are_refused(tiny_state, write):
    with pytest.raises(ModelError, match=r"not those of MobileSAM .*4 missing \(image_encoder\.norm_head\.weight"):
        load_model(write(tiny_state), get_model("mobile-sam"), device="cpu")


def test_normalization_constants_in_a_file_do_not_matter(tiny_state, write):
    load_model(
        write({**tiny_state, "pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}), device="cpu"
    )


def test_half_precision_weights_run_in_single_precision(tiny_state, write):
    halved = {name: w.half() if w.is_floating_point() else w for name, w in tiny_state.items()}
    model = load_model(write(halved), device="cpu")
    assert {w.dtype for w in _weights(model).values()} == {torch.float32, torch.int64}
    name = "image_encoder.neck.0.weight"
    assert torch.equal(_weights(model)[name], halved[name].float())


@pytest.mark.parametrize("model_id", VITS)
def test_a_vit_is_built_as_segment_anything_builds_it(model_id):
    ensure_torchvision_imports()
    import segment_anything

    ours = build_networks(VITS[model_id], 1024)
    with torch.device("meta"):
        theirs = segment_anything.sam_model_registry[VITS[model_id]]()
    for network in NETWORKS:
        assert repr(ours[network]) == repr(getattr(theirs, network))
    shapes = {name: w.shape for name, w in ours.state_dict().items()}
    assert shapes == {name: w.shape for name, w in theirs.state_dict().items()}
    blocks = zip(ours["image_encoder"].blocks, theirs.image_encoder.blocks, strict=True)
    assert all((a.window_size, a.attn.num_heads) == (b.window_size, b.attn.num_heads) for a, b in blocks)
    assert all(block.attn.use_rel_pos for block in ours["image_encoder"].blocks)
    # the published file: 4 bytes for each number, and under 0.1 % for their names
    stored = 4 * sum(w.numel() for w in ours.state_dict().values())
    assert 0 < get_model(model_id).size - stored < 0.001 * stored


def test_a_vit_b_file_of_full_size_loads_and_is_taken_for_sam(weight_file):
    path = random_checkpoint("vit_b", weight_file, seed=3)
    model = load_model(path, device="cpu")
    assert (model.info.architecture, model.info.normalization, model.info.resize) == ("vit_b", "sam", "longest")
    expected = torch.load(path, weights_only=True)
    loaded = _weights(model)
    assert set(loaded) == set(expected)
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    # one block within windows, one over the whole image, and the neck, as the encoder chains them
    encoder = model.image_encoder
    encoder.blocks = encoder.blocks[1:3]
    with torch.inference_mode():
        embedding = encoder(torch.rand(1, 3, 1024, 1024))
    assert embedding.shape == (1, 256, 64, 64) and embedding.isfinite().all() and embedding.std() > 0.1


@pytest.mark.parametrize(("architecture", "size"), [("vit_b", 256), ("tiny_vit", 512), ("resnet", 1024)])
def test_networks_that_do_not_exist_are_not_built(architecture, size):
    with pytest.raises(ValueError, match=f"no {architecture} for images of {size} x {size}"):
        build_networks(architecture, size)


def test_auto_takes_cuda_else_mps_that_computes_right_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # without such a machine, what pretends to be there cannot answer
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    devices._mps_agrees.cache_clear()
    assert resolve_device("auto") == torch.device("cpu")
    devices._mps_agrees.cache_clear()
    monkeypatch.setattr(devices, "_mps_agrees", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    assert resolve_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="the last one here is cuda:1"):
        resolve_device("cuda:2")


def test_devices_that_are_not_there_are_refused_with_what_to_give(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(InputError, match="give auto or cpu"):
            resolve_device(name)
    for name in ("", "gpu", "cuda:x", "cpu:1", "CUDA"):
        with pytest.raises(InputError, match="is not a device; give auto, cpu"):
            load_model(tmp_path / "none.pth", device=name)


def _python(code, *folders):
    """Run code in a fresh interpreter and return what it prints."""
    program = f"import sys; sys.path[:0] = {[str(f) for f in folders]!r}\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("attempt_before", [False, True])
def test_segment_anything_imports_whatever_the_state_of_torchvision(attempt_before, root):
    # also after another extension has tried, and perhaps failed, to import torchvision
    attempt = "try: import torchvision\nexcept RuntimeError: pass\n" if attempt_before else ""
    code = """
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
ensure_torchvision_imports()
ensure_torchvision_imports()
import segment_anything, torch
print(hasattr(torch.ops.torchvision, "nms"), segment_anything.SamPredictor.__name__)
"""
    assert _python(attempt + code, root) == ["True", "SamPredictor"]


FAKE = {
    "__init__.py": "from . import extension\nfrom . import _meta_registrations\n",
    "_meta_registrations.py": """
        import torch
        if not hasattr(torch.ops.torchvision, "nms"):
            raise RuntimeError("operator torchvision::nms does not exist")
        """,
    "extension.py": """
        import torch
        def _has_ops():
            return {loads}
        # a compiled library is loaded once, and ends the process where its operators exist already
        if {loads} and not hasattr(torch, "fake_library"):
            torch.fake_library = torch.library.Library("torchvision", "DEF")
            torch.fake_library.define("nms(Tensor compiled) -> Tensor")
        """,
}


@pytest.mark.parametrize("loads", [True, False])
def test_operators_are_declared_only_where_the_compiled_library_does_not_load(loads, root, tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    for name, text in FAKE.items():
        (package / name).write_text(textwrap.dedent(text.replace("{loads}", str(loads))))
    code = """
    from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
    ensure_torchvision_imports()
    import torch, torchvision
    print(torchvision.__file__)
    print(torch.ops.torchvision.nms.default._schema.arguments[0].name, hasattr(torch.ops.torchvision, "qnms"))
    """
    expected = ["compiled", "False"] if loads else ["dets", "True"]
    assert _python(code, root, tmp_path) == [str(package / "__init__.py"), *expected]


def test_a_torchvision_that_is_imported_already_is_left_alone(root):
    code = """
    import sys, types
    torchvision = sys.modules["torchvision"] = types.ModuleType("torchvision")
    from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
    ensure_torchvision_imports()
    print(sys.modules["torchvision"] is torchvision, "torch" in sys.modules)
    """
    assert _python(code, root) == ["True", "False"]
