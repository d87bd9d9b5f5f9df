"""DICOM files for tests, written with pydicom: a CT of a few small slices, and whatever is to be wrong with it."""

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume

ROWS, COLUMNS = 12, 10
# Position of the first pixel of the first slice (LPS, mm), pixel spacing (rows, columns), distance of slices.
ORIGIN, SPACING, STEP = (-30.0, -12.5, 100.0), (0.8, 0.6), 2.5
STUDY, SERIES, FRAME_OF_REFERENCE = generate_uid(), generate_uid(), generate_uid()


def stored(k):
    """Stored values of slice k, (rows, columns): different at every pixel and slice, as unsigned 12 bits hold them."""
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 7 + k * 900 + 100).astype(np.uint16) % 4096


def expected(count, slope=1.0, intercept=-1024.0):
    """HU (k, j, i) of so many slices."""
    return np.stack([stored(k).astype(float) * slope + intercept for k in range(count)])


def dataset(k, **tags):
    """Slice k as a CT image, with other tags, by keyword, where given; None leaves a tag out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "FrameOfReferenceUID": FRAME_OF_REFERENCE,
        "Modality": "CT",
        "SeriesNumber": 3,
        "SeriesDescription": "Portal venous",
        "InstanceNumber": k + 1,
        "ImagePositionPatient": [ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP * k],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": list(SPACING),
        "SliceThickness": STEP,
        "Rows": ROWS,
        "Columns": COLUMNS,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": stored(k).tobytes(),
        **tags,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(image, keyword, value.tobytes() if isinstance(value, np.ndarray) else value)
    if "PixelData" in image:
        image["PixelData"].VR = "OW"
    image.file_meta.MediaStorageSOPClassUID = image.get("SOPClassUID", CTImageStorage)
    return image


def write_series(folder, count=5, names="IM{:04d}", change=None, **tags):
    """Write so many slices into a folder; `change(k)` gives the tags of slice k that are other than usual."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        dataset(k, **{**tags, **(change(k) if change else {})}).save_as(folder / names.format(k))
    return folder


def affine(step=STEP, origin=ORIGIN):
    """What ijk to RAS has to be."""
    x, y, z = origin
    return np.array([[-SPACING[1], 0, 0, -x], [0, -SPACING[0], 0, -y], [0, 0, step, z], [0, 0, 0, 1]])


def write_enhanced(path, count=5, order=None, **tags):
    """An enhanced CT of so many frames, in the given order of slices; `slopes` gives each its own rescale."""
    slopes = tags.pop("slopes", [1] * count)
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(SPACING), STEP
    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    frames = []
    for k in order or range(count):
        frame, position, transform = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP * k]
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = slopes[k], -1024, "HU"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([transform])
        frames.append(frame)
    without = dict.fromkeys(
        ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope")
    )
    image = dataset(
        0,
        **{
            "SOPClassUID": EnhancedCTImageStorage,
            "NumberOfFrames": count,
            "RescaleIntercept": None,
            "SharedFunctionalGroupsSequence": Sequence([shared]),
            "PerFrameFunctionalGroupsSequence": Sequence(frames),
            "PixelData": np.stack([stored(k) for k in order or range(count)]).tobytes(),
            **without,
            **tags,
        },
    )
    image.save_as(path)
    return path


def compressed(image, syntax):
    """A data set compressed by pydicom (RLE, or JPEG-LS where pyjpegls is installed)."""
    image.compress(syntax, generate_instance_uid=False)
    return image


def reread(path):
    """A file as pydicom reads it."""
    return pydicom.dcmread(path, force=True)


def at(z, across=0.0, down=0.0):
    return {"ImagePositionPatient": [ORIGIN[0] + across, ORIGIN[1] + down, round(ORIGIN[2] + z, 4)]}


def same(read, count=5):
    """Whether a series was read as the volume of so many slices that was written."""
    assert (read.volume.array == expected(count)).all()
    assert read.volume.ijk_to_ras == pytest.approx(affine(), abs=1e-6)
    return True


def in_file(folder, keyword, vr, text):
    """Put bytes into each file as they are, whatever their VR wants."""
    tag, value = Tag(keyword), text.encode()
    value += b" " * (len(value) % 2)
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        image[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True, True)
        image.save_as(file)
    return folder


def refused(path, capfd, series=None):
    """What is said where a path is refused: one line, and nothing on the console."""
    with pytest.raises(InputError) as caught:
        read_volume(path, series)
    assert capfd.readouterr() == ("", "")
    told = str(caught.value)
    assert "\n" not in told
    return told


def position(k, across=0.0, down=0.0, step=STEP):
    """The position of slice k, moved within its plane."""
    return [ORIGIN[0] + across, ORIGIN[1] + down, ORIGIN[2] + step * k]
