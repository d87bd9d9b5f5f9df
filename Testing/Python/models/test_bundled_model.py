"""The model "liver-tumor" that comes with the extension: its file, and that it works with no network at all."""

import hashlib
import json
import re
import socket

import numpy as np
import pytest
from cli_case import CENTER

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import segment
from SAMLiverTumorLib.inference.text_search import find
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import REGISTRY_PATH, get_model
from SAMLiverTumorLib.models.weights import read_about
from SAMLiverTumorLib.prompts import Prompts

INFO = get_model("liver-tumor")


@pytest.fixture
def weights(root):
    return root / "Resources" / "Models" / "liver_tumor.safetensors"


@pytest.fixture
def offline(monkeypatch):
    """Whatever asks the network fails the test."""
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, lambda *args, **options: pytest.fail("asked the network"))


def refuse(question):
    pytest.fail("asked to download: " + question)


def test_the_file_is_the_one_the_registry_describes_and_small_enough_for_a_repository(weights):
    entry = json.loads(REGISTRY_PATH.read_text(encoding="utf-8"))["liver-tumor"]
    data = weights.read_bytes()
    assert len(data) == entry["size"] <= 20_000_000
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]


def test_the_file_itself_says_the_same_of_its_use(weights):
    about = read_about(weights)
    for name in ("architecture", "input_size", "normalization", "resize", "default_window", "licence"):
        assert about[name] == getattr(INFO, name), name
    assert set(about["prompts"]) == INFO.prompts
    assert set(about["concepts"]) == set(INFO.concepts) == {"liver tumor", "liver"}


def test_no_case_the_project_is_judged_on_was_learned_from_or_chosen_by(weights):
    split = read_about(weights)["card"]["split"]
    named = [*split["train"], *split["validation"]]
    assert named
    for name in named:
        assert not re.search(r"(liver|lits|volume)[_-]?0*(4|8|9|10)(?!\d)", name.lower()), name


def test_an_empty_store_has_it(tmp_path, monkeypatch, offline, capsys):
    monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(tmp_path / "none"))
    assert main(["models", "list"]) == 0
    states = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:-1]}
    assert [model for model, state in states.items() if state == "present"] == ["liver-tumor"]
    assert main(["models", "verify", "liver-tumor"]) == 0
    assert main(["models", "remove", "liver-tumor"]) == 0
    assert main(["models", "verify", "liver-tumor"]) == 0
    assert not (tmp_path / "none").exists()


def test_clicks_and_text_work_with_no_network_and_no_answer(phantom, tmp_path, offline):
    pool = PredictorPool(refuse, ModelStore(tmp_path / "none"), "cpu", disk=None)
    clicked = segment(phantom, Prompts([CENTER]), pool)
    liver = np.zeros(phantom.array.shape, bool)
    liver[10] = True
    found = find(phantom, pool, "liver tumor", liver=liver)
    assert [s.model for s in clicked.slices] == ["liver-tumor"]
    for provenance in (clicked.provenance, found.provenance):
        assert [(m["id"], m["sha256"]) for m in provenance["models"]] == [("liver-tumor", INFO.sha256)]
    assert not (tmp_path / "none").exists()


def test_where_it_is_not_shipped_the_message_says_what_to_do(phantom, tmp_path, offline):
    # as in a wheel, which holds the library alone
    store = ModelStore(tmp_path / "none", bundle=tmp_path / "site-packages")
    where = str(tmp_path / "site-packages" / "Resources" / "Models" / "liver_tumor.safetensors")
    assert store.list({INFO.id: INFO})[0].state == "absent"
    for call in (
        lambda: store.verify(INFO),
        lambda: store.fetch(INFO, refuse),
        lambda: segment(phantom, Prompts([CENTER]), PredictorPool(refuse, store, "cpu", disk=None)),
    ):
        with pytest.raises(ModelError, match=r"Install the extension again.*or choose another model") as caught:
            call()
        assert where in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_a_damaged_copy_in_the_store_is_named_and_a_right_one_is_not_made(weights, tmp_path, offline):
    store = ModelStore(tmp_path)
    assert store.adopt(weights, INFO) == weights == store.fetch(INFO, refuse)
    assert list(tmp_path.iterdir()) == []
    own = tmp_path / INFO.file_name
    own.write_bytes(b"an older version")
    for call in (lambda: store.verify(INFO), lambda: store.fetch(INFO, refuse)):
        with pytest.raises(ModelError, match="it has 16 bytes") as caught:
            call()
        assert f"Delete {own}" in str(caught.value)
    assert store.remove(INFO) and store.fetch(INFO, refuse) == weights
