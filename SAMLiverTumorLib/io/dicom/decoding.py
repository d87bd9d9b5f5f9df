"""Stored values out of pixel data: uncompressed by numpy, compressed by GDCM."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

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


def native(dataset, allocated: int) -> np.ndarray:
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


def split(dataset, count: int) -> list[bytes]:
    """The compressed images of a file, each as pixel data of a file of its own.

    Put together anew even where there is one: in damaged pixel data GDCM looks for the next part for half a minute.
    """
    from pydicom import encaps

    # pydicom 3 has generate_frames, pydicom 2.4 the other
    generate = getattr(encaps, "generate_frames", None)
    if generate is not None:
        parts = generate(dataset.PixelData, number_of_frames=count)
    else:
        parts = encaps.generate_pixel_data_frame(dataset.PixelData, count)
    return [encaps.encapsulate([part]) for part in parts]


def decompressed(dataset, syntax, data: bytes) -> np.ndarray:
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
