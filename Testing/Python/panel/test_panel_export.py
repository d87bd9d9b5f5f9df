"""The section Export: each format's file read back by a reader that is not ours, and what is refused."""

from pathlib import Path

import pytest

_OUTLINE = """
import gzip, os, struct
import numpy as np
import pydicom
import SimpleITK as sitk
from dicom_case import ORIGIN, SPACING, STEP, write_series
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment

def outline(box, segmentId=None, value=1):
    array = np.zeros(slicer.util.arrayFromVolume(session.volumeNode).shape, np.uint8)
    array[box] = 1
    node = session.segmentationNode
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId or session.segmentId, session.volumeNode)
    return array.astype(bool)

def choose(ending):
    combo = ui.exportFormatCombo
    combo.setCurrentIndex([combo.itemData(n) for n in range(combo.count)].index(ending))

def export(ending, name, *before):
    choose(ending)
    desktop.answer(*before, str(Path(name).absolute()))
    ui.exportButton.click()
    user.finish()
    return Path(name)

BOX = np.s_[3:6, 5:9, 6:12]
"""


@pytest.fixture
def run(at_panel):
    return lambda program, **options: at_panel(_OUTLINE + program, **options)


def test_a_label_map_has_the_voxels_on_the_volumes_grid(run):
    run(
        """
assert not ui.exportButton.enabled and "no segment" in ui.exportButton.toolTip
ui.addSegmentButton.click()
array = outline(BOX)
other = addTumorSegment(session.segmentationNode, "other")
both = outline(np.s_[5:7, 5:9, 6:8], other)
path = export(".nii.gz", "tumor.nii.gz")
assert session.message == f"Written: {path.absolute()}.", session.message
image = sitk.ReadImage(str(path))
assert (sitk.GetArrayFromImage(image) == array).all() and array.sum() == 72
# columns of the affine and the origin in LPS, where the volume's RAS has the other sign
assert image.GetSpacing() == (1.5, 1.25, 3.0)
assert np.allclose(image.GetOrigin(), (-21.5, -40.25, -12.0)) and np.allclose(image.GetDirection(), np.eye(3).ravel())
ui.exportAllCheckBox.checked = True
export(".nii.gz", "all.nii.gz")
voxels = sitk.GetArrayFromImage(sitk.ReadImage("all.nii.gz"))
assert (voxels == np.where(both, 2, array)).all() and (voxels == 2).sum() == 16
assert "8 voxels belong to several segments" in session.log[-2], session.log
"""
    )


def test_a_label_map_keeps_the_affine_of_the_volumes_file_to_the_last_bit(run):
    run(
        """
image = sitk.GetImageFromArray(np.random.default_rng(0).integers(-900, 300, (6, 10, 12)).astype(np.int16))
a, b = np.cos(0.3), np.sin(0.3)
image.SetDirection((a, -b, 0, b, a, 0, 0, 0, 1))
image.SetSpacing((0.7421875, 0.7421875, 2.4999))
image.SetOrigin((-171.30001, -103.7, 1241.5))
sitk.WriteImage(image, "ct.nii.gz")
volumeNode = slicer.util.loadVolume(str(Path("ct.nii.gz").absolute()))
ui.volumeSelector.setCurrentNode(volumeNode)
ui.addSegmentButton.click()
array = outline(np.s_[1:3, 2:7, 3:9])
export(".nii.gz", "label.nii.gz")
header, made = (gzip.decompress(Path(name).read_bytes())[:348] for name in ("ct.nii.gz", "label.nii.gz"))
for first, last in ((76, 108), (252, 328)):
    assert made[first:last] == header[first:last]
assert (sitk.GetArrayFromImage(sitk.ReadImage("label.nii.gz")) == array).all()
# moved in the scene, the file still lies over the file of the volume
transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.array(
    [[0, 1, 0, 5], [-1, 0, 0, 7], [0, 0, 1, 9], [0, 0, 0, 1.0]])))
volumeNode.SetAndObserveTransformNodeID(transform.GetID())
session.segmentationNode.SetAndObserveTransformNodeID(transform.GetID())
export(".nii.gz", "again.nii.gz")
assert Path("again.nii.gz").read_bytes() == Path("label.nii.gz").read_bytes()
assert "without the transform that moves it" in session.log[-2]
# a file that has another grid by now lends its affine to nobody
image.SetOrigin((0, 0, 0))
sitk.WriteImage(image, "ct.nii.gz")
export(".nii.gz", "own.nii.gz")
assert np.allclose(sitk.ReadImage("own.nii.gz").GetOrigin(), (-171.30001, -103.7, 1241.5), atol=1e-3)
"""
    )


