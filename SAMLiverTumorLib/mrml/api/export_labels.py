"""`exportLabels`: writes segments in common formats, chosen by the file name's extension."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path, check_output
from SAMLiverTumorLib.io.labels.grids import fits_grid, onto_grid, refuse_lost_place
from SAMLiverTumorLib.io.labels.label_file import LabelFile

_HIGHEST_VALUE = 65535


@dataclass(frozen=True)
class ExportSettings:
    """Options of an export.

    :param source: the volume that the segments were made on: a file, or a DICOM folder. A DICOM SEG needs the folder;
        a label map is written on its grid, else on the segmentation's own.
    :param series: which DICOM series, if there are several; see `read_dicom`.
    :param resample: resample segments on another grid by nearest neighbor instead of refusing them.
    :param same_voxels: take the segments' voxels for the source's one by one, wherever their file says they lie.
    :param smoothing: of surfaces, from 0 (none) to 1.
    :param coordinates: of surfaces, "LPS" or "RAS".
    :param algorithm: the algorithm of segments of unknown origin, for DICOM; empty for manual.
    :param overwrite: replace existing files.
    :param derive_frame_of_reference: the user agrees to identifiers made from the series' UID; see `read_source`.
    """

    source: Path | None = None
    series: str | None = None
    resample: bool = False
    same_voxels: bool = False
    smoothing: float = 0.0
    coordinates: str = "LPS"
    algorithm: str = ""
    overwrite: bool = False
    derive_frame_of_reference: bool = False


def check_export(path: Path, settings: ExportSettings) -> None:
    """Check, before any work is done, that the file can be written.

    :raises OutputError: unknown extension; the file exists; its folder does not; a DICOM SEG without a source.
    """
    ending = ending_of(path)
    check_output(path, settings.overwrite)
    if ending == ".dcm" and settings.source is None:
        raise OutputError(f"'{path}' needs the DICOM series it refers to; name its folder with --source.")


def ending_of(path: Path) -> str:
    """The format that a file name's extension stands for.

    :raises OutputError: unknown extension.
    """
    for ending in _WRITERS:
        if path.name.lower().endswith(ending):
            return ending
    raise OutputError(
        f"'{path}' has to end in {', '.join(list(_WRITERS)[:-1])} or {list(_WRITERS)[-1]}: the ending says the format."
    )


def exportLabels(labels: LabelFile, path: Path, settings: ExportSettings = ExportSettings()) -> tuple[str, ...]:
    """Write segments to a file.

    `.dcm` is a DICOM SEG, `.seg.nrrd` a segmentation of Slicer, `.nii` and `.nii.gz` a label map, `.stl` and `.obj` one
    closed surface of all segments together.

    :return: notes for the reader.
    :raises InputError: the segments lie on another grid than the source, there is none, or the source cannot be used.
    :raises OutputError: as `check_export`, or the folder cannot be written to.

    >>> exportLabels(read_labels("tumor.seg.nrrd"), Path("tumor.stl"))                       # doctest: +SKIP
    """
    check_export(path, settings)
    if not labels.entries:
        raise InputError(f"'{labels.name}' has no segment to write.")
    if settings.same_voxels:
        labels = _placed_as_source(labels, settings)
    return _WRITERS[ending_of(path)](labels, path, settings)


def labelValues(labels: LabelFile) -> dict[str, int]:
    """The values of segments in a label map: kept if they come from one, else numbered from 1 in order."""
    values = labels.label_values
    if labels.from_slicer or min(values.values()) < 1 or max(values.values()) > _HIGHEST_VALUE:
        return {name: number for number, name in enumerate(labels.entries, 1)}
    return values


def _dicomSeg(labels: LabelFile, path: Path, settings: ExportSettings) -> tuple[str, ...]:
    from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
    from SAMLiverTumorLib.io.dicom.source import read_source

    source = read_source(settings.source, settings.series, settings.derive_frame_of_reference)
    return write_dicom_seg(labels, source, path, settings.overwrite, settings.resample, settings.algorithm)


def _segNrrd(labels: LabelFile, path: Path, settings: ExportSettings) -> tuple[str, ...]:
    from SAMLiverTumorLib.mrml.scene_files import saveSegmentation

    labels, notes = _onSource(labels, settings)
    saveSegmentation(_segmentation(labels), path, settings.overwrite)
    return notes


def _nifti(labels: LabelFile, path: Path, settings: ExportSettings) -> tuple[str, ...]:
    labels, notes = _onSource(labels, settings)
    if settings.source is None and labels.from_slicer:
        notes = (*notes, f"The grid of '{path.name}' is the part of the volume that is outlined; --source gives all.")
    return (*notes, *writeNifti(labels, path, settings.source, settings.overwrite))


def writeNifti(labels: LabelFile, path: Path, source: Path | None, overwrite: bool = False) -> tuple[str, ...]:
    """Write a label map as NIfTI.

    :param source: the volume's file; if it is NIfTI, its affine is kept exactly.
    :return: notes for the reader.
    :raises OutputError: as `check_export`, or the folder cannot be written to.
    """
    from SAMLiverTumorLib.io.labels.nifti_writer import write_label_nifti

    array = np.zeros(labels.dimensions[::-1], np.uint16)
    shared = 0
    for name, value in labelValues(labels).items():
        mask = labels.segments[name]
        shared += int(np.count_nonzero(array[mask]))
        array[mask] = value
    with atomic_path(path, overwrite) as temporary:
        write_label_nifti(array, labels.ijk_to_ras, temporary, source)
    if not shared:
        return ()
    return (f"{shared:,} voxels belong to several segments; the last of them has them in '{path.name}'.",)


def _surface(labels: LabelFile, path: Path, settings: ExportSettings) -> tuple[str, ...]:
    from SAMLiverTumorLib.mrml.api.export_surfaces import saveSurface

    node = _segmentation(labels)
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    ml = saveSurface(node, ids, path, settings.overwrite, settings.smoothing, settings.coordinates)
    together = f" of {len(ids)} segments together" if len(ids) > 1 else ""
    return (f"'{path.name}' is the surface{together} in {settings.coordinates}, mm; it encloses {ml:.3f} ml.",)


def _onSource(labels: LabelFile, settings: ExportSettings) -> tuple[LabelFile, tuple[str, ...]]:
    """The labels on the source's grid, and notes; unchanged if there is no source."""
    if settings.source is None:
        return labels, ()
    from SAMLiverTumorLib.io.images import read_volume

    volume = read_volume(settings.source, settings.series)
    refuse_lost_place(labels, volume.ijk_to_ras, volume.dimensions)
    if not settings.resample and not fits_grid(labels, volume.ijk_to_ras, volume.dimensions):
        raise InputError(
            f"'{labels.name}' lies on other voxels than '{settings.source}'; name the volume that it was made on, or "
            "add --resample to bring it onto this one's by nearest neighbor."
        )
    return onto_grid(labels, volume.ijk_to_ras, volume.dimensions)


