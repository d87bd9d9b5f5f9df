"""Text prompts: the tokens of a concept take the place of those of clicks and boxes, and search a whole volume."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_case import files, read_in_slicer, read_segment, refused, run, write_volume

from SAMLiverTumorLib.errors import InputError, ModelError, PromptError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.text_search import as_organ, find, text_model
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.networks.text_tokens import TOKENS, TextTokens, split_text
from SAMLiverTumorLib.models.weights import describe, read_about, save_weights
from SAMLiverTumorLib.mrml.segments.segments import provenance
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.volume import Volume

# In pixels of the phantom's axial slice image, around its lesion of 14 mm radius at (34, 44).
BOX = (22.5, 32.5, 45.5, 55.5)


@pytest.fixture(scope="module")
def box_tokens(lite_medsam):
    """The decoder's tokens for the box around the lesion: text with these tokens has to give the same mask."""
    corners = (torch.tensor([BOX]) + 0.5) * (256 / 96) - 0.5
    with torch.inference_mode(False), torch.no_grad():
        sparse, _ = lite_medsam.prompt_encoder(points=None, boxes=corners, masks=None)
    return sparse[0].clone()


@pytest.fixture(scope="module")
def text_weights(lite_medsam, box_tokens, tmp_path_factory):
    """LiteMedSAM for which "liver tumor" means the box around the phantom's lesion."""
    path = tmp_path_factory.mktemp("weights") / "text.safetensors"
    parts = {
        "image_encoder": lite_medsam.image_encoder,
        "prompt_encoder": lite_medsam.prompt_encoder,
        "mask_decoder": lite_medsam.mask_decoder,
        "text": TextTokens({"liver tumor": box_tokens}),
    }
    weights = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    info = replace(lite_medsam.info, prompts=frozenset({"points", "box", "mask", "text"}), concepts=("liver tumor",))
    save_weights(path, weights, describe(info))
    return path


@pytest.fixture
def pool():
    return PredictorPool(lambda question: True, device="cpu", disk=None)


def test_a_weight_file_lists_its_concepts(text_weights):
    model = load_model(text_weights, device="cpu")
    assert model.info.prompts == {"points", "box", "mask", "text"}
    assert model.info.concepts == model.text.concepts == ("liver tumor",)
    assert (model.info.input_size, model.info.default_window) == (256, "wide")
    assert read_about(text_weights)["architecture"] == "tiny_vit"


def test_text_gives_the_mask_of_its_tokens(phantom, text_weights):
    predictor = Predictor(load_model(text_weights, device="cpu"))
    plane = slice_plane(phantom, "axial", 10)
    embedding = predictor.embed(plane_to_rgb(phantom, plane, PRESETS["wide"]), plane.spacing[1::-1])
    by_box = predictor.predict(embedding, PlanePrompts(box=BOX))
    by_text = predictor.predict_text(embedding, "  Liver  TUMOR ")
    assert by_box.mask.sum() > 200
    assert np.array_equal(by_text.mask, by_box.mask)
    # the box's own tokens come from another matrix product: rounding of the last bits
    assert np.allclose(by_text.logits, by_box.logits, atol=1e-3)


def test_models_without_text_and_unknown_concepts_get_different_errors(phantom, lite_medsam, text_weights):
    plane = slice_plane(phantom, "axial", 10)
    rgb = plane_to_rgb(phantom, plane, PRESETS["wide"])
    without, having = Predictor(lite_medsam), Predictor(load_model(text_weights, device="cpu"))
    with pytest.raises(PromptError, match="knows no text"):
        without.predict_text(without.embed(rgb, plane.spacing[1::-1]), "liver tumor")
    with pytest.raises(PromptError, match="does not know 'spleen'; text can name 'liver tumor'"):
        having.predict_text(having.embed(rgb, plane.spacing[1::-1]), "spleen")


def test_a_volume_is_searched_within_the_liver_only(phantom, text_weights, pool):
    liver = np.zeros(phantom.array.shape, bool)
    liver[8:12] = True
    liver[9] = False
    steps = []
    found = find(phantom, pool, "liver tumor", str(text_weights), liver=liver, progress=lambda *at: steps.append(at))
    marked = found.mask.full()
    assert [k for k in range(20) if marked[k].any()] == [8, 10, 11]
    assert found.slices == 3
    assert steps[-1] == (3, 3)
    whole = find(phantom, pool, "liver tumor", str(text_weights))
    assert whole.slices == 20
    assert np.array_equal(whole.mask.full() & liver, marked)
    assert found.provenance["prompts"] == {"text": "liver tumor"}
    assert found.provenance["models"][0]["sha256"] == load_model(text_weights, device="cpu").sha256


def test_small_lesions_are_left_out_and_the_others_counted(phantom, text_weights, pool):
    # two slices alone, far from each other: on each some 270 pixels of 9 mm3, 2.4 ml
    liver = np.zeros(phantom.array.shape, bool)
    liver[[6, 14]] = True
    found = find(phantom, pool, "liver tumor", str(text_weights), liver=liver)
    areas = [np.count_nonzero(found.mask.full()[k]) for k in (6, 14)]
    assert found.lesions == 2
    assert min(areas) > 0
    between = (min(areas) + max(areas)) / 2 * 0.009
    if areas[0] != areas[1]:
        assert find(phantom, pool, "liver tumor", str(text_weights), liver=liver, smallest_ml=between).lesions == 1
    assert find(phantom, pool, "liver tumor", str(text_weights), liver=liver, smallest_ml=99.0).mask.count == 0


