"""The model registry, and the `models` subcommand over it."""

import argparse
import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import LoopbackServer

from SAMLiverTumorLib.cli import terminal as confirm_module
from SAMLiverTumorLib.cli.commands import models as models_command
from SAMLiverTumorLib.cli.terminal import confirm_on_terminal
from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import REGISTRY_PATH, UrlSource, get_model, load_registry

IDS = ["liver-tumor", "lite-medsam", "mobile-sam", "sam-vit-b", "sam-vit-l", "sam-vit-h", "medsam-vit-b"]


@pytest.fixture
def entries():
    return json.loads(REGISTRY_PATH.read_text(encoding="utf-8"))


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `models ...` on a store of its own."""
    monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(tmp_path / "store"))
    parser = argparse.ArgumentParser()
    models_command.add_parser(parser.add_subparsers())
    return lambda *words: models_command.run(parser.parse_args(["models", *words]))


@pytest.fixture
def toy(monkeypatch):
    """`get_model` in the command gives a 9-byte model on a loopback server."""
    server = LoopbackServer()
    server.files["/w"] = b"9 bytes.\n"
    toy = dataclasses.replace(
        get_model("sam-vit-b"),
        size=9,
        sha256=hashlib.sha256(b"9 bytes.\n").hexdigest(),
        sources=(UrlSource(server.url + "/w"),),
    )
    monkeypatch.setattr(models_command, "get_model", lambda model_id: toy)
    yield toy
    server.close()


def test_registry_has_the_seven_models_and_unknown_ones_are_reported_with_the_list():
    assert list(load_registry()) == IDS
    with pytest.raises(ModelError, match=r"no model 'sam3'.*liver-tumor, lite-medsam, mobile-sam, sam-vit-b"):
        get_model("sam3")


def test_prompts_are_those_the_models_were_trained_for():
    trained = {model.id: model.prompts for model in load_registry().values()}
    boxes_only = {name for name, prompts in trained.items() if prompts == {"box"}}
    assert boxes_only == {"lite-medsam", "medsam-vit-b"}
    assert trained["liver-tumor"] == {"points", "box", "mask", "text"}
    assert all(trained[name] == {"points", "box", "mask"} for name in set(IDS) - boxes_only - {"liver-tumor"})


def test_each_kind_of_prompt_has_one_preferred_model():
    preferred = [(kind, model.id) for model in load_registry().values() for kind in sorted(model.preferred_for)]
    assert sorted(preferred) == [
        ("box", "lite-medsam"),
        ("mask", "liver-tumor"),
        ("points", "liver-tumor"),
        ("text", "liver-tumor"),
    ]


def test_every_model_names_licence_citation_and_what_it_was_trained_on():
    for model in load_registry().values():
        assert model.licence in ("Apache-2.0", "CC-BY-4.0") and model.citation
        assert ("LiTS" in model.notes) == ("medsam" in model.id or model.id == "liver-tumor")
    notes = get_model("medsam-vit-b").notes
    assert "CC-BY-4.0" in notes and "Apache-2.0" in notes and "3bb6db55bd0c9ca30b61248bca72f8d6" in notes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", "vit_g"),
        ("input_size", 512),
        ("prompts", ["text"]),
        ("prompts", []),
        ("preferred_for", ["points"]),
        ("preferred_for", ["box", "boxes"]),
        ("sha256", "79D8"),
        ("size", "39370479"),
        ("file_name", "../lite_medsam.pth"),
        ("surprise", 1),
        ("sources", [{"kind": "ftp", "url": "ftp://example.invalid/w"}]),
        ("sources", [{"kind": "https", "url": "http://example.invalid/w"}]),
        ("sources", [{"kind": "https", "url": "file:///w"}]),
        ("sources", [{"kind": "bundled", "path": "../w"}]),
        ("sources", [{"kind": "package", "name": "a", "version": "1", "archive": "egg", "member": "w"}]),
    ],
)
def test_malformed_entry_is_refused(entries, tmp_path, field, value):
    entries["lite-medsam"][field] = value
    path = tmp_path / "models.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(ModelError, match=r"Model 'lite-medsam'.*malformed"):
        load_registry(path)


def test_entry_with_a_field_missing_is_refused(entries, tmp_path):
    del entries["mobile-sam"]["sha256"]
    path = tmp_path / "models.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(ModelError, match=r"Model 'mobile-sam'.*sha256"):
        load_registry(path)


def test_registry_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_registry(tmp_path / "models.json")


def test_registry_and_store_import_nothing_heavy(root):
    script = (
        "import sys, SAMLiverTumorLib.models.download.store, SAMLiverTumorLib.cli.commands.models\n"
        "print(*sorted({'torch', 'numpy', 'scipy', 'SimpleITK', 'tqdm', 'slicer', 'pip'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    answer = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


def test_list_shows_every_model_with_its_state(command, capsys, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mobile_sam.pt").write_bytes(b"half")
    (tmp_path / "store" / "sam_vit_b_01ec64.pth.part").write_bytes(bytes(2000))
    assert command() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["id", *IDS, "Store:"]
    rows = dict(line.split(maxsplit=1) for line in lines)
    assert rows["liver-tumor"].split() == ["points,", "box,", "mask,", "text", "12.3", "MB", "Apache-2.0", "present"]
    assert rows["lite-medsam"].split() == ["box", "39.4", "MB", "Apache-2.0", "absent"]
    assert rows["mobile-sam"].endswith("damaged") and rows["sam-vit-b"].endswith("incomplete (2.0 kB)")


def test_fetch_verify_and_remove(command, toy, capsys, tmp_path):
    path = tmp_path / "store" / toy.file_name
    assert command("fetch", "sam-vit-b", "--yes") == 0
    assert path.read_bytes() == b"9 bytes.\n" and str(path) in capsys.readouterr().out
    assert command("verify", "sam-vit-b") == 0
    assert command("remove", "sam-vit-b") == 0 and not path.exists()
    with pytest.raises(ModelError, match="not on this machine"):
        command("verify", "sam-vit-b")


def test_verify_without_an_id_finds_the_damaged_file(command, tmp_path):
    assert command("verify") == 0
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mobile_sam.pt").write_bytes(b"half")
    with pytest.raises(ModelError, match="not the weight file of MobileSAM"):
        command("verify")


def test_fetch_without_a_terminal_asks_for_yes_and_downloads_nothing(command, toy, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(ModelError, match="give --yes"):
        command("fetch", "sam-vit-b")
    assert list((tmp_path / "store").iterdir()) == []


def test_fetch_without_an_id_is_reported(command):
    with pytest.raises(InputError, match="models fetch ID"):
        command("fetch")


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_yes_means_yes_on_a_terminal(monkeypatch, capsys, answer, agreed):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(confirm_module.sys, "stdin", terminal)
    assert confirm_on_terminal(False)("Download it?") is agreed
    printed = capsys.readouterr()
    assert printed.out == "" and "Download it? [y/N]" in printed.err


def test_default_folder_follows_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(tmp_path / "here"))
    assert ModelStore().root == tmp_path / "here"
    monkeypatch.delenv("SAM_LIVER_TUMOR_MODELS")
    assert ModelStore().root.parts[-2:] == ("sam-liver-tumor", "models")
    assert Path.home() in ModelStore().root.parents or "XDG_CACHE_HOME" in os.environ