def test_a_segmentation_of_slicer_holds_the_chosen_segment_or_all(run):
    run(
        """
ui.addSegmentButton.click()
array = outline(BOX)
session.segmentationNode.GetSegmentation().GetSegment(session.segmentId).SetColor(0.2, 0.4, 0.6)
other = addTumorSegment(session.segmentationNode, "other")
both = outline(np.s_[0:2, 1:3, 1:4], other)
before = session.segmentationNode.GetStorageNode()
export(".seg.nrrd", "one.seg.nrrd")
ui.exportAllCheckBox.checked = True
export(".seg.nrrd", "all.seg.nrrd")
assert session.segmentationNode.GetStorageNode() is before, "where the user saves it is not ours to change"
for name, wanted in (("one.seg.nrrd", {"Liver tumor": array}), ("all.seg.nrrd", {"Liver tumor": array, "other": both})):
    image = sitk.ReadImage(name)
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert f"Segment{len(wanted)}_Name" not in fields
    grid = sitk.GetImageFromArray(np.zeros(array.shape, np.uint8))
    grid.SetSpacing((1.5, 1.25, 3.0)); grid.SetOrigin((-21.5, -40.25, -12.0))
    whole = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor))
    for n, (segment, mask) in enumerate(wanted.items()):
        number = next(m for m in range(len(wanted)) if fields[f"Segment{m}_Name"] == segment)
        assert ((whole == int(fields[f"Segment{number}_LabelValue"])) == mask).all(), (name, segment)
    assert len(np.unique(whole)) == len(wanted) + 1
    first = next(m for m in range(len(wanted)) if fields[f"Segment{m}_Name"] == "Liver tumor")
    assert np.allclose([float(x) for x in fields[f"Segment{first}_Color"].split()], (0.2, 0.4, 0.6))
# what was written is what the scene has: nothing there has changed
assert (user.array() == array).all() and (user.array(other) == both).all()
assert session.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2
"""
    )


def test_surfaces_enclose_what_is_outlined_where_it_lies(run):
    run(
        """
ui.addSegmentButton.click()
outline(BOX)
for ending, reader in ((".stl", vtk.vtkSTLReader()), (".obj", vtk.vtkOBJReader())):
    export(ending, "tumor" + ending)
    reader.SetFileName("tumor" + ending)
    reader.Update()
    mesh = reader.GetOutput()
    # half a voxel beyond the outermost centers; LPS has the other sign of the volume's R and A, which run backwards
    low = [-21.5 + 1.5 * 5.5, -40.25 + 1.25 * 4.5, -12 + 3 * 2.5]
    high = [-21.5 + 1.5 * 11.5, -40.25 + 1.25 * 8.5, -12 + 3 * 5.5]
    bounds = np.array(mesh.GetBounds()).reshape(3, 2)
    assert np.allclose(bounds, np.stack([low, high], axis=1), atol=1e-3), bounds
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(mesh)
    measured = vtk.vtkMassProperties()
    measured.SetInputConnection(triangles.GetOutputPort())
    # a box of 72 voxels of 5.625 cubic mm, its edges cut off
    assert 0.8 * 405 < measured.GetVolume() < 405, measured.GetVolume()
    assert f"encloses {measured.GetVolume() / 1000:.3f} ml" in session.log[-2], session.log[-2]
"""
    )


_SERIES = """
folder = write_series(Path("ct").absolute(), count=6)
volume = read_volume(folder)
user.volumeNode = addVolumeNode(slicer.mrmlScene, volume)
ui.volumeSelector.setCurrentNode(user.volumeNode)
ui.addSegmentButton.click()
array = outline(np.s_[1:4, 2:7, 3:8])

def read(path):
    data = pydicom.dcmread(path)
    found = np.zeros(array.shape, bool)
    for frame, group in zip(np.atleast_3d(data.pixel_array).reshape(-1, 12, 10), data.PerFrameFunctionalGroupsSequence):
        x, y, z = map(float, group.PlanePositionSequence[0].ImagePositionPatient)
        assert np.allclose((x, y), ORIGIN[:2])
        found[round((z - ORIGIN[2]) / STEP)] = frame > 0
    return data, found
"""


