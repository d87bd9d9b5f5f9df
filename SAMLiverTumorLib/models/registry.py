"""`models.json`: which models exist, how each wants its image and prompts, and where its weights come from.

>>> get_model("lite-medsam").prompts
frozenset({'box'})
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.io.json_text import parse_json

REGISTRY_PATH = Path(__file__).with_name("models.json")

INPUT_SIZES = {"pyramid": (512,), "tiny_vit": (256, 1024), "vit_b": (1024,), "vit_l": (1024,), "vit_h": (1024,)}
"""Image encoders, and the edges of the square inputs that each is made for."""

ARCHITECTURES = tuple(INPUT_SIZES)
_CHOICES = {
    "architecture": ARCHITECTURES,
    "input_size": (256, 512, 1024),
    "normalization": ("sam", "unit", "liver"),
    "resize": ("longest", "square", "native"),
    "channels": ("single", "slices"),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class BundledSource:
    """A file of the repository.

    :param path: relative to the repository's top folder.
    """

    path: str

    def __str__(self) -> str:
        return f"the file {self.path} of the extension"


@dataclass(frozen=True)
class PackageSource:
    """One member of a Python package's archive, fetched with pip's settings; no code of the package is run.

    :param name: name of the package.
    :param version: the exact version.
    :param archive: "wheel" or "sdist".
    :param member: path of the file inside the archive.
    """

    name: str
    version: str
    archive: str
    member: str

    def __str__(self) -> str:
        return f"the Python package {self.name} {self.version} (through pip, without running any of its code)"


@dataclass(frozen=True)
class UrlSource:
    """A file on a web server.

    :param url: https; http is allowed on the loopback interface only.
    """

    url: str

    def __post_init__(self) -> None:
        check_url(self.url)

    def __str__(self) -> str:
        return str(urlsplit(self.url).hostname)


Source = BundledSource | PackageSource | UrlSource
_SOURCE_KINDS = {"bundled": BundledSource, "package": PackageSource, "https": UrlSource}


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model before its weights are opened.

    :param id: name for the command line and the panel.
    :param title: name for people.
    :param architecture: image encoder: "pyramid", "tiny_vit", "vit_b", "vit_l" or "vit_h".
    :param input_size: pixels along the side of the network's square input.
    :param prompts: the kinds of prompts that the model was trained for: some of "points", "box", "mask", "text".
    :param normalization: "sam" (mean and deviation of ImageNet on 0..255), "unit" (the image's own minimum
        and maximum to 0..1) or "liver" (the grey of liver in the wide window to about 0).
    :param resize: "longest" (longest side to `input_size`, zeros below and to the right), "square" (stretched) or
        "native" ("longest", but not magnified beyond usual pixels).
    :param channels: what its three channels show where the user chose nothing: "single", the slice three times, or
        "slices", the slices some millimeters below, at and above; see `image.rgb.plane_to_rgb`.
    :param file_name: name of the weight file in the store.
    :param size: bytes of the weight file.
    :param sha256: of the weight file, 64 lower-case hexadecimal digits.
    :param licence: SPDX identifier of the weights' licence.
    :param citation: what to cite when the model was used.
    :param notes: training data and anything a user should know.
    :param sources: where the weights come from, in the order of trial; the store's own folder always comes first.
    :param default_window: preset of the HU window that suits the model where the user chose none.
    :param concepts: what text can name, where "text" is among the prompts.
    :param open_text: whether text can be any phrase, of which `concepts` were trained; see `clip_text.py`.
    :param preferred_for: kinds of prompts that "auto" takes it for, some of `prompts`.
    """

    id: str
    title: str
    architecture: str
    input_size: int
    prompts: frozenset[str]
    normalization: str
    resize: str
    file_name: str
    size: int
    sha256: str
    licence: str
    citation: str
    notes: str
    sources: tuple[Source, ...]
    default_window: str = "wide"
    concepts: tuple[str, ...] = ()
    open_text: bool = False
    preferred_for: frozenset[str] = frozenset()
    channels: str = "single"

    @property
    def is_downloadable(self) -> bool:
        """Whether the weights can be had from the network, and not with the extension alone."""
        return not all(isinstance(source, BundledSource) for source in self.sources)


