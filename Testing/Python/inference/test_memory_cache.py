"""Embeddings are kept up to a number of bytes, the least recently used are removed, and keys depend on content."""

import threading

import numpy as np
import pytest

from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
from SAMLiverTumorLib.inference.embeddings.memory_cache import EmbeddingCache, image_key


class Maker:
    """Makes entries of a given size and remembers for which keys."""

    def __init__(self, cache):
        self.cache = cache
        self.made = []

    def get(self, key, size=10):
        def make():
            self.made.append(key)
            return f"value of {key}"

        return self.cache.get_or_make(key, make, lambda value: size)


def test_an_entry_is_made_once():
    maker = Maker(EmbeddingCache(100))
    assert [maker.get("a"), maker.get("a")] == ["value of a"] * 2
    assert maker.made == ["a"]


def test_the_least_recently_used_entries_are_removed():
    maker = Maker(EmbeddingCache(30))
    for key in "abc":
        maker.get(key)
    maker.get("a")  # now b is the one not used for longest
    maker.get("d")
    assert maker.cache.nbytes == 30
    for key in "acd":
        maker.get(key)
    assert maker.made == ["a", "b", "c", "d"]
    maker.get("b")
    assert maker.made == ["a", "b", "c", "d", "b"]


def test_a_large_entry_makes_room_for_itself_and_stays_even_alone_above_the_bound():
    maker = Maker(EmbeddingCache(30))
    for key in "abc":
        maker.get(key)
    maker.get("large", 25)
    assert (len(maker.cache), maker.cache.nbytes) == (1, 25)
    maker.get("huge", 50)
    maker.get("huge", 50)
    assert maker.made.count("huge") == 1
    assert (len(maker.cache), maker.cache.nbytes) == (1, 50)


def test_clearing_removes_everything():
    maker = Maker(EmbeddingCache(30))
    maker.get("a")
    maker.cache.clear()
    assert (len(maker.cache), maker.cache.nbytes) == (0, 0)
    maker.get("a")
    assert maker.made == ["a", "a"]


def test_what_fails_while_being_made_is_not_kept():
    cache = EmbeddingCache(30)

    def fail():
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        cache.get_or_make("a", fail, lambda value: 1)
    assert (len(cache), cache.nbytes) == (0, 0)
    assert Maker(cache).get("a") == "value of a"


def test_many_threads_get_equal_values_and_the_bytes_add_up():
    cache = EmbeddingCache(1 << 20)
    start = threading.Barrier(8)
    results: list[tuple[int, np.ndarray]] = []

    def work():
        start.wait()
        for key in list(range(20)) * 5:
            value = cache.get_or_make(str(key), lambda key=key: np.full(32, key), lambda value: value.nbytes)
            results.append((key, value))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 * 100
    assert all((value == key).all() for key, value in results)
    assert len(cache) == 20
    assert cache.nbytes == 20 * np.full(32, 0).nbytes


def test_an_entry_made_twice_at_the_same_time_counts_once():
    cache = EmbeddingCache(100)

    def overtaken():
        cache.get_or_make("a", lambda: "a", lambda value: 10)  # as another thread would, meanwhile
        return "a"

    assert cache.get_or_make("a", overtaken, lambda value: 10) == "a"
    assert (len(cache), cache.nbytes) == (1, 10)


def test_making_one_entry_does_not_hold_up_another():
    cache = EmbeddingCache(100)

    def slow():
        other = threading.Thread(target=lambda: cache.get_or_make("b", lambda: "b", lambda value: 1))
        other.start()
        other.join(timeout=30)
        assert not other.is_alive(), "a second key has to wait for the first"
        return "a"

    assert cache.get_or_make("a", slow, lambda value: 1) == "a"


def test_keys_change_with_pixels_shape_spacing_and_model():
    rgb = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    changed = rgb.copy()
    changed[5, 7, 2] ^= 1
    keys = {
        image_key(rgb, (0.7, 0.7), "model"),
        image_key(changed, (0.7, 0.7), "model"),
        image_key(rgb.reshape(8, 6, 3), (0.7, 0.7), "model"),
        image_key(rgb, (0.7, 0.71), "model"),
        image_key(rgb, (0.71, 0.7), "model"),
        image_key(rgb, (0.7, 0.7), "another"),
    }
    assert len(keys) == 6
    assert image_key(rgb.copy(), (0.7, 0.7), "model") in keys
    assert image_key(np.asfortranarray(rgb), (0.7, 0.7), "model") in keys


def test_before_a_disk_cache_memory_holds_32_embeddings_and_the_disk_has_the_rest(tmp_path):
    embedding = 2 * 1024 * 1024  # 256 x 64 x 64 in half precision
    in_memory = {}
    for disk in (None, DiskCache(tmp_path)):
        maker = Maker(EmbeddingCache(disk=disk))
        for number in range(300):
            maker.get(str(number), embedding)
        in_memory[disk is not None] = len(maker.cache)
    assert in_memory == {False: 256, True: 32}
