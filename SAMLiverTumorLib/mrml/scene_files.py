"""Slicer files (volumes, segmentations, markups, whole scenes), through Slicer's own storage nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import slicer

from SAMLiverTumorLib.errors import InputError, OutputError, printable
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.io.markups_text import markups_in
from SAMLiverTumorLib.io.safe_archive import LazyArchive
from SAMLiverTumorLib.io.safe_names import readable_name, writable_name
from SAMLiverTumorLib.mrml.application.vtk_messages import capturedVtkMessages
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode

_MARKUPS_CLASSES = {"Fiducial": "vtkMRMLMarkupsFiducialNode", "ROI": "vtkMRMLMarkupsROINode"}


def saveSegmentation(
    segmentationNode: slicer.vtkMRMLSegmentationNode, path: Path | str, overwrite: bool = False
) -> None:
    """Write a `.seg.nrrd` with names, colors, terminology and provenance of the segments.

    As everywhere in Slicer, the file holds the node's own coordinates; a parent transform is not applied.

    :raises OutputError: wrong suffix, the file exists and `overwrite` is False, it cannot be written, or there is no
        segment. An existing file is then unchanged.
    """
    path = Path(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        raise OutputError(f"'{path}' has to end in .seg.nrrd, the only format that keeps names and provenance.")
    if not segmentationNode.GetSegmentation().GetNumberOfSegments():
        raise OutputError(f"Segmentation '{segmentationNode.GetName()}' has no segment to write.")
    # not the node's own storage node, which keeps the path where the user saved the node
    storageNode = slicer.vtkMRMLSegmentationStorageNode()
    with (
        atomic_path(path, overwrite) as temporary,
        writable_name(temporary) as named,
        capturedVtkMessages() as messages,
    ):
        storageNode.SetFileName(str(named))
        if not storageNode.WriteData(segmentationNode):
            raise OutputError(f"'{path}' cannot be written: {messages}")


def saveScene(scene: slicer.vtkMRMLScene, path: Path | str, overwrite: bool = False) -> None:
    """Write the whole scene, data included, as an `.mrb` that Slicer opens on any machine.

    :raises OutputError: wrong suffix, the file exists and `overwrite` is False, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise OutputError(f"'{path}' has to end in .mrb (Slicer's scene with its data in one file).")
    with (
        atomic_path(path, overwrite) as temporary,
        writable_name(temporary) as named,
        _sameWorkingFolder(),
        capturedVtkMessages() as messages,
    ):
        if not scene.WriteToMRB(str(named)):
            raise OutputError(f"'{path}' cannot be written: {messages}")


def loadScene(scene: slicer.vtkMRMLScene, path: Path | str) -> None:
    """Add the contents of an `.mrb` to the scene.

    :raises InputError: no such file, or not a Slicer scene.
    """
    path = _existing(path)
    _refuseEscapes(path)
    with readable_name(path.resolve()) as named, _sameWorkingFolder(), capturedVtkMessages() as messages:
        if not scene.ReadFromMRB(str(named), False):
            raise InputError(f"'{path}' cannot be read as a Slicer scene (.mrb): {messages}")


def loadMarkups(scene: slicer.vtkMRMLScene, path: Path | str) -> slicer.vtkMRMLMarkupsNode:
    """Add the markups of a `.mrk.json` saved by Slicer to the scene (points in LPS or RAS, as the file states).

    :raises InputError: no such file, not a markups file, or not exactly one point list or ROI in it; the scene is then
        unchanged.
    """
    path = _existing(path)
    try:
        kinds = [markups["type"] for markups in markups_in(parse_json(path.read_text(encoding="utf-8")))]
    except ValueError as error:
        raise InputError(f"'{path}' is not a markups file (.mrk.json) of Slicer: {error}") from error
    if len(kinds) != 1:
        raise InputError(f"'{path}' holds {len(kinds)} markups objects; save the one you mean to a file of its own.")
    className = _MARKUPS_CLASSES.get(kinds[0])
    if className is None:
        raise InputError(f"'{path}' holds a markup of type '{kinds[0]}'; a point list or an ROI is needed.")
    markupsNode = scene.AddNewNodeByClass(className, printable(path.name.split(".")[0]))
    # each kind has its own storage node: the one for point lists reads an ROI without its size
    storageNode = markupsNode.CreateDefaultStorageNode()
    storageNode.UnRegister(None)
    with readable_name(path) as named, capturedVtkMessages() as messages:
        storageNode.SetFileName(str(named))
        if not storageNode.ReadData(markupsNode):
            scene.RemoveNode(markupsNode)
            raise InputError(f"'{path}' cannot be read as markups (.mrk.json): {messages}")
    markupsNode.CreateDefaultDisplayNodes()
    return markupsNode


def loadVolume(
    scene: slicer.vtkMRMLScene, path: Path | str, note: Callable[[str], None] | None = None
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a NIfTI, NRRD or MetaImage volume to the scene, named after its file.

    Read as the console program reads it: see `read_volume`.

    :param note: told what there is to know about it.
    :raises InputError: no such file, damaged, or not a three-dimensional scalar volume; the scene is
        then as it was.
    """
    path = _existing(path)
    volume = read_volume(path, note=note)
    return addVolumeNode(scene, replace(volume, name=volume.name.split(".")[0]))


def _refuseEscapes(path: Path) -> None:
    """Refuse entries such as "a/../../x", which Slicer would unpack outside the target folder.

    :raises InputError: there is such an entry, or the archive is damaged.
    """
    # reads only the table of contents
    _ = LazyArchive(path.stem, str(path), path, None, 0).files


@contextmanager
def _sameWorkingFolder() -> Iterator[None]:
    """Restore the working folder: MRML changes it to unpack bundles, and does not restore it on failure."""
    folder = Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file '{path}'.")
    return path
