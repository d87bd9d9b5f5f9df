"""Synthetic patients in the layout of 3D-IRCADb: folders of DICOM files image_0, image_1, ... and their zip files."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SPACING = (0.8, 0.8, 2.0)
"""mm along (i, j, k)."""
ORIGIN = (-20.0, -30.0, 100.0)
"""LPS (mm) of voxel (0, 0, 0)."""
SHAPE = (12, 40, 48)
STUDY, SERIES = generate_uid(), generate_uid()
KINDS = ("PATIENT_DICOM", "LABELLED_DICOM", "MASKS_DICOM")


def boxes(**where):
    """name -> bool (k, j, i), True between two voxels (k, j, i) each; underscores in names stay."""
    masks = {}
    for name, (low, high) in where.items():
        masks[name] = np.zeros(SHAPE, bool)
        masks[name][tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return masks


def usual_masks():
    """Liver, two tumors, a cyst and a portal vein in it, a kidney's neighbor with its own tumor, and skin."""
    return boxes(
        skin=((0, 0, 0), SHAPE),
        liver=((2, 4, 4), (10, 30, 30)),
        livertumor01=((4, 8, 8), (7, 14, 15)),
        livertumor02=((6, 20, 20), (9, 26, 24)),
        liverkyst=((3, 24, 8), (5, 27, 11)),
        portalvein=((5, 14, 16), (8, 17, 26)),
        leftsurretumor=((4, 30, 36), (6, 34, 40)),
    )


def hounsfield(masks):
    """A CT (k, j, i) int16 in which each structure has its own density; every voxel column differs by slice."""
    hu = np.full(SHAPE, -900, np.int16)
    for name, value in (("skin", 20), ("liver", 110), ("livertumor", 40), ("liverkyst", 5), ("portalvein", 160)):
        for folder, mask in masks.items():
            if folder.startswith(name) and not (name == "liver" and folder != "liver"):
                hu[mask] = value
    return hu + np.arange(SHAPE[0], dtype=np.int16)[:, None, None]


def labels_of(masks):
    """Labels as if each structure had been painted over those before it, with values 10, 20, ..."""
    labels = np.zeros(SHAPE, np.int16)
    for n, mask in enumerate(masks.values(), 1):
        labels[mask] = 10 * n
    return labels


@dataclass
class Patient:
    """What is written.

    :param order: file number by slice k; shuffled by default, as the numbers say nothing about the place.
    """

    number: int = 1
    masks: dict = field(default_factory=usual_masks)
    hu: np.ndarray | None = None
    labels: np.ndarray | None = None
    order: tuple = (3, 7, 0, 11, 5, 1, 9, 2, 10, 4, 8, 6)

    @property
    def name(self):
        return f"3Dircadb1.{self.number}"

    def files(self):
        """Path inside the case -> bytes."""
        hu = hounsfield(self.masks) if self.hu is None else self.hu
        labels = labels_of(self.masks) if self.labels is None else self.labels
        found = {}
        for k, number in enumerate(self.order):
            # stored with an offset, as scanners do
            # the set names study and series, but no frame of reference
            uids = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
            found[f"PATIENT_DICOM/image_{number}"] = slice_bytes(hu[k] + 1024, k, intercept=-1024, **uids)
            found[f"LABELLED_DICOM/image_{number}"] = slice_bytes(labels[k], k)
            for folder, mask in self.masks.items():
                pixels = np.where(mask[k], 255, 0)
                found[f"MASKS_DICOM/{folder}/image_{number}"] = slice_bytes(pixels, k, dtype=np.uint8)
        found["MESHES_VTK/liver.vtk"] = b"# vtk DataFile Version 3.0\n"
        return found

    def write(self, folder: Path, files=None) -> Path:
        """As folders; the case's folder."""
        for path, content in (files or self.files()).items():
            place = folder / self.name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return folder / self.name

    def write_zips(self, folder: Path, files=None) -> Path:
        """As the four zip files in the case's folder, as it is delivered; the case's folder."""
        (folder / self.name).mkdir(parents=True, exist_ok=True)
        for kind, content in zips(files or self.files()).items():
            (folder / self.name / kind).write_bytes(content)
        return folder / self.name

    def write_nested(self, folder: Path, files=None) -> Path:
        """As one zip file of a case's folder with the four zip files in it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for kind, content in zips(files or self.files()).items():
                archive.writestr(f"{self.name}/{kind}", content)
        return path


def zips(files):
    """KIND.zip -> bytes, each with its folder at the top."""
    import io

    streams = {kind: io.BytesIO() for kind in KINDS}
    archives = {kind: zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) for kind, stream in streams.items()}
    for path, content in files.items():
        kind = path.split("/")[0]
        if kind in archives:
            archives[kind].writestr(path, content)
    for archive in archives.values():
        archive.close()
    return {f"{kind}.zip": stream.getvalue() for kind, stream in streams.items()}


def slice_bytes(pixels, k, intercept=0, dtype=np.int16, position=True, **elements):
    """One DICOM file's bytes, explicit little endian, with the patient's geometry."""
    import io

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", "liver^somebody", "1"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * np.dtype(dtype).itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(np.dtype(dtype).kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, intercept
    dataset.PixelSpacing = [SPACING[1], SPACING[0]]
    dataset.SliceThickness = SPACING[2]
    if position:
        dataset.ImagePositionPatient = [*ORIGIN[:2], ORIGIN[2] + SPACING[2] * k]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = np.ascontiguousarray(pixels.astype(dtype)).tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
