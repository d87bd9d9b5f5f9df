"""The training loop: resuming exactly, stopping early, a loss that is NaN, running out of memory."""

import dataclasses

import numpy as np
import pytest
import torch
from loop_case import SETTINGS, Reports, Toy
from training_case import disc, sample

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.training.optimization import loop
from SAMLiverTumorLib.training.optimization.checkpoint_state import TrainingState, load_state
from SAMLiverTumorLib.training.optimization.loop import Diverged, score_of, train
from SAMLiverTumorLib.training.optimization.schedule import Schedule
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel, TrainingExample
from SAMLiverTumorLib.training.optimization.validation import validate
from SAMLiverTumorLib.training.settings import CONCEPTS


@pytest.fixture
def samples(tmp_path, request):
    """Four samples of two patients, with embeddings of noise and a lesion each; with "last", the last stage's input."""
    lesions = disc(250, 260, 60).astype(np.uint8)
    folder = tmp_path / "samples"
    folder.mkdir()
    part = getattr(request.node, "callspec", None) and request.node.callspec.params.get("part")
    channels = 320 if part == "last" else 256
    return [sample(folder, lesions, f"p{n % 2}", f"p{n % 2} slice {n}", seed=n, channels=channels) for n in range(4)]


@pytest.fixture
def scores(monkeypatch):
    """Scores of the coming epochs; when there are no more, the last again."""
    coming = [0.5]

    def scripted(*_, **__):
        return {"box": {"p0": coming.pop(0) if len(coming) > 1 else coming[0]}}

    monkeypatch.setattr(loop, "validate", scripted)
    return coming


@pytest.fixture
def run(samples, scores, tmp_path):
    """Train; (state, reports)."""

    def run(trainable, settings=SETTINGS, state=None, cancel=lambda reports: False, folder=None):
        reports = Reports()
        state = TrainingState() if state is None else state
        schedule = Schedule(settings, samples)
        train(trainable, schedule, samples[:1], settings, state, folder, reports, lambda: cancel(reports))
        return state, reports

    return run


def lite(store, train_part="decoder"):
    """A trainable on LiteMedSAM's published weights."""
    info = get_model("lite-medsam")
    return TrainableModel(load_model(store.path(info), info, "cpu"), CONCEPTS, train_part, rank=2)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_toy_that_was_cancelled_goes_on_to_the_same_bits(run, tmp_path, stop):
    whole, reports = run(Toy())
    run(Toy(), cancel=lambda reports: len(reports.losses) == stop, folder=tmp_path)
    resumed, later = run(Toy(), state=load_state(tmp_path), folder=tmp_path)
    assert later.losses == reports.losses[stop:]
    for part in ("weights", "average", "best"):
        assert torch.equal(getattr(resumed, part)["weight"], getattr(whole, part)["weight"]), part
    assert resumed.history == whole.history and len(whole.history) == 2


def test_the_real_decoder_cancelled_in_an_epoch_goes_on_to_the_same_bits(store, run, tmp_path):
    settings = dataclasses.replace(SETTINGS, batch=1, corrections=1)
    whole, reports = run(lite(store), settings)
    _, first = run(lite(store), settings, cancel=lambda reports: len(reports.losses) == 3, folder=tmp_path)
    assert first.of("cancelled") == [{"step": 3}] and load_state(tmp_path).step == 3
    resumed, later = run(lite(store), settings, state=load_state(tmp_path))
    assert first.losses + later.losses == reports.losses and len(set(reports.losses)) == 4
    assert set(resumed.weights) == set(whole.weights)
    assert all(torch.equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)


def test_a_state_of_other_parts_is_refused(run):
    with pytest.raises(InputError, match="other parts of the network"):
        run(Toy(), state=TrainingState(1, {"another": torch.zeros(2)}))


def test_it_stops_when_it_stops_improving_and_keeps_the_best(run, scores, monkeypatch):
    scores[:] = [0.3, 0.5, 0.4, 0.5, 0.6]
    kept = []
    monkeypatch.setattr(loop, "_remember", lambda state, *_: kept.append(state.average["weight"].clone()))
    settings = dataclasses.replace(SETTINGS, epochs=9, patience=2)
    state, reports = run(Toy(), settings)
    # the second epoch is the best; two more are not better
    assert [entry["score"] for entry in state.history] == [0.3, 0.5, 0.4, 0.5]
    assert (state.best_epoch, state.best_score) == (2, 0.5)
    assert torch.equal(state.best["weight"], kept[1]) and not torch.equal(kept[1], kept[3])
    assert "no better for 2 epochs" in reports.of("note")[-1]["text"]


