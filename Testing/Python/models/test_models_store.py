"""The store over a loopback web server: what is in place is right, whatever the network did."""

import dataclasses
import errno
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from loopback import LoopbackServer

from SAMLiverTumorLib.errors import Cancelled, ModelError, OutputError
from SAMLiverTumorLib.models.download import digest
from SAMLiverTumorLib.models.download import http as download
from SAMLiverTumorLib.models.download import store as store_module
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import BundledSource, UrlSource, get_model

WEIGHTS = np.random.default_rng(0).bytes(600_000)
NAME = "sam_vit_b_01ec64.pth"


@pytest.fixture
def server():
    server = LoopbackServer()
    server.files["/weights"] = WEIGHTS
    yield server
    server.close()


@pytest.fixture
def info(server):
    """SAM ViT-B's entry with a small file on the loopback server."""
    return dataclasses.replace(
        get_model("sam-vit-b"),
        size=len(WEIGHTS),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        sources=(UrlSource(server.url + "/weights"),),
    )


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    return ModelStore(tmp_path / "store")


def yes(question):
    return True


def never_asked(question):
    raise AssertionError("asked although nothing is needed from the network: " + question)


def names(models):
    return sorted(path.name for path in models.root.iterdir())


def test_download_puts_the_published_bytes_in_place_and_nothing_else(models, info):
    steps = []
    path = models.fetch(info, yes, lambda done, total: steps.append((done, total)))
    assert path == models.root / NAME and path.read_bytes() == WEIGHTS
    assert names(models) == [NAME]
    assert steps == sorted(steps) and steps[-1] == (600_000, 600_000)
    models.verify(info)


def test_broken_connection_goes_on_from_the_last_byte(models, info, server):
    server.cuts = [250_000]
    assert models.fetch(info, yes).read_bytes() == WEIGHTS
    assert server.ranges_asked() == [None, "bytes=250000-"]
    assert server.requests[1][1]["If-Range"] == '"1"'


def test_a_later_fetch_goes_on_from_what_an_earlier_one_has_left(models, info, server):
    server.cuts = [100_000, 0, 0, 0]
    with pytest.raises(ModelError, match="broke off after 100,000 of 600,000 bytes"):
        models.fetch(info, yes)
    assert not (models.root / NAME).exists() and not models.is_present(info)
    assert models.list({"x": info})[0].state == "incomplete"
    server.requests.clear()
    assert ModelStore(models.root).fetch(info, yes).read_bytes() == WEIGHTS
    assert server.ranges_asked() == ["bytes=100000-"]
    assert names(models) == [NAME]


def test_server_without_ranges_is_asked_for_the_whole_file_again(models, info, server):
    server.ranges = False
    server.cuts = [250_000]
    assert models.fetch(info, yes).read_bytes() == WEIGHTS


@pytest.mark.parametrize("honors_if_range", [True, False])
def test_file_changed_between_two_tries_is_not_mixed(models, info, server, honors_if_range):
    server.honors_if_range = honors_if_range
    server.files["/weights"] = bytes(600_000)
    server.cuts = [300_000, 0, 0, 0]
    with pytest.raises(ModelError):
        models.fetch(info, yes)
    server.files["/weights"], server.etag = WEIGHTS, '"2"'
    assert models.fetch(info, yes).read_bytes() == WEIGHTS


def test_part_from_another_address_is_not_gone_on_from(models, info, server):
    server.cuts = [300_000, 0, 0, 0]
    with pytest.raises(ModelError):
        models.fetch(info, yes)
    server.requests.clear()
    server.files["/mirror"] = WEIGHTS
    moved = dataclasses.replace(info, sources=(UrlSource(server.url + "/mirror"),))
    assert models.fetch(moved, yes).read_bytes() == WEIGHTS
    assert server.ranges_asked() == [None]


def test_wrong_hash_is_refused_and_nothing_is_left(models, info, server):
    server.files["/weights"] = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    with pytest.raises(ModelError, match="not the weight file of SAM ViT-B"):
        models.fetch(info, yes)
    assert names(models) == []


@pytest.mark.parametrize("body", [WEIGHTS[:1000], WEIGHTS + b"x"])
def test_wrong_length_is_refused_and_nothing_is_left(models, info, server, body):
    server.files["/weights"] = body
    with pytest.raises(ModelError, match=f"offers {len(body):,} bytes, the published file has 600,000"):
        models.fetch(info, yes)
    assert names(models) == [] and len(server.requests) == 1


def test_endless_answer_without_a_length_is_cut(models, info, server):
    server.length = False
    server.files["/weights"] = WEIGHTS * 2
    steps = []
    with pytest.raises(ModelError, match="more than the 600,000 bytes"):
        models.fetch(info, yes, lambda done, total: steps.append(done))
    assert max(steps) <= 600_000 and names(models) == []


def test_truncated_answer_without_a_length_is_not_put_in_place(models, info, server):
    server.length = False
    server.files["/weights"] = WEIGHTS[:-1]
    with pytest.raises(ModelError):
        models.fetch(info, yes)
    assert not (models.root / NAME).exists()


def test_missing_file_is_not_asked_for_four_times(models, info, server):
    del server.files["/weights"]
    with pytest.raises(ModelError, match="404"):
        models.fetch(info, yes)
    assert len(server.requests) == 1


def test_question_names_size_licence_source_and_folder_and_no_is_respected(models, info, server):
    questions = []
    with pytest.raises(ModelError, match=r"declined.*'liver-tumor' comes with the extension"):
        models.fetch(info, lambda question: questions.append(question))
    (question,) = questions
    for part in ("600.0 kB", "Apache-2.0", "127.0.0.1", str(models.root)):
        assert part in question
    assert server.requests == [] and names(models) == []


