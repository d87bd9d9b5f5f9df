"""Pixels of DICOM images in Hounsfield units, or whatever the modality's units are."""

from __future__ import annotations

import math
import warnings
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.decoding import decompressed, native, split
from SAMLiverTumorLib.io.dicom.parse import read_dataset
from SAMLiverTumorLib.io.dicom.slices.frames import Frame
from SAMLiverTumorLib.io.dicom.slices.header_values import number_of

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.dicom.geometry import Arranged

# No scanner makes larger pictures; damaged headers name them, and a small compressed file may then fill the memory.
_MOST_PIXELS = 1 << 24
_MOST_VOXELS = 1 << 31

AIR = -1000.0
"""HU."""


@dataclass
class Remarks:
    """What was done to pixels.

    :param darkened: padding pixels that were made dark.
    :param beyond: pixels whose bits beyond those stored were left out.
    :param unsigned, signed: images that do not say whether they have a sign, by how they were read.
    """

    darkened: int = 0
    beyond: int = 0
    unsigned: int = 0
    signed: int = 0

    def __add__(self, other: Remarks) -> Remarks:
        return Remarks(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Pixels:
    """Values of images, file by file; the last file is kept, since one may hold many images."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._dataset: Any = None
        self._native: np.ndarray | None = None
        self._compressed: list[bytes] | None = None
        self._remarks = Remarks()
        #: The file whose header does not say whether values have a sign.
        self._unsaid: Path | None = None

    def values(self, frame: Frame) -> tuple[np.ndarray, Remarks]:
        """An image's values, shape (rows, columns), and what was done to how many of them.

        Padding, which scanners put outside of their round field of view, is no measurement. Where it would shine
        brighter than air, it gets air's value (in MR the image's least); else it stays.

        :return: int16 or int32 where slope and intercept are whole numbers, else float32.
        :raises InputError: naming the file, if its pixels are not all there or cannot be decoded.
        """
        self._remarks = Remarks()
        stored, padding = _guarded(frame, lambda: self._stored(frame, self._open(frame)))
        slope = 1.0 if frame.slope is None else frame.slope
        intercept = 0.0 if frame.intercept is None else frame.intercept
        if frame.has_lookup_table:
            raise InputError(f"'{frame.name}' maps its values by a table, which is not read; export it rescaled.")
        if slope == 0:
            raise InputError(f"'{frame.name}' has a rescale slope of 0, which makes all values the same.")
        values = stored.astype(np.float64) * slope + intercept
        if padding is not None:
            self._remarks.darkened = _darken(values, padding, frame.modality)
        if float(slope).is_integer() and float(intercept).is_integer():
            least, most = values.min(), values.max()
            if least >= -(1 << 15) and most < 1 << 15:
                return values.astype(np.int16), self._remarks
            if least >= -(1 << 31) and most < 1 << 31:
                return values.astype(np.int32), self._remarks
        return values.astype(np.float32), self._remarks

    def same(self, one: Frame, other: Frame) -> bool:
        """Whether two images have the same values at every pixel."""
        return np.array_equal(self.values(one)[0], self.values(other)[0])

    def _open(self, frame: Frame):
        if self._file != frame.file:
            self._file = self._native = self._compressed = None
            self._dataset = read_dataset(frame.file, force=True)
            _complete(self._dataset, frame)
            self._file = frame.file
        return self._dataset

    def _stored(self, frame: Frame, dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored values as numbers, shape (rows, columns), and which are padding (None: the header names none)."""
        if frame.rows * frame.columns > _MOST_PIXELS:
            raise InputError(f"'{frame.name}' claims {frame.columns} x {frame.rows} pixels; it is damaged.")
        if "PixelData" not in dataset:
            raise InputError(f"'{frame.file}' is damaged: it has no pixels; copy it again.")
        if "PixelRepresentation" not in dataset:
            dataset.PixelRepresentation = _has_sign(dataset)
            self._unsaid = frame.file
        if self._unsaid == frame.file:
            self._remarks.signed = int(dataset.PixelRepresentation)
            self._remarks.unsigned = 1 - self._remarks.signed
        allocated = int(dataset.BitsAllocated)
        if allocated not in (8, 16, 32):
            raise InputError(f"'{frame.name}' has {allocated} bits per pixel; 8, 16 or 32 are read.")
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is not None and syntax.is_compressed and not syntax.is_deflated:
            if self._compressed is None:
                self._compressed = split(dataset, frame.frames)
            if len(self._compressed) != frame.frames:
                there = f"{len(self._compressed)} of {frame.frames} frames are there"
                raise InputError(f"'{frame.file}' is damaged: {there}; copy it again.")
            data = self._compressed[frame.index]
            stored = decompressed(dataset, syntax, data)
            padding = _padding(stored, dataset)
        else:
            if self._native is None:
                self._native = native(dataset, allocated)
            words = self._native.reshape(-1, frame.rows, frame.columns)[frame.index]
            padding = _padding(words, dataset)
            stored, self._remarks.beyond = _within_bits(words, padding, frame, dataset)
        if stored.shape != (frame.rows, frame.columns):
            raise InputError(f"'{frame.name}' is damaged: its picture is not {frame.columns} x {frame.rows} pixels.")
        return stored, padding


