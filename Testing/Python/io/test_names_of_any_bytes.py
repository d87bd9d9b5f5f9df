"""Names that are no UTF-8, as of a zip packed on Windows, are read and written; none ends the process.

Python holds their bytes as surrogates. SimpleITK ends the process over such a name, so each of these tests would not
fail but take the test run with it.
"""

import json
import os
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from batch_case import settings as batch_settings
from support.nifti_files import AFFINE, nifti_bytes, scan
from training_case import events, write_case
from training_case import options as training_options

from SAMLiverTumorLib.batch.jobs import Outcome
from SAMLiverTumorLib.batch.summary import write_summary
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.nifti_writer import write_label_nifti
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.write_image import write_image
from SAMLiverTumorLib.models.weights import read_about
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


def call(*words):
    return main([str(word) for word in words])


def test_reports_are_written_with_names_that_only_degrade(tmp_path, name):
    """--paths puts the files' names into the report, a title what was typed; both stay text in UTF-8."""
    shown = printable(name)
    label = written(tmp_path / name, name, "nii", LABELS)
    ct = written(tmp_path / name, "ct", "nii", CT)
    out = tmp_path / name / "figures.json"
    assert call("evaluate", label, label, "--label", "2", "--paths", "--json", out) == 0
    report = json.loads(out.read_text("utf-8"))
    assert report["reference"]["file"].endswith(f"{shown}.nii") and report["overall"]["dice"] == 1.0
    folder = tmp_path / name / "report"
    assert call("report", label, ct, "--label", "2", "--title", name, "--pictures", "0", "-o", folder) == 0
    assert shown in (folder / "lesions.html").read_text("utf-8")
    assert json.loads((folder / "lesions.json").read_text("utf-8"))["lesions"]
    record = {"notes": [f"'{name}' was read"], "segments": []}
    write_summary(tmp_path, [Outcome(name, "done", f"'{name}' is doubtful", record)], batch_settings())
    (row,) = json.loads((tmp_path / "summary.json").read_text("utf-8"))["cases"]
    assert row["case"] == shown and row["notes"] == [f"'{shown}' was read"]
    for file in ("summary.csv", "summary.md"):
        assert shown in (tmp_path / file).read_text("utf-8")


def test_a_model_is_trained_on_folders_and_files_of_any_name(tmp_path):
    name = os.fsdecode(NAMES[1])
    for number in (1, 2):
        write_case(tmp_path / "plain", f"p{number}", center=(30 + number, 30), radius=9, seed=number)
        folder = tmp_path / f"{name}{number}"
        folder.mkdir()
        for kind in ("ct", "label"):
            (tmp_path / "plain" / f"p{number}_{kind}.nii.gz").rename(folder / f"{name}{number}_{kind}.nii.gz")
    both = [tmp_path / f"{name}1", tmp_path / f"{name}2"]
    out = tmp_path / f"{name}-run"
    words = training_options(both, out, labels=both, validation=f"{name}2", epochs=1, steps=1, batch=1, text=[])
    assert main(["train", *words, "--no-blend", "--names"]) == 0
    assert len(events(out, "step")) == 1 and events(out, "done")
    (weights,) = out.glob("*.safetensors")
    assert list(map(printable, read_about(weights)["card"]["split"]["validation"])) == [printable(f"{name}2")]
    (out / "comparison.md").unlink(missing_ok=True)
    assert call("compare", "--run", out, "--device", "cpu", "--limit", "1") == 0
    assert printable(f"{name}2") in (out / "comparison.md").read_text("utf-8")
