"""Damage to the content of well-formed files: header fields, members, tags, values."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
from random import Random
from typing import Any

from fuzz.mutations import ODD_NUMBERS, ODD_TEXTS, Mutation, havoc

# NIfTI-1: offset and format of the fields for geometry and data type.
_NIFTI_FIELDS = (
    *((40 + 2 * n, "h") for n in range(8)),
    *((76 + 4 * n, "f") for n in range(8)),
    *((70, "h"), (72, "h"), (108, "f"), (112, "f"), (116, "f"), (123, "B"), (252, "h"), (254, "h"), (0, "i")),
    *((256 + 4 * n, "f") for n in range(6)),
    *((280 + 4 * n, "f") for n in range(12)),
    (344, "i"),
)
_TRICKY_TEXTS = ("../../escape", "/etc/passwd", "..\\x", "a" * 5000, "\x00", "é\ud800", "%s%n", "$(touch x)", "|")


def nifti_field(rng: Random, data: bytes) -> bytes:
    """Change one or two fields of a NIfTI header."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        at, form = rng.choice(_NIFTI_FIELDS)
        size = struct.calcsize(form)
        if at + size > len(changed):
            continue
        number = rng.choice(ODD_NUMBERS)
        if form != "f":
            number = 0 if number != number or abs(number) == float("inf") else int(number)
            bits = 8 * size
            number = (number + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
            form = form.lower()
        changed[at : at + size] = struct.pack("<" + form, number)
    return bytes(changed)


def gzipped(inner: Mutation) -> Mutation:
    """The same damage inside gzip compression."""

    def mutate(rng: Random, data: bytes) -> bytes:
        return gzip.compress(inner(rng, gzip.decompress(data)), compresslevel=1, mtime=0)

    return mutate


def text_header(rng: Random, data: bytes) -> bytes:
    """Remove, duplicate or change a line of an NRRD or MetaImage header."""
    end = data.find(b"\n\n")
    end = end if end >= 0 else data.find(b"LOCAL\n") + 5
    lines, rest = data[:end].split(b"\n"), data[end:]
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    else:
        key, separator, value = _parts(lines[at])
        words = value.split()
        if kind == 2 and words:
            words[rng.randrange(len(words))] = rng.choice(ODD_TEXTS).encode()
            value = b" ".join(words)
        elif kind == 3:
            value = rng.choice((*ODD_TEXTS, *_TRICKY_TEXTS)).encode("utf-8", "surrogatepass")
        else:
            value = _parts(rng.choice(lines))[2]
        lines[at] = key + separator + value
    return b"\n".join(lines) + rest


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = re.match(rb"([^:=]+)(:=|: ?| = )(.*)", line, re.DOTALL)
    return match.groups() if match else (line, b"", b"")


def json_value(rng: Random, data: bytes) -> bytes:
    """Change a value somewhere in a JSON text: another type, an odd number, removed, or misplaced."""
    return json.dumps(changed_value(rng, json.loads(data))).encode()


def json_lines(rng: Random, data: bytes) -> bytes:
    """Apply `json_value` to one of the lines."""
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = json_value(rng, lines[at])
    return b"\n".join(lines) + b"\n"


def changed_value(rng: Random, tree: Any) -> Any:
    """A tree of plain values with one of them damaged."""
    places = list(_places(tree))
    if not places or rng.random() < 0.03:
        return _odd(rng, tree)
    parent, key = rng.choice(places)
    kind = rng.randrange(10)
    if kind == 0:
        parent.pop(key)
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif kind == 2:
        parent[key] = rng.choice(rng.choice(places)[0:1])  # one part of the tree in place of another
        return json.loads(json.dumps(tree)) if not _is_cyclic(tree) else []
    else:
        parent[key] = _odd(rng, parent[key])
    return tree


def _odd(rng: Random, value: Any) -> Any:
    choices = [
        *(None, True, False, [], {}, "", 0, -1, 1.5, 1e308, 10**30, float("nan"), float("inf")),
        *(rng.choice(ODD_TEXTS), rng.choice(_TRICKY_TEXTS), rng.choice(ODD_NUMBERS)),
        *([value], {"a": value}, str(value)[:1000], [value] * 3),
    ]
    if isinstance(value, int | float) and not isinstance(value, bool):
        choices += [value + 1, -value, value * 1e6, value / 3]
    return rng.choice(choices)


def _places(tree: Any):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _is_cyclic(tree: Any) -> bool:
    try:
        json.dumps(tree)
    except ValueError:
        return True
    return False


def nested(rng: Random, data: bytes) -> bytes:
    """Insert lists nested deeper than Python's recursion limit, at the beginning or anywhere."""
    deep = rng.choice((b"[", b'{"a":')) * rng.choice((500, 100_000))
    at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else 0
    return data[:at] + deep + data[at:]


def safetensors_header(rng: Random, data: bytes) -> bytes:
    """Change a value in the JSON header, or in the JSON that our files hold in it, and correct its length."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    meta = header.get("__metadata__", {})
    key = rng.choice([*meta, None])
    if key is not None and rng.random() < 0.8:
        meta[key] = json.dumps(changed_value(rng, json.loads(meta[key])))
    else:
        header = changed_value(rng, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def zip_member(rng: Random, data: bytes) -> bytes:
    """Change or remove a member, or its name, in an otherwise intact zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(info.filename, source.read(info)) for info in source.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(8)
    if kind == 0:
        del members[at]
    elif kind == 1:
        name = rng.choice(("../escape.txt", "/tmp/escape.txt", "a/../../escape.txt", "", "C:\\escape", name.upper()))
        members[at] = (name, content)
    else:
        members[at] = (name, havoc(rng, content))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return target.getvalue()


def dicom_element(rng: Random, data: bytes) -> bytes:
    """Change an element of a DICOM file: another value, empty, removed, or raw damage to its bytes."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(data))
    tag = rng.choice([element.tag for element in dataset])
    element = dataset[tag]
    kind = rng.randrange(5)
    if kind == 0:
        del dataset[tag]
    elif kind == 1:
        element._value = None if element.VR != "SQ" else pydicom.Sequence()
    elif element.VR in ("DS", "IS", "US", "SS", "FD", "FL", "UL"):
        # not through the setter, which refuses values that real files contain
        number = rng.choice(ODD_NUMBERS)
        if element.VR in ("DS", "IS"):
            values = list(element.value) if element.VM > 1 else [element.value]
            values[rng.randrange(len(values))] = rng.choice(ODD_TEXTS)
            return _with_raw(data, dataset, tag, "\\".join(map(str, values)).encode())
        finite = number == number and abs(number) != float("inf")
        size = {"US": 2, "SS": 2, "UL": 4, "FL": 4, "FD": 8}[element.VR]
        raw = (
            struct.pack("<d", number)[:size] if not finite else (int(number) % (1 << 8 * size)).to_bytes(size, "little")
        )
        return _with_raw(data, dataset, tag, raw)
    elif element.VR in ("OW", "OB"):
        return _with_raw(data, dataset, tag, havoc(rng, element.value))
    elif element.VR != "SQ":
        text = rng.choice((*ODD_TEXTS, *_TRICKY_TEXTS, "1.2.840.10008.1.2.4.70"))
        return _with_raw(data, dataset, tag, text.encode("utf-8", "surrogatepass"))
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _with_raw(data: bytes, dataset: Any, tag: Any, raw: bytes) -> bytes:
    """The file with raw value bytes in an element that pydicom would refuse to write."""
    import pydicom

    raw += b" " * (len(raw) % 2)
    vr = dataset[tag].VR
    marker = bytes(f"@@{rng_free_marker(tag)}@@", "ascii")
    dataset[tag] = pydicom.DataElement(tag, "OB" if vr in ("OW", "OB") else "UN", marker + b"@" * (len(marker) % 2))
    dataset[tag].is_undefined_length = False
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    written = target.getvalue()
    at = written.index(marker) - 12
    length = len(marker) + len(marker) % 2
    short = vr not in ("OB", "OW", "UN", "SQ", "UT", "UC", "UR")
    head = written[at : at + 4] + vr.encode()
    head += len(raw).to_bytes(2, "little") if short else b"\0\0" + len(raw).to_bytes(4, "little")
    return written[:at] + head + raw + written[at + 12 + length :]


def rng_free_marker(tag: Any) -> str:
    """A value that occurs nowhere else in the file."""
    return f"fuzz-{int(tag):08x}"
