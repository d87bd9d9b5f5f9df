"""Pixels of DICOM images in Hounsfield units, or whatever the modality's units are."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import Frame
from SAMLiverTumorLib.io.dicom.parse import read_dataset

# No scanner makes larger pictures; damaged headers name them, and a small compressed file may then fill the memory.
_MOST_PIXELS = 1 << 24
_MOST_VOXELS = 1 << 31

# What of a header GDCM needs to decode one compressed image.
_PIXEL_TAGS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
)

# HU.
_AIR = -1000.0


class Pixels:
    """Values of images, file by file; the last file is kept, since one may hold many images."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._dataset: Any = None
        self._native: np.ndarray | None = None
        self._compressed: list[bytes] | None = None

    def values(self, frame: Frame) -> tuple[np.ndarray, int]:
        """An image's values, shape (rows, columns), and how many padding pixels among them were made dark.

        Padding, which scanners put outside of their round field of view, is no measurement. Where it would shine
        brighter than air, it gets air's value (in MR the image's least); else it stays.

        :return: int16 or int32 where slope and intercept are whole numbers, else float32.
        :raises InputError: naming the file, if its pixels are not all there or cannot be decoded.
        """
        stored, padding = _guarded(frame, lambda: self._stored(frame, self._open(frame)))
        slope = 1.0 if frame.slope is None else frame.slope
        intercept = 0.0 if frame.intercept is None else frame.intercept
        if frame.has_lookup_table:
            raise InputError(f"'{frame.name}' maps its values by a table, which is not read; export it rescaled.")
        if slope == 0:
            raise InputError(f"'{frame.name}' has a rescale slope of 0, which makes all values the same.")
        values = stored.astype(np.float64) * slope + intercept
        darkened = _darken(values, padding, frame.modality) if padding is not None else 0
        if float(slope).is_integer() and float(intercept).is_integer():
            least, most = values.min(), values.max()
            if least >= -(1 << 15) and most < 1 << 15:
                return values.astype(np.int16), darkened
            if least >= -(1 << 31) and most < 1 << 31:
                return values.astype(np.int32), darkened
        return values.astype(np.float32), darkened

    def same(self, one: Frame, other: Frame) -> bool:
        """Whether two images have the same values at every pixel."""
        return np.array_equal(self.values(one)[0], self.values(other)[0])

    def _open(self, frame: Frame):
        if self._file != frame.file:
            self._file = self._native = self._compressed = None
            self._dataset = read_dataset(frame.file, force=True)
            self._file = frame.file
        return self._dataset

    def _stored(self, frame: Frame, dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored values as numbers, shape (rows, columns), and which are padding (None: the header names none)."""
        if frame.rows * frame.columns > _MOST_PIXELS:
            raise InputError(f"'{frame.name}' claims {frame.columns} x {frame.rows} pixels; it is damaged.")
        if "PixelData" not in dataset:
            raise InputError(f"'{frame.file}' is damaged: it has no pixels; copy it again.")
        allocated = int(dataset.BitsAllocated)
        if allocated not in (8, 16, 32):
            raise InputError(f"'{frame.name}' has {allocated} bits per pixel; 8, 16 or 32 are read.")
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is not None and syntax.is_compressed and not syntax.is_deflated:
            if self._compressed is None:
                self._compressed = _split(frame, dataset)
            if len(self._compressed) != frame.frames:
                there = f"{len(self._compressed)} of {frame.frames} frames are there"
                raise InputError(f"'{frame.file}' is damaged: {there}; copy it again.")
            data = self._compressed[frame.index]
            stored = _decompressed(dataset, syntax, data)
            padding = _padding(stored, dataset)
        else:
            if self._native is None:
                self._native = _native(dataset, allocated)
            words = self._native.reshape(-1, frame.rows, frame.columns)[frame.index]
            padding = _padding(words, dataset)
            stored = _within_bits(words, padding, frame, dataset)
        if stored.shape != (frame.rows, frame.columns):
            raise InputError(f"'{frame.name}' is damaged: its picture is not {frame.columns} x {frame.rows} pixels.")
        return stored, padding


def check_size(frames: Sequence[Frame], folder: str) -> None:
    """Refuse a volume that no memory holds.

    :raises InputError: naming its size.
    """
    voxels = len(frames) * frames[0].rows * frames[0].columns
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


def _native(dataset, allocated: int) -> np.ndarray:
    """The uncompressed pixels of a file as they are stored, one after the other, with every bit.

    pydicom's own array leaves out the bits above those stored without a word.
    """
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None:
        little = bool(syntax.is_little_endian)
    elif hasattr(dataset, "original_encoding"):
        little = dataset.original_encoding[1] is not False
    else:  # pydicom before 3
        little = dataset.is_little_endian is not False
    data = dataset.PixelData
    if allocated == 8 and not little and dataset["PixelData"].VR == "OW":  # pairs of bytes are then swapped
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    kind = np.dtype(f"{'<' if little else '>'}{'i' if dataset.PixelRepresentation else 'u'}{allocated // 8}")
    count = int(dataset.get("NumberOfFrames") or 1) * int(dataset.Rows) * int(dataset.Columns)
    there = len(data) // kind.itemsize
    if there < count:
        raise ValueError(f"{there:,} of {count:,} pixels are there")
    return np.frombuffer(data, kind, count).astype(kind.newbyteorder("="), copy=False)


def _split(frame: Frame, dataset) -> list[bytes]:
    """The compressed images of a file, each as pixel data of a file of its own.

    Put together anew even where there is one: in damaged pixel data GDCM looks for the next part for half a minute.
    """
    from pydicom import encaps

    # pydicom 3 has generate_frames, pydicom 2.4 the other
    split = getattr(encaps, "generate_frames", None)
    if split is not None:
        parts = split(dataset.PixelData, number_of_frames=frame.frames)
    else:
        parts = encaps.generate_pixel_data_frame(dataset.PixelData, frame.frames)
    return [encaps.encapsulate([part]) for part in parts]


def _decompressed(dataset, syntax, data: bytes) -> np.ndarray:
    """One compressed image decoded by GDCM, which reads every syntax that Slicer reads.

    It gets a file of its own with nothing but the pixels, so that neither the rescaling nor the geometry that GDCM
    would make of the header comes in.
    """
    import pydicom
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    meta = pydicom.dataset.FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID("1.2.3")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.dcm")
        alone = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
        alone.SOPClassUID = SecondaryCaptureImageStorage
        alone.SOPInstanceUID = "1.2.3"
        for keyword in _PIXEL_TAGS:
            if keyword in dataset:
                setattr(alone, keyword, getattr(dataset, keyword))
        alone.PixelData = data
        alone["PixelData"].VR = "OB"
        alone["PixelData"].is_undefined_length = True
        pydicom.dcmwrite(path, alone)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("GDCMImageIO")
        image = reader.Execute()
        if image.GetNumberOfComponentsPerPixel() > 1:
            raise ValueError("its pixels have several values")
        return sitk.GetArrayFromImage(image)[0]


def _padding(words: np.ndarray, dataset) -> np.ndarray | None:
    """Which stored values say that nothing was measured; None where the header names no such value."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    # some headers give it as signed where pixels are unsigned, or the other way round: the bits count
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = np.array([int(value), int(value if limit is None else limit)]).astype(words.dtype)
    return (words >= ends.min()) & (words <= ends.max())


def _within_bits(words: np.ndarray, padding: np.ndarray | None, frame: Frame, dataset) -> np.ndarray:
    """The values of which only some of the allocated bits are used.

    :raises InputError: the other bits hold what is neither a sign nor a known overlay.
    """
    allocated = int(dataset.BitsAllocated)
    used = int(dataset.get("BitsStored") or allocated)
    high = int(dataset.get("HighBit", used - 1))
    if used == allocated:
        return words
    if not used <= high + 1 <= allocated:
        raise InputError(f"'{frame.name}' is damaged: its pixels use {used} bits up to bit {high} of {allocated}.")
    kept = (words << (allocated - 1 - high)) >> (allocated - used)
    # an overlay of its own has bit position 0; older ones use the bits that the image leaves
    overlays = any(getattr(dataset.get((group, 0x0102)), "value", 0) for group in range(0x6000, 0x6020, 2))
    if overlays or high != used - 1:
        return kept
    changed = kept != words
    if words.dtype.kind == "i":  # a sign that was not carried on to the unused bits
        changed &= (words < 0) | (words >= 1 << used)
    if padding is not None:
        kept = np.where(padding, words, kept)
        changed &= ~padding
    if changed.any():
        raise InputError(
            f"'{frame.name}' has values that do not fit the {used} bits its header names; they cannot be trusted."
        )
    return kept


def _darken(values: np.ndarray, padding: np.ndarray, modality: str) -> int:
    """Padding brighter than air (CT), or than the least measured value, gets that value; how many pixels that were."""
    if not padding.any():
        return 0
    measured = values[~padding]
    dark = _AIR if modality == "CT" else measured.min() if measured.size else 0.0
    bright = padding & (values > dark)
    values[bright] = dark
    return int(np.count_nonzero(bright))
