"""What a hospital would try first: DICOM in, a lesion outlined, report and DICOM SEG out, read by another program.

Once with the console program and once at the panel, with the bundled network, on a portal venous CT of CHAOS, whose
liver gets a lesion here as it has none, and on real CT as a patient of 3D-IRCADb in the delivered layout.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dcmqi_case import by_dcmqi
from ircadb_case import Patient
from scipy import ndimage

# the lesion of the CHAOS liver: a ball around LPS (mm), as deep in it as can be, darker than its 141 HU
CENTER, RADIUS_MM, DARKER = (-97.09, 123.60, 1614.5), 9.0, 70
ROOT = Path(__file__).resolve().parents[3]


class Scan:
    """A folder of DICOM files, one a slice, by their headers alone.

    :param files: all of them.
    """

    def __init__(self, folder, files):
        self.folder = folder
        headers = [pydicom.dcmread(file) for file in files]
        self.slices = sorted(headers, key=lambda header: float(header.ImagePositionPatient[2]))
        self.shape = (len(headers), int(headers[0].Rows), int(headers[0].Columns))
        self.spacing = (float(headers[0].PixelSpacing[1]), float(headers[0].PixelSpacing[0]))
        self.step = float(self.slices[1].ImagePositionPatient[2]) - self.first[2]
        assert [float(x) for x in headers[0].ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]

    @property
    def first(self):
        """LPS of the first voxel."""
        return [float(x) for x in self.slices[0].ImagePositionPatient]

    @property
    def voxel_ml(self):
        return self.spacing[0] * self.spacing[1] * self.step / 1000

    def lps(self, i, j, k):
        return np.add(self.first, np.multiply((i, j, k), (*self.spacing, self.step)))

    def box(self, low, high):
        """`--box` around voxels (i, j) of slice k, as RAS in mm."""
        corners = [self.lps(*corner) * (-1, -1, 1) for corner in (low, high)]
        values = (*np.min(corners, axis=0), *np.max(corners, axis=0))
        return "--box=" + ",".join(f"{x:.4f}" for x in values)

    def whole(self, image, value=1):
        """An image's voxels of a value as bool (k, j, i) of the scan; each has to lie on one of the scan's voxels."""
        at = np.argwhere(sitk.GetArrayFromImage(image) == value)[:, ::-1]
        directions = np.array(image.GetDirection()).reshape(3, 3)
        lps = image.GetOrigin() + (at * image.GetSpacing()) @ directions.T
        ijk = (lps - self.first) / (*self.spacing, self.step)
        assert np.abs(ijk - np.rint(ijk)).max() < 0.01
        mask = np.zeros(self.shape, bool)
        mask[tuple(np.rint(ijk).astype(int).T[::-1])] = True
        assert mask.sum() == len(at)
        return mask


class Chaos:
    """The CT of CHAOS with a lesion in its liver."""

    options = ()

    def __init__(self, folder, shared_data):
        (folder / "CHAOS").mkdir()
        for file in sorted((shared_data / "chaos3" / "dicom").iterdir()):
            # a third of its slices, which is as much as the test has time for
            if abs(float(pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient[2]) - CENTER[2]) < 26:
                shutil.copy(file, folder / "CHAOS")
        self.scan = scan = Scan(folder / "CHAOS", sorted((folder / "CHAOS").iterdir()))
        center = np.divide(np.subtract(CENTER, scan.first), (*scan.spacing, scan.step))
        away = [
            (np.arange(count) - at) * size
            for count, at, size in zip(scan.shape, center[::-1], (scan.step, *scan.spacing[::-1]), strict=True)
        ]
        z, y, x = np.ix_(*(each**2 for each in away))
        self.lesion = z + y + x <= RADIUS_MM**2
        for image, dark in zip(scan.slices, self.lesion, strict=True):
            pixels = image.pixel_array.copy()
            pixels[dark] -= DARKER
            image.PixelData = pixels.tobytes()
            image.save_as(image.filename)
        middle, half = np.rint(center).astype(int), int(RADIUS_MM / scan.spacing[0]) + 2
        around = np.array((half, half, 0))
        self.low, self.high = middle - around, middle + around
        self.case = self.scan.folder
        # as the DICOM module leaves it, which the stand-in lacks: where the files are is asked at the export
        self.load = "ui.volumeSelector.setCurrentNode(addVolumeNode(slicer.mrmlScene, read_volume(FOLDER)))"
        self.answers = (str(self.case),)


class Ircadb:
    """Real CT of the sample case as a patient of 3D-IRCADb: unpacked folders of image_0, image_1, ..."""

    options = ("--derive-frame-of-reference",)

    def __init__(self, folder, sample):
        volume, labels = sample
        volume, labels = sample[0].array[33:45], sample[1][33:45]
        patient = Patient(
            2, {"liver": labels > 0, "livertumor": labels == 2}, np.int16(np.rint(volume)), np.int16(labels)
        )
        self.case = patient.write(folder)
        self.scan = Scan(self.case / "PATIENT_DICOM", sorted((self.case / "PATIENT_DICOM").iterdir()))
        # the one of 1,233 voxels, whose first slice is left out
        pieces, _ = ndimage.label(labels == 2)
        self.lesion = pieces == pieces[6, 80, 82]
        k = int(self.lesion.sum(axis=(1, 2)).argmax())
        j, i = np.nonzero(self.lesion[k])
        self.low, self.high = (i.min() - 1, j.min() - 1, k), (i.max() + 1, j.max() + 1, k)
        self.load = (
            "desktop.answer(FOLDER)\nui.loadIrcadbButton.click()\n"
            "desktop.wait(lambda: not panel.tasks.busy and panel.ircadb._adding is None)"
        )
        # to make up what the set lacks
        self.answers = ("Yes",)


@pytest.fixture(params=["chaos3", "3D-IRCADb"])
def patient(request, tmp_path):
    if request.param == "chaos3":
        return Chaos(tmp_path, request.getfixturevalue("shared_data"))
    return Ircadb(tmp_path, request.getfixturevalue("sample"))


def console(*words):
    """The console program in a process of its own, as it is installed."""
    call = [sys.executable, "-m", "SAMLiverTumorLib", *map(str, words)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def check_seg(patient, path, mask, folder):
    """Whether dcmqi finds the mask in a DICOM SEG, voxel for voxel, and what it refers to is the CT."""
    images, described, complaints = by_dcmqi(path, folder)
    assert "absent" not in complaints and "rror" not in complaints
    (image,) = images.values()
    np.testing.assert_array_equal(patient.scan.whole(image), mask)
    assert described[1]["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "Mass"
    data, ct = pydicom.dcmread(path), patient.scan.slices
    (series,) = data.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == ct[0].SeriesInstanceUID and data.StudyInstanceUID == ct[0].StudyInstanceUID
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert named <= {header.SOPInstanceUID for header in ct}
    assert data.FrameOfReferenceUID == ct[0].get("FrameOfReferenceUID", data.FrameOfReferenceUID)


def test_with_the_console_program(patient, tmp_path):
    pytest.importorskip("matplotlib")
    scan, out = patient.scan, tmp_path / "out.seg.nrrd"
    box = scan.box(patient.low, patient.high)
    console("segment", scan.folder, "-o", out, box, "--mode", "volume", "--model", "liver-tumor")
    mask = scan.whole(sitk.ReadImage(str(out)))
    assert dice(mask, patient.lesion) > 0.7
    console("report", out, scan.folder, "-o", tmp_path / "report", "--pictures", 1)
    said = json.loads((tmp_path / "report" / "lesions.json").read_text("utf-8"))
    assert said["total"]["volume_ml"] == pytest.approx(mask.sum() * scan.voxel_ml)
    assert (tmp_path / "report" / "lesions.pdf").read_bytes().startswith(b"%PDF")
    console("export", out, "--source", scan.folder, "--to", tmp_path / "seg.dcm", *patient.options)
    check_seg(patient, tmp_path / "seg.dcm", mask, tmp_path / "dcmqi")


def test_at_the_panel(patient, at_panel, tmp_path):
    program = f"""
