"""Small real files to damage: crops of the sample case, and files that the product writes; always the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE = ROOT / "Resources" / "SampleCase"
# Size of the crops in voxels.
_SIZE = (24, 20, 6)


@cache
def crops() -> tuple[sitk.Image, sitk.Image]:
    """(CT, labels) of a few voxels around the center of the tumor."""
    ct, labels = (sitk.ReadImage(str(_SAMPLE / f"{name}.nii.gz")) for name in ("ct", "label"))
    tumor = np.argwhere(sitk.GetArrayViewFromImage(labels) == 2)
    middle = np.median(tumor, axis=0).astype(int)[::-1]
    start = [int(np.clip(m - n // 2, 0, whole - n)) for m, n, whole in zip(middle, _SIZE, ct.GetSize(), strict=True)]
    return tuple(sitk.RegionOfInterest(image, _SIZE, start) for image in (ct, labels))


def image_bytes(suffix: str, labels: bool = False, compressed: bool = False, kind: int | None = None) -> bytes:
    """A crop as a file with that ending.

    :param kind: SimpleITK's pixel type; None for that of the sample case.
    """
    image = crops()[labels]
    if kind is not None:
        image = sitk.Cast(image, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix.removesuffix('.gz')}"
        sitk.WriteImage(image, str(path), compressed)
        data = path.read_bytes()
    return gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data


def odd_nifti(labels: bool) -> dict[str, dict[str, bytes]]:
    """The crop in versions, types and byte orders that ITK writes none of; name -> files by their names."""
    from support.nifti_files import nifti_bytes

    array = sitk.GetArrayFromImage(crops()[labels])
    pair = nifti_bytes(array, changes=[(108, "f", (0.0,)), (344, "4s", (b"ni1\0",))])
    return {
        "two.nii": {"x.nii": nifti_bytes(array, version=2)},
        "big.nii": {"x.nii": nifti_bytes(array.astype(np.int64), order=">", extra_sizes=(1, 1))},
        "scaled.nii": {"x.nii": nifti_bytes(array.astype(np.int16), changes=[(112, "2f", (2.0, -3.0))])},
        "pair.hdr": {"x.hdr": pair[:348], "x.img": pair[352:]},
        "plain.nii.gz": {"x.nii.gz": nifti_bytes(array)},
        "zipped.nii": {"x.nii": gzip.compress(nifti_bytes(array), mtime=0)},
    }


def odd_segmentations() -> dict[str, dict[str, bytes]]:
    """Segmentations as pynrrd, slicerio and users leave them; name -> files by their names."""
    from support.segmentation_files import named, write_segmentation

    array = sitk.GetArrayFromImage(crops()[True]).astype(np.uint8)
    layers = np.stack([array > 0, array == 2]).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.seg.nrrd"
        write_segmentation(path, layers, [named("肝脏"), named("tumor", layer=1)], kinds="")
        unnamed = path.read_bytes()
        write_segmentation(path, array, [named("liver"), named("tumor"), named("nothing", 0)])
        shared = path.read_bytes()
    zipped = gzip.compress(shared, mtime=0)
    return {
        "unnamed axis": {"x.seg.nrrd": unnamed},
        "one value": {"x.seg.nrrd": shared},
        "zipped": {"x.seg.nrrd": zipped},
    }


def segmentation_bytes() -> bytes:
    """A .seg.nrrd of two segments as Slicer writes it, provenance included."""
    import slicer

    from SAMLiverTumorLib.io.images import image_affine
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.scene_files import saveSegmentation
    from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, setProvenance
    from SAMLiverTumorLib.volume import Volume

    ct, labels = crops()
    scene = createScene()
    node = addVolumeNode(scene, Volume(sitk.GetArrayFromImage(ct), image_affine(ct), "ct"))
    segmentation = createSegmentation(scene, node)
    for value, name in ((1, "Liver"), (2, "Tumor")):
        segment = addTumorSegment(segmentation, name)
        array = (sitk.GetArrayFromImage(labels) == value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segment, node)
        setProvenance(segmentation, segment, {"models": [{"id": "liver-tumor"}], "prompts": {"include": [[1, 2, 3]]}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.seg.nrrd"
        saveSegmentation(segmentation, path)
        data = path.read_bytes()
    for number in range(2):
        # Slicer draws these ids at random
        data = re.sub(rb"(Segment%d_ID:=).*" % number, rb"\1S_%d" % number, data)
    return data


def markups_bytes(roi: bool) -> bytes:
    """Points or an ROI as Slicer writes them."""
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene

    scene = createScene()
    if roi:
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
        node.SetCenter(10, 20, 30)
        node.SetSize(30, 20, 10)
    else:
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        for point in ((1, 2, 3), (4.5, -6, 7)):
            node.AddControlPointWorld(*point)
    storage = node.CreateDefaultStorageNode()
    storage.UnRegister(None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mrk.json"
        storage.SetFileName(str(path))
        storage.WriteData(node)
        return path.read_bytes()


def scene_bytes() -> bytes:
    """A scene with a volume and points as .mrb."""
    from SAMLiverTumorLib.io.images import image_affine
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.scene_files import saveScene
    from SAMLiverTumorLib.volume import Volume

    ct = crops()[0]
    scene = createScene()
    addVolumeNode(scene, Volume(sitk.GetArrayFromImage(ct), image_affine(ct), "ct"))
    scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode").AddControlPointWorld(1, 2, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mrb"
        saveScene(scene, path)
        return path.read_bytes()


def dicom_series(slices: int = 4) -> dict[str, bytes]:
    """The crop as a CT series, one file per slice, explicit little endian."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    ct = crops()[0]
    array = sitk.GetArrayFromImage(ct)
    files = {}
    for k in range(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.999.1.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = "1.2.826.0.1.3680043.10.999"
        data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.PatientName, data.PatientID, data.Modality = "Doe^Jane", "4711", "CT"
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.826.0.1.3680043.10.999.2", "1.2.826.0.1.3680043.10.999.3"
        data.FrameOfReferenceUID = "1.2.826.0.1.3680043.10.999.4"
        data.SeriesNumber, data.InstanceNumber, data.AcquisitionNumber = 3, k + 1, 1
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-100, -90, 3.0 * k]
        data.SliceLocation, data.SliceThickness, data.SpacingBetweenSlices = 3.0 * k, 3, 3
        data.PixelSpacing, data.Rows, data.Columns = [0.8, 0.7], array.shape[1], array.shape[2]
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -24, "HU"
        data.WindowCenter, data.WindowWidth, data.GantryDetectorTilt = 40, 400, 0
        data.ImageType, data.BodyPartExamined = ["ORIGINAL", "PRIMARY", "AXIAL"], "ABDOMEN"
        item = pydicom.Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-62000", "SRT", "Liver"
        data.AnatomicRegionSequence = pydicom.Sequence([item])
        data.PixelData = array[k].astype("<i2").tobytes()
        target = io.BytesIO()
        data.save_as(target, enforce_file_format=True)
        files[f"{k:03}.dcm"] = target.getvalue()
    return files