def load_registry(path: Path | None = None) -> dict[str, ModelInfo]:
    """All models, in the file's order.

    :param path: a file in the form of `models.json`; None for the one of this package.
    :raises ModelError: the file cannot be read, or an entry is malformed.
    """
    return dict(_published()) if path is None else _read(Path(path))


@cache
def _published() -> dict[str, ModelInfo]:
    # the panel asks several times with each of its updates
    return _read(REGISTRY_PATH)


def _read(path: Path) -> dict[str, ModelInfo]:
    try:
        entries = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The model registry {path} cannot be read: {error}") from error
    if not isinstance(entries, dict):
        raise ModelError(f"The model registry {path} must be an object of models by id.")
    models = {}
    for model_id, entry in entries.items():
        try:
            models[model_id] = _parse(model_id, entry)
        except (KeyError, TypeError, ValueError, ModelError) as error:
            raise ModelError(f"Model '{model_id}' in {path} is malformed: {error}") from error
    return models


def get_model(model_id: str) -> ModelInfo:
    """The model of that id.

    :raises ModelError: no such model; the text lists the known ones.
    """
    registry = load_registry()
    if model_id not in registry:
        raise ModelError(f"There is no model '{model_id}'. Known models: {', '.join(registry)}.")
    return registry[model_id]


def check_url(url: str) -> None:
    """Accept https, and http on the loopback interface.

    :raises ModelError: any other scheme, http to another host, or no host at all.
    """
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        return
    raise ModelError(f"{url!r} is refused: weights are taken from https addresses only.")


def _parse(model_id: str, entry: dict[str, Any]) -> ModelInfo:
    values = {**entry, "id": model_id}
    known = {field.name for field in fields(ModelInfo)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown field {unknown[0]!r}")
    values["prompts"] = frozenset(values["prompts"])
    values["concepts"] = tuple(values.get("concepts", ()))
    check_use({"default_window": "wide", "channels": "single", **values}, values["prompts"], values["concepts"])
    values["preferred_for"] = frozenset(values.get("preferred_for", ()))
    if not values["preferred_for"] <= values["prompts"]:
        raise ValueError("preferred_for must be some of its prompts")
    if ("text" in values["prompts"]) != bool(values["concepts"]):
        raise ValueError("concepts are what a model with 'text' among its prompts can name")
    if not re.fullmatch("[0-9a-f]{64}", values["sha256"]):
        raise ValueError("sha256 must be 64 lower-case hexadecimal digits")
    if not isinstance(values["size"], int) or values["size"] <= 0:
        raise ValueError("size must be a positive number of bytes")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", values["file_name"]):
        raise ValueError("file_name must be a plain file name")
    values["sources"] = tuple(_parse_source(source) for source in values["sources"])
    return ModelInfo(**values)


def check_use(values: Mapping[str, Any], prompts: frozenset[str], concepts: tuple[str, ...]) -> None:
    """Check the fields on a model's use, of a registry entry or of a weight file's header.

    :raises KeyError: something is missing.
    :raises ValueError: something is not among the choices.
    """
    for name, choices in _CHOICES.items():
        if values[name] not in choices or isinstance(values[name], bool):
            raise ValueError(f"{name} is {values[name]!r}, not one of {choices}")
    if values["input_size"] not in INPUT_SIZES[values["architecture"]]:
        raise ValueError(f"there is no {values['architecture']} for {values['input_size']} pixels")
    for name in ("title", "default_window", "licence", "citation", "notes"):
        if not isinstance(values[name], str):
            raise ValueError(f"{name} must be a text")
    if not prompts or not prompts <= {"points", "box", "mask", "text"}:
        raise ValueError("prompts must be some of 'points', 'box', 'mask' and 'text'")
    if not all(isinstance(concept, str) for concept in concepts):
        raise ValueError("concepts must be texts")


def _parse_source(entry: dict[str, str]) -> Source:
    values = dict(entry)
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError("a source consists of texts")
    kind = values.pop("kind")
    if kind not in _SOURCE_KINDS:
        raise ValueError(f"source kind is {kind!r}, not one of {tuple(_SOURCE_KINDS)}")
    source = _SOURCE_KINDS[kind](**values)
    if isinstance(source, PackageSource) and source.archive not in ("wheel", "sdist"):
        raise ValueError(f"archive is {source.archive!r}, not 'wheel' or 'sdist'")
    if isinstance(source, BundledSource):
        path = PurePosixPath(source.path)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{source.path!r} leaves the repository")
    return source