def test_cancel_is_heard_while_the_server_is_silent(models, info, server):
    server.stall_after = 200_000
    seen = []
    with pytest.raises(Cancelled):
        models.fetch(info, yes, lambda done, total: seen.append(done), cancel=lambda: bool(seen))
    assert not server.go_on.is_set(), "the download must end while the server still holds the rest back"
    assert not (models.root / NAME).exists() and not models.is_present(info)


def test_filled_store_needs_neither_network_nor_answer(models, info, server):
    models.fetch(info, yes)
    server.close()
    assert ModelStore(models.root).fetch(info, never_asked).read_bytes() == WEIGHTS


def test_remove_deletes_the_file_and_the_beginning_of_one(models, info, server):
    models.fetch(info, yes)
    assert models.remove(info) is True and names(models) == []
    assert models.remove(info) is False
    server.cuts = [1000, 0, 0, 0]
    with pytest.raises(ModelError):
        models.fetch(info, yes)
    assert models.remove(info) is True and names(models) == []


def test_two_processes_fetching_at_once_download_once(models, info, server, root):
    server.stall_after = 200_000
    script = (
        "import dataclasses, sys\n"
        "from pathlib import Path\n"
        "from SAMLiverTumorLib.models.registry import UrlSource, get_model\n"
        "from SAMLiverTumorLib.models.download.store import ModelStore\n"
        "info = dataclasses.replace(get_model('sam-vit-b'), size=int(sys.argv[2]), sha256=sys.argv[3],"
        " sources=(UrlSource(sys.argv[4]),))\n"
        "ModelStore(Path(sys.argv[1])).fetch(info, lambda question: print('asked', flush=True) or True)\n"
    )
    command = [sys.executable, "-c", script, str(models.root), str(info.size), info.sha256, info.sources[0].url]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    start = {"env": environment, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **start) as first:
        assert server.asked.wait(60)
        with subprocess.Popen(command, **start) as second:
            assert second.stdout.readline() == "asked\n"
            server.go_on.set()
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(server.requests) == 1
    assert (models.root / NAME).read_bytes() == WEIGHTS and names(models) == [NAME]


def test_file_the_user_has_is_adopted_and_a_wrong_one_refused(models, info, tmp_path):
    own = tmp_path / "mine.pth"
    own.write_bytes(WEIGHTS[:-1] + b"?")
    with pytest.raises(ModelError, match="SHA-256"):
        models.adopt(own, info)
    assert not models.root.exists()
    own.write_bytes(WEIGHTS)
    assert models.adopt(own, info).read_bytes() == WEIGHTS
    assert own.read_bytes() == WEIGHTS and names(models) == [NAME]
    assert models.fetch(info, never_asked) == models.root / NAME


def test_damaged_file_in_place_is_refused_and_replaced_by_a_fetch(models, info):
    path = models.fetch(info, yes)
    path.write_bytes(bytes(600_000))
    os.utime(path, ns=(0, 1))
    with pytest.raises(ModelError, match="models fetch sam-vit-b"):
        models.verify(info)
    models.fetch(info, yes)
    models.verify(info)
    path.write_bytes(WEIGHTS[:9])
    assert not models.is_present(info) and models.list({"x": info})[0].state == "damaged"


def test_unchanged_file_is_hashed_once_in_a_process(models, info, monkeypatch):
    models.fetch(info, yes)
    monkeypatch.setattr(digest.hashlib, "sha256", lambda: pytest.fail("hashed again"))
    ModelStore(models.root).verify(info)


def test_bundled_file_is_used_where_it_lies_and_never_removed(tmp_path, info):
    bundle = tmp_path / "repository"
    bundle.mkdir()
    (bundle / "b.pth").write_bytes(WEIGHTS)
    models = ModelStore(tmp_path / "store", bundle)
    info = dataclasses.replace(info, sources=(BundledSource("b.pth"), *info.sources))
    assert models.fetch(info, never_asked) == bundle / "b.pth"
    assert models.remove(info) is False and (bundle / "b.pth").exists()
    (bundle / "b.pth").write_bytes(bytes(600_000))
    assert models.fetch(info, yes) == models.root / NAME == models.path(info)


def test_absent_model_is_reported_with_the_command_that_fetches_it(models, info):
    with pytest.raises(ModelError, match="sam-liver-tumor models fetch sam-vit-b"):
        models.verify(info)


def test_folder_that_cannot_be_made_is_reported_plainly(tmp_path, info):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        ModelStore(tmp_path / "file" / "store").fetch(info, never_asked)


def test_full_disk_is_reported_before_asking_and_while_writing(models, info, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download.os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            models.fetch(info, yes)
    assert not (models.root / NAME).exists()
    models.remove(info)
    usage = store_module.shutil.disk_usage(models.root)._replace(free=599_999)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"needs 600\.0 kB"):
        models.fetch(info, never_asked)


def test_redirect_to_another_host_over_http_is_refused(models, info, server):
    server.redirect = "http://example.invalid/weights"
    with pytest.raises(ModelError, match="https addresses only"):
        models.fetch(info, yes)


def test_what_a_killed_fetch_has_left_is_swept_away(models, info):
    models.root.mkdir()
    (models.root / f".{NAME}.0123.tmp").write_bytes(b"half")
    models.fetch(info, yes)
    assert names(models) == [NAME]