import json
import numpy as np
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
panel.pool.use(PredictorPool(device="cpu"))
FOLDER, LOW, HIGH = {str(patient.case)!r}, {tuple(map(int, patient.low))}, {tuple(map(int, patient.high))}
{patient.load}
user.finish()
user.volumeNode = session.volumeNode
user.volume = volumeFromNode(user.volumeNode)
widget._parameterNode.model = "liver-tumor"
for k in (LOW[2] - 1, LOW[2]):
    user.look(k)
ui.addSegmentButton.click()
user.drawBox(LOW, HIGH)
desktop.wait(lambda: not session.busy, seconds=300)
drawn = user.count()
assert drawn, session.log
ui.propagateBothButton.click()
desktop.wait(lambda: not session.busy, seconds=300)
assert user.count() > drawn, session.log
np.save("mask.npy", user.array())
ui.lesionReportButton.click()
user.finish()
table = widget._parameterNode.lesions.GetTable()
column = table.GetColumnByName("Volume (ml)")
ml = sum(float(column.GetValue(n)) for n in range(table.GetNumberOfRows()))
combo = ui.exportFormatCombo
combo.setCurrentIndex([combo.itemData(n) for n in range(combo.count)].index(".dcm"))
desktop.answer(*{patient.answers}, str(Path("seg.dcm").absolute()))
ui.exportButton.click()
user.finish()
assert session.message.startswith("Written"), session.log
Path("said.json").write_text(json.dumps(ml))
"""
    at_panel(program, timeout=600)
    mask = np.load(tmp_path / "mask.npy").astype(bool)
    assert dice(mask, patient.lesion) > 0.7
    assert json.loads((tmp_path / "said.json").read_text()) == pytest.approx(
        mask.sum() * patient.scan.voxel_ml, abs=0.01
    )
    check_seg(patient, tmp_path / "seg.dcm", mask, tmp_path / "dcmqi")