def test_a_dicom_seg_refers_to_the_series_in_the_folder_that_is_asked_for(run):
    run(
        _SERIES
        + """
from SAMLiverTumorLib.mrml.segments.segments import setProvenance
model = {"id": "m", "sha256": "ab" * 32}
setProvenance(session.segmentationNode, session.segmentId, {"models": [model], "prompts": {}})
path = export(".dcm", "tumor.dcm", str(folder))
data, found = read(path)
assert (found == array).all() and found.sum() == 75, session.log
source = pydicom.dcmread(sorted(folder.iterdir())[0])
assert data.SOPClassUID.name == "Segmentation Storage"
assert data.StudyInstanceUID == source.StudyInstanceUID and data.FrameOfReferenceUID == source.FrameOfReferenceUID
assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
(item,) = data.SegmentSequence
assert item.SegmentLabel == "Liver tumor"
assert "ab" * 32 in item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
assert [each.kind for each in desktop.shown] == ["QFileDialog.getExistingDirectory", "QFileDialog.getSaveFileName"]
"""
    )


def test_a_volume_of_the_dicom_database_is_asked_for_no_folder(run):
    run(
        _SERIES
        + """
from types import SimpleNamespace
files = {str(pydicom.dcmread(file).SOPInstanceUID): str(file) for file in folder.iterdir()}
series = str(pydicom.dcmread(next(iter(files.values()))).SeriesInstanceUID)
# another series in the same folder, which has to be left aside
write_series(folder, count=3, names="other{}", SeriesInstanceUID="1.2.3", SeriesNumber=9)
slicer.dicomDatabase = SimpleNamespace(
    fileForInstance=lambda uid: files.get(uid, ""), instanceValue=lambda uid, tag: {"0020,000E": series}[tag])
user.volumeNode.SetAttribute("DICOM.instanceUIDs", " ".join(files))
path = export(".dcm", "tumor.dcm")
data, found = read(path)
assert (found == array).all() and data.ReferencedSeriesSequence[0].SeriesInstanceUID == series
"""
    )


def test_identifiers_that_the_files_lack_are_made_up_with_a_yes_alone(run):
    run(
        _SERIES
        + """
import uuid
for file in folder.iterdir():
    image = pydicom.dcmread(file)
    del image.FrameOfReferenceUID
    image.save_as(file)
uid = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, image.SeriesInstanceUID + ' FrameOfReferenceUID').int}"
# where the files are is remembered with the volume: no dialog but the question, and it comes before that of the place
user.volumeNode.SetAttribute("SAMLiverTumor.DicomFolder", str(folder))
choose(".dcm")
desktop.answer("No")
ui.exportButton.click()
assert "no FrameOfReferenceUID" in session.message and "--derive-frame-of-reference" in session.message
assert not Path("tumor.dcm").exists()
data, found = read(export(".dcm", "tumor.dcm", "Yes"))
assert (found == array).all() and data.FrameOfReferenceUID == uid
assert any(f"FrameOfReferenceUID {uid} was made from the series' UID" in line for line in session.log), session.log
kinds = [each.kind for each in desktop.shown]
assert "QFileDialog.getExistingDirectory" not in kinds and kinds[-1] == "QFileDialog.getSaveFileName", kinds
"""
    )


def test_one_of_several_series_is_chosen_from_a_table_with_the_keyboard(run):
    run(
        _SERIES
        + """
from PySide6.QtTest import QTest
from PySide6.QtCore import Qt
write_series(folder, count=8, names="other{}", SeriesInstanceUID="1.2.3", SeriesNumber=9, SeriesDescription="Bone",
             SliceThickness=5)
shown = []
def press(*keys):
    def answer(dialog):
        (table,) = dialog.findChildren(qt.QTableWidget)
        assert isinstance(dialog.focusWidget(), qt.QTableWidget) and table.currentRow() == 0
        head = [table.horizontalHeaderItem(n).text() for n in range(table.columnCount)]
        shown.append([dict(zip(head, (table.item(row, n).text() for n in range(len(head)))))
                      for row in range(table.rowCount)])
        for key in keys:
            QTest.keyClick(table, key)
    return answer
# Escape: nothing is asked and written after it
choose(".dcm")
desktop.answer(str(folder), press(Qt.Key_Down, Qt.Key_Escape))
ui.exportButton.click()
assert not Path("tumor.dcm").exists() and desktop.shown[-1].kind == "QDialog", desktop.shown
# the longest comes first; Down goes to the one that the volume is of
data, found = read(export(".dcm", "tumor.dcm", str(folder), press(Qt.Key_Down, Qt.Key_Return)))
assert (found == array).all()
assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == pydicom.dcmread(folder / "IM0000").SeriesInstanceUID
first, second = shown[-1]
assert first == {"Series": "9", "Description": "Bone", "Slices": "8", "Spacing (mm)": "2.5", "Thickness (mm)": "5",
                 "Size": "10 x 12", "Direction": "axial", "Told by": ""}, first
assert (second["Description"], second["Slices"], second["Thickness (mm)"]) == ("Portal venous", "6", "2.5"), second
# Return alone takes the first, whose slices lie at the same places
data, found = read(export(".dcm", "other.dcm", str(folder), press(Qt.Key_Return)))
assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
"""
    )


