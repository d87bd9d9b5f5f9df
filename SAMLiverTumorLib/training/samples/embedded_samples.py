"""Embedded pictures on the disk: a picture is encoded once, and a training that goes over it again only reads."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.training.samples.slice_images import Picture

FRAME = 512
"""Edge of the square grid on which masks are compared while training; it covers the network's whole input.

Half of SAM's 1024 and twice its 256 x 256 logits: a CT slice of 512 x 512 is compared at its own resolution.
"""


@dataclass(frozen=True)
class Sample:
    """A picture in the store; its arrays are read when asked for, so memory does not grow with their number.

    :param case: the patient.
    :param name: for messages.
    :param numbers: of the lesions in it.
    :param embedding_path: float16 (256, 64, 64), or what comes before the encoder's last stage where that learns; no
        file where all of the encoder does.
    :param content_path: lesions, liver and the picture itself.
    """

    case: str
    name: str
    numbers: tuple[int, ...]
    embedding_path: Path
    content_path: Path

    def embedding(self) -> np.ndarray:
        """Float16 (1, 256, 64, 64), or what comes before the encoder's last stage."""
        return np.load(self.embedding_path)[None]

    def lesions(self) -> np.ndarray:
        """Numbers of the lesions, uint8 (FRAME, FRAME)."""
        return self._content("lesions")

    def liver(self) -> np.ndarray | None:
        """Bool (FRAME, FRAME); None where the labels have no liver."""
        liver = self._content("liver")
        return liver if liver.size else None

    def rgb(self) -> tuple[np.ndarray, tuple[float, float]]:
        """The picture, uint8 (rows, columns, 3), and millimeters per pixel along (rows, columns)."""
        return self._content("rgb"), tuple(self._content("spacing").tolist())

    def _content(self, name: str) -> np.ndarray:
        with np.load(self.content_path) as content:
            return content[name]


class SampleStore:
    """Samples in a folder, named by what they show and by the encoder, so that several runs can share it.

    :param folder: made if it is not there.
    :param encoder: names the encoder's weights and input, 64 hexadecimal digits say.
    :param resize: as `ModelInfo.resize`.
    :param encode: picture and spacing to a float16 array, as `Sample.embedding_path` says; None where nothing is to be
        encoded.
    """

    def __init__(
        self,
        folder: Path,
        encoder: str,
        resize: str,
        encode: Callable[[np.ndarray, tuple[float, float]], np.ndarray] | None,
    ) -> None:
        self.folder = Path(folder)
        self._encoder, self._resize, self._encode = encoder, resize, encode
        self.encoded = 0
        """Number of pictures that had to be encoded."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Folder '{folder}' cannot be made ({error.strerror}); choose another.") from error

    def add(self, picture: Picture) -> Sample:
        """Encode and keep a picture, unless it is here already; a damaged file is made again.

        :raises OutputError: the disk is full, or refuses.
        """
        lesions, liver = in_frame(picture, self._resize)
        name = f"{picture.digest[:32]}-{self._encoder[:16]}"
        embedding = self.folder / f"{name}.npy"
        content = self.folder / f"{picture.digest[:32]}-{_short_digest(lesions, liver)}.npz"
        if self._encode is not None and not _is_whole(embedding):
            encoded = self._encode(picture.rgb, picture.spacing)
            self.encoded += 1
            _save(embedding, lambda file: np.save(file, encoded))
        if not _is_whole(content):
            arrays = {"lesions": lesions, "liver": liver, "rgb": picture.rgb, "spacing": np.array(picture.spacing)}
            _save(content, lambda file: np.savez_compressed(file, **arrays))
        numbers = tuple(int(n) for n in np.unique(lesions) if n)
        return Sample(picture.case, picture.name, numbers, embedding, content)

    def add_made(self, recipe: str, case: str, make: Callable[[], Picture]) -> Sample:
        """As `add` for a picture that takes time to make: where it was made before, it is not made again.

        :param recipe: tells all that the picture depends on.
        :param case: the patient, whose name the folder does not keep: several runs may share it.
        """
        key = hashlib.sha256(f"{recipe} {self._encoder} {self._resize}".encode()).hexdigest()
        path = self.folder / f"recipe-{key[:32]}.json"
        if path.is_file():
            try:
                told = parse_json(path.read_text(encoding="utf-8"))
                sample = Sample(
                    case,
                    case + told["picture"],
                    tuple(told["numbers"]),
                    self.folder / told["embedding"],
                    self.folder / told["content"],
                )
            except (ValueError, KeyError, TypeError):
                sample = None  # cut off: as if it were not there
            if sample is not None and self._is_kept(sample):
                return sample
        sample = self.add(make())
        told = {
            "picture": sample.name.removeprefix(case),
            "numbers": sample.numbers,
            "embedding": sample.embedding_path.name,
            "content": sample.content_path.name,
        }
        _save(path, lambda file: file.write(json.dumps(told).encode()))
        return sample

    def _is_kept(self, sample: Sample) -> bool:
        return _is_whole(sample.content_path) and (self._encode is None or _is_whole(sample.embedding_path))


def in_frame(picture: Picture, resize: str) -> tuple[np.ndarray, np.ndarray]:
    """Lesions (uint8) and liver (bool, empty where there is none) of a picture on the frame, nearest pixel."""
    geometry = input_geometry(picture.lesions.shape, picture.spacing, FRAME, resize)
    rows, columns = (
        np.minimum(((np.arange(filled) + 0.5) * size / filled).astype(int), size - 1)
        for filled, size in zip(geometry.resized, geometry.shape, strict=True)
    )
    lesions = np.zeros((FRAME, FRAME), np.uint8)
    lesions[: len(rows), : len(columns)] = picture.lesions[np.ix_(rows, columns)]
    if picture.liver is None:
        return lesions, np.zeros((0, 0), bool)
    liver = np.zeros((FRAME, FRAME), bool)
    liver[: len(rows), : len(columns)] = picture.liver[np.ix_(rows, columns)]
    return lesions, liver


def _short_digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.packbits(array) if array.dtype == bool else array)
    return digest.hexdigest()[:16]


def _is_whole(path: Path) -> bool:
    """Whether a file is there to its end; a disk that failed, or a copy that was cut off, leaves the beginning."""
    if path.suffix == ".npz":
        return zipfile.is_zipfile(path)
    try:
        return np.load(path, mmap_mode="r").ndim > 0
    except (OSError, ValueError, EOFError):
        return False


def _save(path: Path, write: Callable) -> None:
    """Whole or not at all, also where two runs write the same."""
    try:
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(number, "wb") as file:
                write(file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"'{path.parent}' cannot be written ({error.strerror}); free some space there, or choose another folder "
            "with --cache. What was encoded so far is kept."
        ) from error
