"""Names that are no UTF-8, as of a zip packed on Windows, are read and written; none ends the process.

Python holds their bytes as surrogates. SimpleITK ends the process over such a name, so each of these tests would not
fail but take the test run with it.
"""

import os
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from support.nifti_files import AFFINE, nifti_bytes, scan

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.nifti_writer import write_label_nifti
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.write_image import write_image
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
from SAMLiverTumorLib.mrml.scene_files import loadScene, loadVolume, saveScene, saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
from SAMLiverTumorLib.volume import Volume

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes exist on Linux alone")

CT, LABELS = scan()
NAMES = [b"M\xfcller", "门静脉期".encode("gbk"), "門脈相".encode("shift-jis")]


@pytest.fixture(params=NAMES, ids=["latin-1", "gbk", "shift-jis"])
def name(request):
    return os.fsdecode(request.param)


def written(folder, name, suffix, array):
    """A file that Python writes under a name that C++ could not."""
    folder.mkdir(exist_ok=True)
    if suffix.startswith("nii"):
        content = nifti_bytes(array)
    else:
        image = sitk.GetImageFromArray(array)
        sitk.WriteImage(image, str(folder.parent / f"plain.{suffix}"))
        content = (folder.parent / f"plain.{suffix}").read_bytes()
    (folder / f"{name}.{suffix}").write_bytes(content)
    return folder / f"{name}.{suffix}"


@pytest.mark.parametrize("suffix", ["nii", "nrrd", "mha"])
@pytest.mark.parametrize("where", ["file", "folder", "both"])
def test_scans_and_labels_are_read(tmp_path, name, suffix, where):
    folder = tmp_path / ("plain" if where == "file" else name)
    path = written(folder, "plain" if where == "folder" else name, suffix, LABELS)
    volume = read_volume(path)
    assert np.array_equal(volume.array, LABELS)
    assert np.array_equal(read_labels(path).segments["2"], LABELS == 2)
    volume.name.encode()  # goes into scenes and reports
    node = loadVolume(createScene(), path)
    assert np.array_equal(volumeFromNode(node).array, LABELS)
    assert sorted(p.name for p in folder.iterdir()) == [path.name]


def test_a_file_that_is_damaged_is_refused_by_a_name_that_can_be_shown(tmp_path, name):
    path = written(tmp_path, name, "mha", LABELS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        read_volume(path)
    str(caught.value).encode()
    assert "truncated" in str(caught.value)
    assert str(os.fsencode(path.name.split(".")[0]))[2:-1].split("\\")[0] in str(caught.value)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("where", ["file", "folder"])
def test_images_are_written(tmp_path, name, suffix, where):
    folder = tmp_path / ("plain" if where == "file" else name)
    folder.mkdir()
    path = folder / f"{'plain' if where == 'folder' else name}.{suffix}"
    with atomic_path(path) as temporary:
        write_image(CT, AFFINE, temporary)
    assert [p.name for p in folder.iterdir()] == [path.name]
    back = read_volume(path)
    assert np.array_equal(back.array, CT)
    assert np.allclose(back.ijk_to_ras, AFFINE)
    if suffix == "nii.gz":
        write_label_nifti(LABELS, AFFINE, folder / f"{name}_label.nii.gz", path)
        assert np.array_equal(read_labels(folder / f"{name}_label.nii.gz").segments["2"], LABELS == 2)


def test_segmentations_and_scenes_are_written_and_read(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    scene = createScene()
    volume_node = addVolumeNode(scene, Volume(CT, AFFINE, name))
    node = createSegmentation(scene, volume_node)
    addTumorSegment(node, "Liver tumor")
    saveSegmentation(node, folder / f"{name}.seg.nrrd")
    assert list(read_labels(folder / f"{name}.seg.nrrd").entries) == ["Liver tumor"]
    saveScene(scene, folder / f"{name}.mrb")
    again = createScene()
    loadScene(again, folder / f"{name}.mrb")
    assert again.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert sorted(p.suffix for p in folder.iterdir()) == [".mrb", ".nrrd"]