def check_size(arranged: Arranged, folder: str) -> None:
    """Refuse a volume that no memory holds.

    :raises InputError: naming its size.
    """
    voxels = math.prod(arranged.dimensions)
    if voxels > _MOST_VOXELS:
        raise InputError(f"The DICOM series in '{folder}' has {voxels:,} voxels; at most {_MOST_VOXELS:,} are read.")


def _guarded(frame: Frame, read):
    """What `read` returns, without pydicom's warnings.

    :raises InputError: whatever goes wrong: pydicom and its decoders answer damaged bytes with any kind of exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except (InputError, MemoryError):
        raise
    except Exception as error:
        last = ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]
        raise InputError(f"'{frame.file}' is damaged: {last.rstrip('.')}; copy it again.") from error


def _padding(words: np.ndarray, dataset) -> np.ndarray | None:
    """Which stored values say that nothing was measured; None where the header names no such value."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    # some headers give it as signed where pixels are unsigned, or the other way round: the bits count
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = np.array([int(value), int(value if limit is None else limit)]).astype(words.dtype)
    return (words >= ends.min()) & (words <= ends.max())


def _within_bits(words: np.ndarray, padding: np.ndarray | None, frame: Frame, dataset) -> tuple[np.ndarray, int]:
    """The values of which only some of the allocated bits are used, and in how many pixels the others say otherwise.

    Bits beyond those stored mean nothing (PS3.5, 8.1.1), but that a known overlay is not worth a word, and that padding
    which a header names is compared with all of them.
    """
    allocated = int(dataset.BitsAllocated)
    used = int(dataset.get("BitsStored") or allocated)
    high = int(dataset.get("HighBit", used - 1))
    if used == allocated:
        return words, 0
    if not used <= high + 1 <= allocated:
        raise InputError(f"'{frame.name}' is damaged: its pixels use {used} bits up to bit {high} of {allocated}.")
    kept = (words << (allocated - 1 - high)) >> (allocated - used)
    # an overlay of its own has bit position 0; older ones use the bits that the image leaves
    overlays = any(getattr(dataset.get((group, 0x0102)), "value", 0) for group in range(0x6000, 0x6020, 2))
    if overlays or high != used - 1:
        return kept, 0
    changed = kept != words
    if words.dtype.kind == "i":  # a sign that was not carried on to the unused bits
        changed &= (words < 0) | (words >= 1 << used)
    if padding is not None:
        kept = np.where(padding, words, kept)
        changed &= ~padding
    return kept, int(np.count_nonzero(changed))


def _complete(dataset, frame: Frame) -> None:
    """Put in what decoders ask for, where the header lacks it and the pixels say it, or says it in a text."""
    count = frame.rows * frame.columns * frame.frames * frame.samples
    if "BitsAllocated" not in dataset and "PixelData" in dataset and len(dataset.PixelData) // count in (1, 2, 4):
        dataset.BitsAllocated = 8 * (len(dataset.PixelData) // count)
    if "SamplesPerPixel" not in dataset:
        dataset.SamplesPerPixel = frame.samples
    if "PhotometricInterpretation" not in dataset:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if number_of(dataset, "NumberOfFrames")[0] != frame.frames and "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = frame.frames


def _has_sign(dataset) -> int:
    """1 where values of an image that does not say so can only be signed: its padding is, or words are half full.

    No scanner stores CT numbers of 31,000 HU and more.
    """
    padding = dataset.get_item("PixelPaddingValue")
    if padding is not None and padding.VR == "SS":
        return 1
    used, allocated = dataset.get("BitsStored"), dataset.get("BitsAllocated")
    if used != allocated or allocated != 16:
        return 0
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None and syntax.is_compressed and not syntax.is_deflated:
        return 0
    data = dataset.PixelData
    return int((np.frombuffer(data[: len(data) // 2 * 2], "<u2") >= 1 << 15).any())


def _darken(values: np.ndarray, padding: np.ndarray, modality: str) -> int:
    """Padding brighter than air (CT), or than the least measured value, gets that value; how many pixels that were."""
    if not padding.any():
        return 0
    measured = values[~padding]
    dark = AIR if modality == "CT" else measured.min() if measured.size else 0.0
    bright = padding & (values > dark)
    values[bright] = dark
    return int(np.count_nonzero(bright))