def test_a_loss_that_is_nan_names_step_and_slice_images_and_keeps_the_best(run, scores, tmp_path):
    state = TrainingState()
    with pytest.raises(Diverged, match=r"step 3 \(p\d slice \d, p\d slice \d\).*epoch 1.*--learning-rate"):
        run(Toy(broken_at=2), state=state, folder=tmp_path)
    assert state.best_epoch == 1 and state.best["weight"].isfinite().all()
    assert load_state(tmp_path).step == 2 and load_state(tmp_path).weights["weight"].isfinite().all()


def test_a_step_in_parts_is_the_step_at_once(run):
    at_once, _ = run(Toy(), dataclasses.replace(SETTINGS, batch=4))
    in_parts, _ = run(Toy(), dataclasses.replace(SETTINGS, batch=4, accumulate=4))
    assert torch.allclose(at_once.weights["weight"], in_parts.weights["weight"], atol=1e-6)


def test_out_of_memory_halves_once_and_the_step_stays_the_same(run):
    settings = dataclasses.replace(SETTINGS, batch=4)
    whole, expected = run(Toy(), settings)
    tight = Toy(most=2)
    state, reports = run(tight, settings)
    assert tight.sizes[:3] == [4, 2, 2] and set(tight.sizes[3:]) == {2}
    assert [note["text"] for note in reports.of("note")] == [
        "Out of graphics memory: continuing with the batch in 2 parts."
    ]
    assert reports.losses == pytest.approx(expected.losses, abs=1e-6)
    assert torch.allclose(state.weights["weight"], whole.weights["weight"], atol=1e-6)


@pytest.mark.parametrize(("batch", "sizes"), [(4, [4, 2]), (1, [1])])
def test_too_little_memory_for_half_the_batch_is_reported(run, batch, sizes):
    tight = Toy(most=0)
    with pytest.raises(InputError, match=r"smaller batch.*decoder alone.*--device cpu"):
        run(tight, dataclasses.replace(SETTINGS, batch=batch))
    assert tight.sizes == sizes


def test_a_score_is_a_mean_over_kinds_of_means_over_patients():
    assert score_of({"box": {"a": 1.0, "b": 0.5}, "point": {"a": 0.25}, "text": {}}) == pytest.approx(0.5)
    assert score_of({"box": {}}) == float("-inf")


class TestTrainableModel:
    """Which part learns, and that it does."""

    @pytest.mark.parametrize(
        ("part", "learns", "frozen"),
        [
            ("decoder", ["mask_decoder.", "prompt_encoder.", "text.tokens."], ["image_encoder."]),
            ("lora", ["image_encoder.layers.1.blocks.0.attn.qkv.lora_b"], ["image_encoder.neck."]),
            ("last", ["image_encoder.layers.3.", "image_encoder.neck.0."], ["image_encoder.layers.2."]),
            ("all", ["image_encoder.patch_embed.", "image_encoder.layers.0."], []),
        ],
    )
    def test_one_step_changes_what_learns_and_nothing_else(self, store, run, part, learns, frozen):
        trainable = lite(store, part)
        before = {name: weight.detach().clone() for name, weight in trainable.state_dict().items()}
        settings = dataclasses.replace(SETTINGS, epochs=1, steps=1, batch=1, point=1, box=0, text=0, box_and_point=0)
        state, reports = run(trainable, dataclasses.replace(settings, corrections=0))
        assert np.isfinite(reports.losses).all()
        changed = {name for name, weight in trainable.state_dict().items() if not torch.equal(weight, before[name])}
        assert changed <= set(state.weights)
        for start in learns:
            # without text in the step, only weight decay changes its tokens
            assert any(name.startswith(start) for name in state.weights), start
            assert start == "text.tokens." or any(name.startswith(start) for name in changed), start
        assert not any(name.startswith(start) for name in state.weights for start in frozen)
        assert not any(name.endswith(("running_mean", "running_var")) for name in changed)

    def test_the_concept_liver_without_a_liver_label_prompts_for_the_tumor(self, store, samples):
        trainable = lite(store)
        with torch.no_grad():
            liver, tumor = (
                trainable.loss(TrainingExample(samples[0], "text", "liver" if asked else "liver tumor", 1, (0, 0)))
                for asked in (True, False)
            )
        assert liver == tumor

    def test_validation_measures_every_kind_by_patient(self, store, samples):
        with torch.no_grad():
            scores = validate(lite(store), samples[:2])
        assert {kind: set(by) for kind, by in scores.items()} == {
            kind: {"p0", "p1"} for kind in ("point", "point + 3", "box", "text")
        }
        assert all(0 <= dice <= 1 for by in scores.values() for dice in by.values())