def safetensors_bytes(adapter: bool) -> bytes:
    """A few weights with our header; with `adapter`, those of adapters."""
    import torch
    from safetensors.torch import save

    from SAMLiverTumorLib.models.registry import get_model
    from SAMLiverTumorLib.models.weights import HEADER, describe

    info = get_model("lite-medsam")
    about = {**describe(info), "card": {"settings": {"epochs": 3}, "before": {"point": {"p1": 0.5}}}}
    weights = {"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(32, 3, 1, 1), "steps": torch.tensor(7)}
    if adapter:
        about["adapter"] = {"base": info.id, "base_sha256": info.sha256, "rank": 2}
        weights = {"a.qkv.lora_a": torch.zeros(2, 8), "a.qkv.lora_b": torch.zeros(24, 2), "a.out": torch.ones(3)}
    return save(weights, metadata={HEADER: json.dumps(about, sort_keys=True)})


def checkpoint_bytes(zipped: bool, wrapped: bool = False) -> bytes:
    """A PyTorch checkpoint of a few weights."""
    import torch

    weights = {"layer.weight": torch.arange(60.0).reshape(6, 10), "layer.steps": torch.tensor(7)}
    target = io.BytesIO()
    content = {"model": weights, "epoch": 3, "optimizer": {"lr": 0.1}} if wrapped else weights
    torch.save(content, target, _use_new_zipfile_serialization=zipped)
    return target.getvalue()


class Trap:
    """Creates a file when a reader that trusts it unpickles it."""

    def __reduce__(self):
        return (open, ("PICKLE-WAS-RUN", "w"))


def trap_bytes(zipped: bool) -> bytes:
    """A checkpoint with a trap in it."""
    import torch

    target = io.BytesIO()
    torch.save({"layer.weight": torch.zeros(3), "x": Trap()}, target, _use_new_zipfile_serialization=zipped)
    return target.getvalue()


def state_bytes() -> bytes:
    """The saved state of a training run."""
    import torch

    from SAMLiverTumorLib.training.optimization.checkpoint_state import NAME, TrainingState

    weights = {"mask_tokens": torch.zeros(4, 8)}
    state = TrainingState(3, weights, {"state": {}, "param_groups": [{"lr": 0.1}]}, weights, 0.5, 1)
    state.history, state.settings = [{"epoch": 1, "score": 0.5}], {"epochs": 3}
    with tempfile.TemporaryDirectory() as folder:
        state.save(Path(folder))
        return (Path(folder) / NAME).read_bytes()
