"""The encoder in ONNX Runtime inside predictors and pools: the same masks, other keys, and Cancel."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from SAMLiverTumorLib.errors import Cancelled, InputError, ModelError
from SAMLiverTumorLib.image.window import PRESETS, plane_to_rgb
from SAMLiverTumorLib.inference import onnx_encoder
from SAMLiverTumorLib.inference import runtime as runtimes
from SAMLiverTumorLib.inference.cache import EmbeddingCache
from SAMLiverTumorLib.inference.disk_cache import DiskCache
from SAMLiverTumorLib.inference.onnx_encoder import OnnxEncoder
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.runtime import (
    choice_key,
    in_onnxruntime,
    keep_choice,
    kept_choice,
    runtime_named,
    wanted_runtime,
    with_runtime,
)
from SAMLiverTumorLib.inference.runtime_benchmark import Comparison
from SAMLiverTumorLib.models.onnx_export import export_encoder
from SAMLiverTumorLib.models.onnx_files import kept_path
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts

BOX = PlanePrompts(box=(38.5, 29.5, 69.5, 63.5))


@pytest.fixture(scope="module")
def file(lite_medsam, tmp_path_factory):
    """LiteMedSAM's export."""
    return export_encoder(lite_medsam, tmp_path_factory.mktemp("onnx") / "encoder.onnx")


@pytest.fixture
def encoder(file, lite_medsam):
    return OnnxEncoder(file, lite_medsam.sha256, lite_medsam.image_encoder)


@pytest.fixture
def cache(user_cache, monkeypatch):
    """The user's cache folder in the test's, and no runtime named."""
    monkeypatch.delenv(runtimes.VARIABLE, raising=False)
    return user_cache


