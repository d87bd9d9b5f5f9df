"""Damage to bytes of any format: flips, cuts, splices, lengths, numbers in text, keywords."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytes], bytes]

_NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, -(1 << 31))
_LONG_NUMBERS = (*_NUMBERS, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-30, 1e30, -1e30, 3.4e38, float("nan"), float("inf"), float("-inf"))
_WORDS_AS_NUMBERS = (
    *(b"0", b"-1", b"1", b"-0", b"", b"nan", b"inf", b"-inf", b"1e999", b"1e-999", b"2147483648", b"4294967296"),
    *(b"99999999999999999999", b"-9223372036854775808", b"0x10", b"1,5", b"1.5", b"NaN", b" ", b"1_000"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# A file's beginning decides how the rest is read, so most damage is done there.
_BEGINNING = 1024


def havoc(rng: Random, data: bytes, words: Sequence[bytes] = (), others: Sequence[bytes] = ()) -> bytes:
    """Apply one to four random kinds of damage.

    :param words: keywords of the format.
    :param others: other files of the format, to splice with.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        kind = rng.choice(_KINDS)
        if kind is _word:
            data = _word(rng, data, words)
        elif kind is _splice:
            data = _splice(rng, data, others)
        else:
            data = kind(rng, data)
    return data


def _position(rng: Random, data: bytes) -> int:
    near = rng.random() < 0.6
    return rng.randrange(max(1, min(len(data), _BEGINNING) if near else len(data)))


def _flip(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 32))):
        if changed:
            changed[_position(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(rng: Random, data: bytes) -> bytes:
    if not data:
        return data
    at = _position(rng, data)
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _delete(rng: Random, data: bytes) -> bytes:
    at = _position(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 256)) :]


def _insert(rng: Random, data: bytes) -> bytes:
    at = _position(rng, data)
    new = rng.choice(
        (rng.randbytes(rng.choice((1, 4, 64))), bytes(rng.choice((1, 8, 512))), b"\n", b'"', b"{", b"\xff")
    )
    return data[:at] + new + data[at:]


def _repeat(rng: Random, data: bytes) -> bytes:
    at = _position(rng, data)
    part = data[at : at + rng.choice((1, 4, 32, 400))]
    return data[:at] + part * rng.choice((2, 2, 3, 50)) + data[at + len(part) :]


def _number(rng: Random, data: bytes) -> bytes:
    """Change a binary integer of 1 to 8 bytes, such as a length or an offset."""
    size, form = rng.choice(((1, "B"), (2, "H"), (4, "I"), (4, "I"), (8, "Q")))
    at = _position(rng, data)
    old = data[at : at + size]
    if len(old) < size:
        return data
    order = rng.choice("<>")
    value = struct.unpack(order + form, old)[0]
    new = rng.choice((*_LONG_NUMBERS, value + 1, value - 1, value * 2, value ^ (1 << (8 * size - 1))))
    return data[:at] + struct.pack(order + form, new % (1 << (8 * size))) + data[at + size :]


def _float(rng: Random, data: bytes) -> bytes:
    form = rng.choice(("<f", ">f", "<d", ">d"))
    size = struct.calcsize(form)
    at = _position(rng, data) // 4 * 4
    if at + size > len(data):
        return data
    return data[:at] + struct.pack(form, rng.choice(_FLOATS)) + data[at + size :]


def _number_in_text(rng: Random, data: bytes) -> bytes:
    found = list(_NUMBER.finditer(data[: 64 * _BEGINNING]))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_WORDS_AS_NUMBERS) + data[match.end() :]


def _word(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:
    if not words:
        return data
    at, word = _position(rng, data), rng.choice(words)
    old = rng.choice(words)
    if rng.random() < 0.5 and old in data:
        return data.replace(old, word, 1)
    return data[:at] + word + data[at + (len(word) if rng.random() < 0.5 else 0) :]


def _splice(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    if not others:
        return data
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


_KINDS = (
    _flip,
    _flip,
    _byte,
    _cut,
    _delete,
    _insert,
    _repeat,
    _number,
    _number,
    _float,
    _number_in_text,
    _word,
    _splice,
)
ODD_NUMBERS = (*_NUMBERS, *_FLOATS)
ODD_TEXTS = tuple(word.decode() for word in _WORDS_AS_NUMBERS)
