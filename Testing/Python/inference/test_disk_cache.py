"""Embeddings on disk: complete or absent, of the right key, bounded in size, with concurrent and killed processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache, default_disk_cache

ARRAY = np.arange(600, dtype=np.float16).reshape(1, 6, 10, 10)


@pytest.fixture
def cache(tmp_path) -> DiskCache:
    return DiskCache(tmp_path / "embeddings")


def files(cache) -> list[Path]:
    return sorted(cache.root.glob("*.embedding"))


def python(cache, program: str, **options) -> subprocess.Popen:
    """Start a program in its own process, with `cache`, and numpy as `np`."""
    start = f"""
import sys, time
import numpy as np
from pathlib import Path
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
cache = DiskCache(Path({str(cache.root)!r}), {cache.capacity_bytes})
"""
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen([sys.executable, "-c", start + program], env=environment, **options)


def test_an_array_comes_back_bit_by_bit_in_another_process_as_well(cache):
    assert cache.get("key") is None
    assert cache.put("key", ARRAY)
    back = DiskCache(cache.root).get("key")
    assert (back.dtype, back.shape) == (ARRAY.dtype, ARRAY.shape)
    assert (back == ARRAY).all()
    assert cache.get("another key") is None
    other = python(cache, "sys.exit(int(cache.get('key').sum(dtype=float)) - 179700)")
    assert other.wait(timeout=60) == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_file_counts_as_absent_and_is_removed(cache, damage):
    cache.put("key", ARRAY)
    (path,) = files(cache)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-7] ^= 1
    damaged = {"cut": data[:-100], "flipped": data, "empty": b"", "foreign": b"something else\n" * 9}[damage]
    path.write_bytes(damaged)
    assert cache.get("key") is None
    assert files(cache) == []


def test_a_file_under_the_name_of_another_key_is_not_served(cache):
    cache.put("a", ARRAY)
    (a,) = files(cache)
    cache.put("b", ARRAY + 1)
    (b,) = set(files(cache)) - {a}
    a.replace(b)
    assert cache.get("b") is None


def test_the_least_recently_used_are_removed(cache):
    for number, key in enumerate("abcd"):
        cache.put(key, ARRAY)
        newest = max(files(cache), key=lambda path: path.stat().st_ctime_ns)
        os.utime(newest, (1000 + number, 1000 + number))
    assert cache.get("a") is not None  # used now, so b is the oldest
    cache.capacity_bytes = 3 * files(cache)[0].stat().st_size
    cache.sweep()
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]


def test_the_bound_holds_while_entries_come_in(tmp_path):
    cache = DiskCache(tmp_path, 20 * ARRAY.nbytes)
    for number in range(100):
        cache.put(str(number), ARRAY)
    # the bound may be exceeded by the entries written between two sweeps
    assert sum(path.stat().st_size for path in files(cache)) <= 36 * (ARRAY.nbytes + 300)
    cache.sweep()
    assert sum(path.stat().st_size for path in files(cache)) <= 20 * ARRAY.nbytes
    assert cache.get("99") is not None


def test_it_takes_no_more_than_its_share_of_the_free_disk(cache, monkeypatch):
    for key in "abcd":
        cache.put(key, ARRAY)
    size = files(cache)[0].stat().st_size
    usage = type("usage", (), {"free": 16 * size})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    cache.sweep()
    assert len(files(cache)) == 2  # a tenth of 16 free and 4 own


def test_killed_in_the_middle_of_writing_leaves_no_entry(cache):
    program = """
import SAMLiverTumorLib.inference.embeddings.disk_cache as module
whole = module._pack
def endless(key, array):
    magic, header, payload = whole(key, array)
    yield magic + header + payload[:500]
    print("writing", flush=True)
    time.sleep(600)
    yield payload[500:]
module._pack = endless
cache.put("key", np.ones(100_000, np.float16))
"""
    writer = python(cache, program, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "writing\n"
    os.kill(writer.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    writer.wait(timeout=60)
    writer.stdout.close()
    (leftover,) = cache.root.iterdir()
    assert leftover.suffix == ".tmp"
    assert cache.get("key") is None
    assert cache.put("key", ARRAY)
    assert (cache.get("key") == ARRAY).all()
    old = time.time() - 7200
    os.utime(leftover, (old, old))
    cache.sweep()
    assert not leftover.exists()
    assert cache.get("key") is not None


def test_processes_that_write_read_and_evict_at_once_see_whole_entries_only(cache):
    cache.capacity_bytes = 8 * 40_000
    program = """
random = np.random.default_rng(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
found = 0
for _ in range(400):
    number = int(random.integers(20))
    array = cache.get(str(number))
    if array is None:
        assert cache.put(str(number), np.full(20_000, number, np.float16))
        cache.sweep()
    else:
        assert array.shape == (20_000,) and (array == number).all()
        found += 1
sys.exit(0 if found > 5 else 3)
"""
    writers = [python(cache, program) for _ in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert not list(cache.root.glob("*.tmp"))


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "embeddings")
    assert not cache.put("key", ARRAY)
    assert cache.get("key") is None
    cache.sweep()
    cache.clear()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_user_can_read_it(cache):
    cache.put("key", ARRAY)
    assert cache.root.stat().st_mode & 0o077 == 0
    assert files(cache)[0].stat().st_mode & 0o077 == 0


def test_the_environment_names_the_folder_or_switches_it_off(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_LIVER_TUMOR_CACHE", str(tmp_path / "here"))
    assert default_disk_cache().root == tmp_path / "here"
    for off in ("off", "OFF", "0", "no"):
        monkeypatch.setenv("SAM_LIVER_TUMOR_CACHE", off)
        assert default_disk_cache() is None
    monkeypatch.delenv("SAM_LIVER_TUMOR_CACHE")
    assert default_disk_cache().root.parts[-2:] == ("sam-liver-tumor", "embeddings")


def test_clearing_removes_every_entry(cache):
    cache.put("a", ARRAY)
    cache.put("b", ARRAY)
    cache.clear()
    assert files(cache) == []