def _placed_as_source(labels: LabelFile, settings: ExportSettings) -> LabelFile:
    """The labels where the source's voxels lie, for files whose header was lost.

    :raises InputError: no source, or one of another size.
    """
    from SAMLiverTumorLib.io.images import read_volume

    if settings.source is None:
        raise InputError("--same-voxels takes the voxels for those of --source; name that as well.")
    volume = read_volume(settings.source, settings.series)
    if labels.dimensions != volume.dimensions:
        raise InputError(
            f"'{labels.name}' has {labels.dimensions} voxels and '{volume.name}' {volume.dimensions}; --same-voxels is "
            "for labels of the source's very voxels."
        )
    return replace(labels, ijk_to_ras=volume.ijk_to_ras)


def _segmentation(labels: LabelFile):
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene, inSlicerApplication
    from SAMLiverTumorLib.mrml.nodes.label_nodes import addSegmentation

    if not inSlicerApplication():
        return addSegmentation(createScene(), labels)
    import slicer

    return addSegmentation(slicer.vtkMRMLScene(), labels)


_WRITERS = {
    ".dcm": _dicomSeg,
    ".seg.nrrd": _segNrrd,
    ".nii.gz": _nifti,
    ".nii": _nifti,
    ".stl": _surface,
    ".obj": _surface,
}
