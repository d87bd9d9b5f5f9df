"""DICOM segmentations (SEG) read into label layers, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.dicom.parse import read_dataset
from SAMLiverTumorLib.io.dicom.seg_frames import FrameGrid, frames_of, grid_of_frames
from SAMLiverTumorLib.io.dicom.segments import segment_of_item
from SAMLiverTumorLib.io.labels.label_file import LabelFile, free_name
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    import pydicom

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes: segmentation storage, and label map segmentation storage."""

_TAGS = ["SOPClassUID", "SeriesNumber", "SeriesInstanceUID"]

_THRESHOLD = 0.5

# Label values of a layer are segment numbers, 16 bits in DICOM.
_LAYER_TYPE = np.uint16


def read_dicom_seg(path: Path, series: str | int | None = None) -> LabelFile:
    """Read a DICOM SEG onto the grid of its own frames; slices without a frame are empty.

    BINARY, FRACTIONAL (a voxel belongs to a segment from one half on; a note says so) and LABELMAP, compressed or not.
    Segments that overlap lie on different layers; a voxel's value is its segment's number.

    :param path: the file, or a folder in which it is the only SEG.
    :param series: series number or SeriesInstanceUID of the SEG, needed where the folder holds several.
    :raises InputError: no SEG there, several, or one that is damaged or of no regular volume.
    """
    path = _chosen_seg(path, series) if path.is_dir() else path
    try:
        data = _read(path)
        grid = grid_of_frames(frames_of(data, path.name), path.name)
        names, details = _segments(data)
        if data.SegmentationType == "LABELMAP":
            layers, entries = _label_layers(data, grid, names)
        else:
            layers, entries = _mask_layers(data, grid, names, path.name)
        if grid.taken is not None:
            layers = tuple(layer[grid.taken] for layer in layers)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pydicom and its decoders answer damaged bytes with any kind
        raise InputError(
            f"'{path}' is damaged, or compressed in a way that cannot be read ({_first(error)})."
        ) from error
    notes: tuple[str, ...] = ()
    if data.SegmentationType == "FRACTIONAL":
        kind = str(data.get("SegmentationFractionalType", "") or "fraction").lower()
        notes = (f"'{path.name}' holds fractions ({kind}): voxels from {_THRESHOLD:g} on were taken.",)
    return LabelFile(path.name, layers, entries, grid.ijk_to_ras, True, details, notes)


def find_segs(folder: Path) -> list[Path]:
    """The DICOM SEG files that lie in a folder, in order of their names."""
    return list(_segs_with_series(folder))


def _segs_with_series(folder: Path) -> dict[Path, tuple[str, str]]:
    """SEG file -> (its series' number, its series' UID)."""
    found = {}
    for file in sorted(folder.iterdir()):
        if not file.is_file() or not is_dicom(file):
            continue
        try:
            header = read_dataset(file, specific_tags=_TAGS, stop_before_pixels=True)
            if header.get("SOPClassUID") in SEG_CLASSES:
                found[file] = (str(header.get("SeriesNumber") or ""), str(header.get("SeriesInstanceUID") or ""))
        except Exception:  # of any kind, as above
            continue
    return found


def _chosen_seg(folder: Path, series: str | int | None) -> Path:
    found = _segs_with_series(folder)
    if not found:
        raise InputError(
            f"Folder '{folder}' holds no DICOM segmentation; name a label map file (.nii.gz, .nrrd, .seg.nrrd, .mha), "
            "or a DICOM SEG."
        )
    held = [f"{file.name} (series {number or uid})" for file, (number, uid) in found.items()]
    names = listed(held, 5)
    if series is not None:
        found = {file: ids for file, ids in found.items() if str(series).strip() in ids}
        if not found:
            raise InputError(f"Folder '{folder}' holds no DICOM segmentation of series '{series}'; it holds {names}.")
    if len(found) > 1:
        raise InputError(f"Folder '{folder}' holds {len(found)} DICOM segmentations; name one of them: {names}.")
    return next(iter(found))