@pytest.fixture
def kept(cache, file, lite_medsam):
    """LiteMedSAM's export where exports are kept."""
    path = kept_path("lite-medsam", lite_medsam.sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(file.read_bytes())
    return path


def picture(sample, k=73):
    volume, _ = sample
    return plane_to_rgb(volume, slice_plane(volume, "axial", k), PRESETS["wide"])


def test_masks_are_those_of_pytorch_and_the_same_bit_by_bit_each_time(encoder, lite_medsam, sample):
    ours, theirs, again = (
        Predictor(model) for model in (lite_medsam, *2 * [replace(lite_medsam, image_encoder=encoder)])
    )
    for k in (70, 73):
        rgb = picture(sample, k)
        embeddings = [predictor.embed(rgb, (1.36, 1.36)) for predictor in (ours, theirs, again)]
        assert (embeddings[0].features - embeddings[1].features).abs().max() <= 1e-3
        assert torch.equal(embeddings[1].packed, embeddings[2].packed)
        masks = [ours.predict(embedding, BOX).mask for embedding in embeddings]
        assert np.count_nonzero(masks[0]) > 100
        assert np.count_nonzero(masks[0] != masks[1]) <= 0.005 * np.count_nonzero(masks[0])


def test_runtimes_never_share_an_embedding_in_memory_or_on_the_disk(encoder, lite_medsam, sample, tmp_path):
    rgb = picture(sample)
    other = replace(lite_medsam, image_encoder=encoder)
    for _ in range(2):
        cache = EmbeddingCache(disk=DiskCache(tmp_path))
        predictors = [Predictor(model, cache) for model in (lite_medsam, other)]
        for predictor in predictors:
            predictor.embed(rgb, (1.36, 1.36))
        assert len(cache) == 2
    # the second round found both on the disk
    assert [predictor.encoded for predictor in predictors] == [0, 0]
    assert len(list(tmp_path.glob("*.embedding"))) == 2


def test_keys_tell_the_runtimes_version_and_the_graph_apart(encoder):
    name, version, graph = encoder.runtime.split()
    assert name == "onnxruntime"
    assert version == onnx_encoder.import_onnxruntime().__version__
    assert len(graph) == 16


class Slow:
    """A session that runs until it is told to stop, as ONNX Runtime does between two operations."""

    def __init__(self):
        self.started, self.terminated = threading.Event(), threading.Event()

    def run(self, names, inputs, options):
        self.started.set()
        for _ in range(3000):
            if options.terminate:
                self.terminated.set()
                raise RuntimeError("terminated")
            time.sleep(0.01)


def test_cancel_ends_a_run_of_the_runtime_and_keeps_nothing(encoder, lite_medsam, sample):
    encoder._session = slow = Slow()
    predictor = Predictor(replace(lite_medsam, image_encoder=encoder))
    with pytest.raises(Cancelled):
        predictor.embed(picture(sample), (1.36, 1.36), cancel=slow.started.is_set)
    assert slow.terminated.is_set()
    assert len(predictor.cache) == 0


def test_the_real_runtime_stops_in_the_middle_and_works_again(encoder, lite_medsam, sample):
    predictor = Predictor(replace(lite_medsam, image_encoder=encoder))
    session, done = encoder._session, []

    class Watched:
        def run(self, names, inputs, options):
            options.terminate = True  # as a cancelled wait sets it
            done.append(session.run(names, inputs, options))

    encoder._session = Watched()
    with pytest.raises(Exception, match="terminate flag"):
        predictor.embed(picture(sample), (1.36, 1.36))
    assert done == []
    encoder._session = session
    assert predictor.embed(picture(sample), (1.36, 1.36)).features.isfinite().all()


def test_the_runtime_is_loaded_with_its_reports_to_its_maker_off(tmp_path):
    # with them on, 1.32 writes a device's id beside other programs' caches when it is imported
    program = (
        "from SAMLiverTumorLib.inference.onnx_encoder import import_onnxruntime\n"
        "import os, sys\nassert 'onnxruntime' not in sys.modules\nimport_onnxruntime()\n"
        "assert 'onnxruntime' in sys.modules\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert list(tmp_path.rglob("*deviceid*")) == []


def test_a_missing_runtime_is_told_and_auto_does_without(kept, lite_medsam, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install onnxruntime.*or choose the runtime pytorch"):
        with_runtime(lite_medsam, "onnxruntime")
    keep_choice(lite_medsam.sha256, "onnxruntime", {})
    assert with_runtime(lite_medsam, "auto") is lite_medsam


def test_auto_is_pytorch_until_the_other_was_found_faster_here(kept, lite_medsam):
    assert kept_choice(lite_medsam.sha256) is None
    assert with_runtime(lite_medsam, "auto") is lite_medsam
    keep_choice(lite_medsam.sha256, "onnxruntime", {"dice": 1.0})
    assert isinstance(with_runtime(lite_medsam, "auto").image_encoder, OnnxEncoder)
    assert with_runtime(lite_medsam, "pytorch") is lite_medsam
    other = replace(lite_medsam, sha256="f" * 64)
    assert with_runtime(other, "auto") is other
    on_a_card = replace(lite_medsam, device=torch.device("cuda"))
    for wanted in ("auto", "onnxruntime"):
        assert with_runtime(on_a_card, wanted) is on_a_card
    kept.unlink()
    # making it would delay the first mask
    assert with_runtime(lite_medsam, "auto") is lite_medsam


def test_a_choice_holds_for_its_machine_and_versions_alone(cache, monkeypatch):
    path = keep_choice("a" * 64, "onnxruntime", {"dice": 1.0})
    keep_choice("b" * 64, "pytorch", {})
    assert [kept_choice(letter * 64) for letter in "abc"] == ["onnxruntime", "pytorch", None]
    assert json.loads(path.read_text())[choice_key("a" * 64)] == {"runtime": "onnxruntime", "dice": 1.0}
    for name in ("machine", "_version"):
        with monkeypatch.context() as changed:
            changed.setattr(runtimes, name, lambda *of: "another")
            assert kept_choice("a" * 64) is None
    path.write_text("{damaged")
    assert kept_choice("a" * 64) is None
    keep_choice("b" * 64, "pytorch", {})
    assert kept_choice("b" * 64) == "pytorch"


def test_a_damaged_export_or_one_of_other_weights_is_refused_and_made_anew(kept, lite_medsam, monkeypatch):
    whole = kept.read_bytes()
    with pytest.raises(ModelError, match="not an export of these weights"):
        OnnxEncoder(kept, "f" * 64, lite_medsam.image_encoder)
    monkeypatch.setattr(
        "SAMLiverTumorLib.models.onnx_export.export_encoder", lambda model, path, overwrite: path.write_bytes(whole)
    )
    for damaged in (whole[: len(whole) // 2], whole[:-50], b""):
        kept.write_bytes(damaged)
        assert with_runtime(lite_medsam, "auto") is lite_medsam
        assert isinstance(in_onnxruntime(lite_medsam).image_encoder, OnnxEncoder)
        assert kept.read_bytes() == whole


def test_a_pool_takes_what_is_given_or_named_or_in_the_environment(kept, store, monkeypatch):
    def encoder_of(**options):
        return (
            PredictorPool(store=store, device="cpu", disk=None, **options).predictor("lite-medsam").runtime.split()[0]
        )

    assert encoder_of() == "pytorch"
    assert encoder_of(runtime="onnxruntime") == "onnxruntime"
    with runtime_named("onnxruntime"):
        assert encoder_of() == "onnxruntime"
        with runtime_named(None):
            assert wanted_runtime() == "onnxruntime"
    assert wanted_runtime() == "auto"
    monkeypatch.setenv(runtimes.VARIABLE, "ONNXRuntime")
    assert encoder_of() == "onnxruntime"
    with runtime_named("pytorch"):
        assert encoder_of() == "pytorch"
    monkeypatch.setenv(runtimes.VARIABLE, "openvino")
    with pytest.raises(InputError, match="no runtime 'openvino'; set SAM_LIVER_TUMOR_RUNTIME to one of auto, pytorch"):
        PredictorPool(store=store)


@pytest.mark.parametrize(
    ("theirs", "dice", "choice"),
    [(0.91, 1.0, "pytorch"), (0.90, 1.0, "onnxruntime"), (0.5, 0.994, "pytorch"), (0.5, 0.995, "onnxruntime")],
)
def test_another_runtime_has_to_be_a_tenth_faster_with_the_same_masks(theirs, dice, choice):
    seconds = {"pytorch": (9.0, 1.0, 0.1), "onnxruntime": (theirs, 0.1, 9.0)}
    assert Comparison(seconds, 0.0, 1.0, dice, "onnxruntime 1").choice == choice