def test_cancelling_keeps_what_was_found(phantom, text_weights, pool):
    steps = []
    liver = np.zeros(phantom.array.shape, bool)
    liver[8:14] = True
    found = find(
        phantom,
        pool,
        "liver tumor",
        str(text_weights),
        liver=liver,
        progress=lambda *at: steps.append(at),
        cancel=lambda: len(steps) >= 3,
    )
    assert found.cancelled
    assert found.slices == 3
    assert [k for k in range(20) if found.mask.full()[k].any()] == [8, 9, 10]


def test_a_liver_on_other_voxels_or_an_empty_one_is_refused(phantom, text_weights, pool):
    for liver in (np.zeros(phantom.array.shape, bool), np.ones((2, 2, 2), bool)):
        with pytest.raises(InputError, match="liver"):
            find(phantom, pool, "liver tumor", str(text_weights), liver=liver)


def test_the_program_searches_by_text(phantom, text_weights, tmp_path, capsys):
    ct, out = write_volume(tmp_path / "ct.nrrd", phantom), tmp_path / "out.seg.nrrd"
    liver = np.zeros(phantom.array.shape, np.uint8)
    liver[9:12] = 1
    write_volume(tmp_path / "liver.nrrd", Volume(liver, phantom.ijk_to_ras))
    text = ("--text", "liver tumor", "--model", text_weights)
    assert run(ct, "-o", out, *text, "--liver", tmp_path / "liver.nrrd", "--json", tmp_path / "report.json") == 0
    mask, _ = read_segment(out)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["voxels"] == mask.sum() > 500
    assert (report["mode"], report["slices"], report["lesions"]) == ("text", 3, 1)
    node = read_in_slicer(out)
    assert provenance(node, node.GetSegmentation().GetNthSegmentID(0))[-1]["prompts"] == {"text": "liver tumor"}
    assert "3 slices were searched" in capsys.readouterr().out
    for other in (("--point=1,2,3",), ("--mode", "volume"), ("--plane", "coronal")):
        assert "--text searches" in refused(capsys, ct, "-o", tmp_path / "other.seg.nrrd", *text, *other)
    assert files(tmp_path) == ["ct.nrrd", "liver.nrrd", "out.seg.nrrd", "report.json"]


def test_tokens_are_the_same_each_time_and_kept_apart_from_the_network(lite_medsam):
    first, again = TextTokens({}), TextTokens({})
    for tokens in (first, again):
        tokens.add(["liver tumor", "liver"])
    assert torch.equal(first("liver"), again("liver"))
    assert first("liver").shape == (TOKENS, 256)
    assert not torch.equal(first("liver"), first("liver tumor"))
    before = first("liver").clone()
    first.add(["liver", "vessel"])
    assert torch.equal(first("liver"), before)
    state = {f"text.{name}": value for name, value in first.state_dict().items()} | {"mask_decoder.x": torch.ones(1)}
    network, tokens = split_text(state)
    assert set(network) == {"mask_decoder.x"}
    assert set(tokens) == {"liver tumor", "liver", "vessel"}
    assert torch.equal(tokens["liver tumor"], first("liver tumor"))


def test_weight_files_are_described_in_their_header_and_damage_is_reported(tmp_path, lite_medsam):
    path = tmp_path / "weights.safetensors"
    save_weights(path, {"a": torch.tensor([1.0, 2.5])}, {"title": "mine"}, half=True)
    assert read_about(path) == {"title": "mine"}
    from safetensors.torch import load_file

    assert load_file(str(path))["a"].dtype == torch.float16
    with pytest.raises(ModelError, match="damaged header"):
        load_model_with_header(tmp_path, lite_medsam, {"title": "lacks the rest"})
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ModelError, match="damaged or incomplete"):
        read_about(path)


def load_model_with_header(folder, model, about):
    parts = {name: getattr(model, name) for name in ("image_encoder", "prompt_encoder", "mask_decoder")}
    weights = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    save_weights(folder / "whole.safetensors", weights, about)
    return load_model(folder / "whole.safetensors", device="cpu")


def test_auto_takes_the_bundled_model_for_text():
    assert text_model("auto") == "liver-tumor"
    assert text_model("some.safetensors") == "some.safetensors"


def test_an_organ_is_one_piece_without_holes(phantom):
    array = np.zeros(phantom.array.shape, bool)
    array[2:7, 10:30, 10:30] = True
    array[4, 15:20, 15:20] = False  # a cyst left out on one slice
    array[:, 2:4, 2:4] = True  # what the text marked in the spleen
    organ = as_organ(Mask.from_array(array, phantom), phantom).full()
    expected = np.zeros_like(array)
    expected[2:7, 10:30, 10:30] = True
    np.testing.assert_array_equal(organ, expected)
    assert not as_organ(Mask.from_array(np.zeros((1, 1, 1), bool), phantom), phantom).count
