"""`loadDicomSeries` in the console: through Slicer's DICOM database in the application, by our reader without it."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import slicer
import slicer.util
from dicom_case import affine, expected, reread, write_series
from pydicom.uid import generate_uid

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.api.load_dicom import loadDicomSeries
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode


def check(node):
    assert (slicer.util.arrayFromVolume(node) == expected(5)).all()
    assert volumeFromNode(node).ijk_to_ras == pytest.approx(affine(), abs=1e-6)


def test_a_series_becomes_a_volume_node_that_knows_its_instances(tmp_path):
    folder = write_series(tmp_path / "ct")
    scene, lines = createScene(), []
    node = loadDicomSeries(folder, scene=scene, note=lines.append)
    check(node)
    assert node.GetScene() is scene
    assert node.GetName() == "Portal venous"
    uids = [reread(folder / f"IM{k:04d}").SOPInstanceUID for k in range(5)]
    assert node.GetAttribute("DICOM.instanceUIDs") == " ".join(uids)
    assert lines == []


def test_it_is_loaded_as_slicers_own_reader_loads_the_files(shared_data):
    """The archetype reader of slicer-core, which the DICOM plug-in of Slicer uses, on the same files."""
    folder = shared_data / "chaos3" / "dicom"
    ours = volumeFromNode(loadDicomSeries(folder, scene=createScene()))
    files = sorted(folder.iterdir(), key=lambda file: reread(file).ImagePositionPatient[2])
    storage_node, node = slicer.vtkMRMLVolumeArchetypeStorageNode(), slicer.vtkMRMLScalarVolumeNode()
    storage_node.SetFileName(str(files[0]))
    storage_node.ResetFileNameList()
    for file in files:
        storage_node.AddFileName(str(file))
    storage_node.SetSingleFile(False)
    assert storage_node.ReadData(node)
    slicers = volumeFromNode(node)
    assert slicers.ijk_to_ras == pytest.approx(ours.ijk_to_ras, abs=1e-3)
    assert (slicers.array == ours.array).all()


def test_nothing_is_added_where_the_folder_cannot_be_read(tmp_path):
    write_series(tmp_path, names="a{}")
    write_series(tmp_path, names="b{}", SeriesInstanceUID=generate_uid(), SeriesNumber=8)
    scene = createScene()
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="holds 2 series"):
        loadDicomSeries(tmp_path, scene=scene)
    assert scene.GetNumberOfNodes() == before
    check(loadDicomSeries(tmp_path, 3, scene))


@pytest.fixture
def application(monkeypatch):
    """What of the application is asked for; `load` stands for the DICOM plug-ins, and is given the node to change."""
    scene = createScene()
    calls = SimpleNamespace(imported=[], asked=[], load=lambda node: None, folder=None, scene=scene)

    def load(uid):
        calls.asked.append(uid)
        node = addVolumeNode(scene, read_volume(calls.imported[-1]))
        calls.load(node)
        return [node.GetID()]

    utils = SimpleNamespace(importDicom=lambda path: calls.imported.append(path) or True, loadByInstanceUID=load)
    library = ModuleType("DICOMLib")
    library.DICOMUtils = utils
    monkeypatch.setitem(sys.modules, "DICOMLib", library)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(), raising=False)
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    monkeypatch.setattr(slicer, "dicomDatabase", SimpleNamespace(isOpen=True), raising=False)
    return calls


def test_inside_slicer_it_goes_through_the_dicom_database(tmp_path, application):
    folder = write_series(tmp_path / "ct")
    lines = []
    application.load = lambda node: node.SetName("3: Portal venous")
    node = loadDicomSeries(folder, note=lines.append)
    check(node)
    assert node.GetName() == "3: Portal venous"
    assert application.imported == [str(folder)]
    assert application.asked == [reread(folder / "IM0000").SOPInstanceUID]
    assert lines == []


def test_a_volume_that_slicer_placed_otherwise_is_replaced_and_said(tmp_path, application):
    def bend(node):
        transform_node = application.scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition geometry")
        node.SetAndObserveTransformNodeID(transform_node.GetID())

    for change in (bend, lambda node: node.SetSpacing(0.6, 0.8, 5.0)):
        application.load, lines = change, []
        node = loadDicomSeries(write_series(tmp_path / "ct"), note=lines.append)
        check(node)
        assert application.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
        assert application.scene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode") == 0
        assert lines == [
            "Slicer placed the series otherwise than its headers say; it was read by SAM Liver Tumor instead."
        ]
        application.scene.RemoveNode(node)


def test_values_that_slicer_read_otherwise_are_replaced_and_said(tmp_path, application):
    application.load = lambda node: slicer.util.updateVolumeFromArray(node, np.zeros((5, 12, 10), np.int16))
    lines = []
    check(loadDicomSeries(write_series(tmp_path / "ct"), note=lines.append))
    assert lines == ["Slicer read other values; they were replaced by those that the headers give."]


def test_a_closed_database_does_not_hinder(tmp_path, application):
    slicer.dicomDatabase.isOpen = False
    check(loadDicomSeries(write_series(tmp_path / "ct")))
    assert application.asked == []