def _read(path: Path) -> pydicom.Dataset:
    try:
        data = read_dataset(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{path}' cannot be read as DICOM ({_first(error)}); copy it again.") from error
    if data.get("SOPClassUID") not in SEG_CLASSES:
        kind = getattr(data.get("SOPClassUID", ""), "name", "") or "of no known kind"
        raise InputError(
            f"'{path}' is DICOM, but no segmentation ({kind}); name a DICOM SEG, .nii.gz, .nrrd, .seg.nrrd or .mha."
        )
    return data


def _segments(data: pydicom.Dataset) -> tuple[dict[int, str], dict[str, SegmentDetails]]:
    """(segment number -> name, name -> details), in the order of the file; the background of a label map is none."""
    names: dict[int, str] = {}
    details: dict[str, SegmentDetails] = {}
    for item in data.SegmentSequence:
        if not int(item.SegmentNumber):
            continue
        label, known = segment_of_item(item)
        name = free_name(label, details)
        names[int(item.SegmentNumber)] = name
        details[name] = known
    return names, details


def _label_layers(
    data: pydicom.Dataset, grid: FrameGrid, names: dict[int, str]
) -> tuple[tuple[np.ndarray, ...], dict[str, tuple[int, int]]]:
    layer = np.zeros((grid.count, *grid.dimensions[1::-1]), _LAYER_TYPE)
    for index, k in enumerate(grid.slices):
        layer[k] = _frame(data, index)
    return (layer,), {name: (0, number) for number, name in names.items()}


def _mask_layers(
    data: pydicom.Dataset, grid: FrameGrid, names: dict[int, str], file: str
) -> tuple[tuple[np.ndarray, ...], dict[str, tuple[int, int]]]:
    frames: dict[int, list[int]] = {number: [] for number in names}
    for index, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        number = int(_segment_of_frame(data, group))
        if number not in frames:
            raise InputError(f"Frame {index + 1} of '{file}' is of segment {number}, which the file does not describe.")
        frames[number].append(index)
    least = 1.0
    if data.SegmentationType == "FRACTIONAL":
        least = _THRESHOLD * (int(data.get("MaximumFractionalValue") or 0) or 255)
    layers: list[np.ndarray] = [np.zeros((grid.count, *grid.dimensions[1::-1]), _LAYER_TYPE)]
    entries = {}
    for number, indices in frames.items():
        masks = [(int(grid.slices[index]), _frame(data, index) >= least) for index in indices]
        # the first layer where nothing of it is taken
        layer = next(
            (n for n, layer in enumerate(layers) if not any(layer[k][mask].any() for k, mask in masks)), len(layers)
        )
        if layer == len(layers):
            layers.append(np.zeros((grid.count, *grid.dimensions[1::-1]), _LAYER_TYPE))
        for k, mask in masks:
            layers[layer][k][mask] = number
        entries[names[number]] = (layer, number)
    return tuple(layers), entries


def _segment_of_frame(data: pydicom.Dataset, group: pydicom.Dataset) -> int:
    for holder in (group, *data.get("SharedFunctionalGroupsSequence", ())):
        if items := holder.get("SegmentIdentificationSequence"):
            return items[0].ReferencedSegmentNumber
    raise InputError("A frame of the segmentation does not say which segment it is of; save it again.")


def _frame(data: pydicom.Dataset, index: int) -> np.ndarray:
    from pydicom.pixels import pixel_array

    syntax = data.file_meta.TransferSyntaxUID
    if int(data.BitsAllocated) != 1 or syntax.is_encapsulated or not syntax.is_little_endian:
        return pixel_array(data, index=index)
    # pydicom 3.0 takes frames to begin with a byte, as those whose pixels are no multiple of eight do not
    size = int(data.Rows), int(data.Columns)
    count = size[0] * size[1]
    first, shift = divmod(index * count, 8)
    packed = np.frombuffer(data.PixelData, np.uint8, (shift + count + 7) // 8, first)
    return np.unpackbits(packed, count=shift + count, bitorder="little")[shift:].reshape(size)


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
