"""Slice images and their embeddings on disk: each is encoded once, and later epochs only read it."""

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
from SAMLiverTumorLib.training.samples.slice_images import SliceImage

FRAME = 512
"""Edge in pixels of the square grid on which losses are computed; it covers the network's whole input.

That is half of SAM's 1024 and twice its 256 x 256 logits, so a CT slice of 512 x 512 keeps its own resolution.
"""


@dataclass(frozen=True)
class Sample:
    """A slice image in the store. Arrays are read on demand, so memory does not grow with the number of samples.

    :param case: the patient.
    :param name: for messages.
    :param numbers: of its lesions.
    :param embedding_path: float16 (256, 64, 64), or the input of the encoder's last stage if that learns. There is no
        file if the whole encoder learns.
    :param content_path: lesions, liver and the slice image itself.
    """

    case: str
    name: str
    numbers: tuple[int, ...]
    embedding_path: Path
    content_path: Path

    def embedding(self) -> np.ndarray:
        """Float16 (1, 256, 64, 64), or the input of the encoder's last stage."""
        return np.load(self.embedding_path)[None]

    def lesions(self) -> np.ndarray:
        """Numbers of the lesions, uint8 (FRAME, FRAME)."""
        return self._content("lesions")

    def liver(self) -> np.ndarray | None:
        """Bool (FRAME, FRAME); None if the labels have no liver."""
        liver = self._content("liver")
        return liver if liver.size else None

    def rgb(self) -> tuple[np.ndarray, tuple[float, float]]:
        """The slice image, uint8 (rows, columns, 3), and millimeters per pixel along (rows, columns)."""
        return self._content("rgb"), tuple(self._content("spacing").tolist())

    def _content(self, name: str) -> np.ndarray:
        with np.load(self.content_path) as content:
            return content[name]


class SampleStore:
    """Samples in a folder, in files named by content and encoder, so that several runs can share the folder.

    :param folder: created if missing.
    :param encoder: identifies the encoder's weights and input, for example by 64 hexadecimal digits.
    :param resize: as `ModelInfo.resize`.
    :param encode: maps slice image and spacing to a float16 array, see `Sample.embedding_path`; None to encode nothing.
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
        """Number of slice images that had to be encoded."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Folder '{folder}' cannot be created ({error.strerror}); choose another.") from error

    def add(self, image: SliceImage) -> Sample:
        """Encode and store a slice image, unless the store has it already; a damaged file is written again.

        :raises OutputError: the disk is full or cannot be written.
        """
        lesions, liver = in_frame(image, self._resize)
        name = f"{image.digest[:32]}-{self._encoder[:16]}"
        embedding = self.folder / f"{name}.npy"
        content = self.folder / f"{image.digest[:32]}-{_short_digest(lesions, liver)}.npz"
        if self._encode is not None and not _is_complete(embedding):
            encoded = self._encode(image.rgb, image.spacing)
            self.encoded += 1
            _save(embedding, lambda file: np.save(file, encoded))
        if not _is_complete(content):
            arrays = {"lesions": lesions, "liver": liver, "rgb": image.rgb, "spacing": np.array(image.spacing)}
            _save(content, lambda file: np.savez_compressed(file, **arrays))
        numbers = tuple(int(n) for n in np.unique(lesions) if n)
        return Sample(image.case, image.name, numbers, embedding, content)

    def add_from_recipe(self, recipe: str, case: str, make: Callable[[], SliceImage]) -> Sample:
        """As `add`, for a slice image that takes time to make: `make` is called only if the store lacks it.

        :param recipe: names everything that the slice image depends on.
        :param case: the patient; the folder does not hold the name, since several runs may share it.
        """
        key = hashlib.sha256(f"{recipe} {self._encoder} {self._resize}".encode()).hexdigest()
        path = self.folder / f"recipe-{key[:32]}.json"
        if path.is_file():
            try:
                record = parse_json(path.read_text(encoding="utf-8"))
                sample = Sample(
                    case,
                    case + record["picture"],
                    tuple(record["numbers"]),
                    self.folder / record["embedding"],
                    self.folder / record["content"],
                )
            except (ValueError, KeyError, TypeError):
                sample = None  # cut off: treated as missing
            if sample is not None and self._is_stored(sample):
                return sample
        sample = self.add(make())
        record = {
            "picture": sample.name.removeprefix(case),
            "numbers": sample.numbers,
            "embedding": sample.embedding_path.name,
            "content": sample.content_path.name,
        }
        _save(path, lambda file: file.write(json.dumps(record).encode()))
        return sample

    def _is_stored(self, sample: Sample) -> bool:
        return _is_complete(sample.content_path) and (self._encode is None or _is_complete(sample.embedding_path))


def in_frame(image: SliceImage, resize: str) -> tuple[np.ndarray, np.ndarray]:
    """Lesions (uint8) and liver (bool, empty if there is none) of a slice image on the frame, by nearest pixel."""
    geometry = input_geometry(image.lesions.shape, image.spacing, FRAME, resize)
    rows, columns = (
        np.minimum(((np.arange(filled) + 0.5) * size / filled).astype(int), size - 1)
        for filled, size in zip(geometry.resized, geometry.shape, strict=True)
    )
    lesions = np.zeros((FRAME, FRAME), np.uint8)
    lesions[: len(rows), : len(columns)] = image.lesions[np.ix_(rows, columns)]
    if image.liver is None:
        return lesions, np.zeros((0, 0), bool)
    liver = np.zeros((FRAME, FRAME), bool)
    liver[: len(rows), : len(columns)] = image.liver[np.ix_(rows, columns)]
    return lesions, liver


def _short_digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.packbits(array) if array.dtype == bool else array)
    return digest.hexdigest()[:16]


def _is_complete(path: Path) -> bool:
    """Whether a file is complete; a failed disk or an interrupted copy leaves only its beginning."""
    if path.suffix == ".npz":
        return zipfile.is_zipfile(path)
    try:
        return np.load(path, mmap_mode="r").ndim > 0
    except (OSError, ValueError, EOFError):
        return False


def _save(path: Path, write: Callable) -> None:
    """Write a file atomically, even if two runs write the same one."""
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