def test_what_a_dicom_seg_cannot_do_without_is_said(run):
    run(
        _SERIES
        + """
def refused(folder):
    choose(".dcm")
    desktop.answer(folder)
    ui.exportButton.click()
    user.finish()
refused("")
assert "are not known; load it through the DICOM module" in session.message and not Path("tumor.dcm").exists()
Path("empty").mkdir()
refused(str(Path("empty").absolute()))
assert "no DICOM series" in session.message and not Path("tumor.dcm").exists(), session.message
write_series(Path("wider").absolute(), count=6, PixelSpacing=[0.9, 0.9])
export(".dcm", "tumor.dcm", str(Path("wider").absolute()))
assert "another voxel grid" in session.message and not Path("tumor.dcm").exists(), session.message
# without the package nothing is asked but whether to install it
import importlib.util, slicer.packaging as packaging
known = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "highdicom" else known(name, *rest)
packaging.refusal = RuntimeError("highdicom was not installed")
choose(".dcm")
ui.exportButton.click()
assert packaging.asked == [["highdicom>=0.24"]] and session.message == "highdicom was not installed"
packaging.refusal = None
ui.exportButton.click()
assert "choose another format" in session.message
"""
    )


def test_what_cannot_be_written_says_why_and_leaves_what_was_there(run):
    run(
        """
ui.addSegmentButton.click()
for ending in (".nii.gz", ".seg.nrrd", ".stl"):
    export(ending, "empty" + ending)
    assert "Nothing is outlined in 'Liver tumor'" in session.message, session.message
array = outline(BOX)
for ending in (".nii.gz", ".seg.nrrd", ".obj"):
    export(ending, Path("nowhere") / ("tumor" + ending))
    assert "does not exist" in session.message, session.message
Path("taken.nii.gz").mkdir()
export(".nii.gz", "taken.nii.gz")
assert "is not a file" in session.message, session.message
assert not [path for path in Path(".").iterdir() if path.is_file() and path.name not in ("program.py",)]
# Cancel in the dialog
choose(".nii.gz")
desktop.answer("")
ui.exportButton.click()
assert not panel.tasks.busy
# the ending is added where the user leaves it out, and nothing is replaced for that unasked
Path("old.nii.gz").write_bytes(b"mine")
choose(".nii.gz")
desktop.answer(str(Path("old").absolute()), "No")
ui.exportButton.click()
user.finish()
assert Path("old.nii.gz").read_bytes() == b"mine"
desktop.answer(str(Path("old").absolute()), "Yes")
ui.exportButton.click()
user.finish()
assert (sitk.GetArrayFromImage(sitk.ReadImage("old.nii.gz")) == array).all()
"""
    )


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody may write to, root included")
def test_a_folder_that_may_not_be_written_to_is_said(run):
    run(
        """
ui.addSegmentButton.click()
outline(BOX)
for ending in (".nii.gz", ".seg.nrrd", ".stl"):
    export(ending, Path("/proc/self") / ("tumor" + ending))
    assert "cannot be written" in session.message, session.message
assert not desktop.errors and not panel.tasks.busy
"""
    )


def test_a_scene_that_is_closed_meanwhile_leaves_a_whole_file_or_none(run):
    run(
        """
import threading
import SAMLiverTumorLib.mrml.api.export_segments as segment_export
ui.addSegmentButton.click()
array = outline(BOX)
gate, write = threading.Event(), segment_export.writeNifti
def slow(*arguments):
    gate.wait(30)
    return write(*arguments)
segment_export.writeNifti = slow
choose(".nii.gz")
desktop.answer(str(Path("tumor.nii.gz").absolute()))
ui.exportButton.click()
assert panel.tasks.busy and not ui.exportButton.enabled and "current job" in ui.exportButton.toolTip
# what is outlined now does not go into the file
outline(np.s_[0:2, 0:2, 0:2])
desktop.closeScene()
gate.set()
desktop.wait(lambda: Path("tumor.nii.gz").exists())
user.finish()
image = sitk.ReadImage("tumor.nii.gz")
assert (sitk.GetArrayFromImage(image) == array).all()
"""
    )
