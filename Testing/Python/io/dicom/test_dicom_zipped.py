"""DICOM SEG of a series that lies in zip files: 3D-IRCADb as it is delivered, or as careless people keep it."""

import zipfile

import numpy as np
import pydicom
import pytest
from ircadb_case import SERIES, STUDY, Patient, usual_masks

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.identifiers import MissingIdentifiers
from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.ircadb.cases import read_ircadb
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.nifti_writer import write_label_nifti
from SAMLiverTumorLib.io.labels.reader import read_labels

TUMOR = usual_masks()["livertumor01"]
LAYOUTS = {
    "folders": (Patient.write, ""),
    "four zip files": (Patient.write_zips, ""),
    "the zip file of the CT": (Patient.write_zips, "PATIENT_DICOM.zip"),
    "zip files in a zip file": (Patient.write_nested, ""),
}


@pytest.fixture
def before(tmp_path, monkeypatch):
    """What lies in the folder of temporary files, which has to be the same afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("before")
def test_a_case_as_it_is_delivered_is_the_source_of_a_segmentation(tmp_path, layout):
    write, inside = LAYOUTS[layout]
    patient = Patient(1)
    place = write(patient, tmp_path / "set") / inside
    with pytest.raises(MissingIdentifiers, match="no FrameOfReferenceUID"):
        read_source(place)
    source = read_source(place, derive_frame_of_reference=True)
    volume = read_ircadb(tmp_path / "set").volume
    assert source.ijk_to_ras == pytest.approx(volume.ijk_to_ras) and source.dimensions == volume.dimensions
    labels = LabelFile("made", (TUMOR.astype(np.uint8),), {"Liver tumor": (0, 1)}, volume.ijk_to_ras)
    write_dicom_seg(labels, source, tmp_path / "seg.dcm")
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (data.StudyInstanceUID, data.ReferencedSeriesSequence[0].SeriesInstanceUID) == (STUDY, SERIES)
    given = [pydicom.dcmread(path, force=True) for path in _slices(patient, tmp_path)]
    referred = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referred} <= {str(each.SOPInstanceUID) for each in given}
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), volume.ijk_to_ras, volume.dimensions)
    assert (back.segments["Liver tumor"] == TUMOR).all()


def _slices(patient, tmp_path):
    """The CT's files as they were written, unpacked from whatever layout it is."""
    if not (nested := list((tmp_path / "set").rglob("*.zip"))):
        return [*(tmp_path / "set" / patient.name / "PATIENT_DICOM").iterdir()]
    for number, path in enumerate(nested):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "unpacked" / str(number))
    for path in list((tmp_path / "unpacked").rglob("PATIENT_DICOM.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "unpacked")
    return [path for path in (tmp_path / "unpacked").rglob("image_*") if "PATIENT_DICOM" in path.parts]


@pytest.mark.usefixtures("before")
def test_export_takes_the_delivered_case_and_says_what_was_made_up(tmp_path, capsys):
    case = Patient(1).write_zips(tmp_path)
    volume = read_ircadb(case).volume
    write_label_nifti(TUMOR.astype(np.uint8), volume.ijk_to_ras, tmp_path / "tumor.nii.gz")
    words = ["export", tmp_path / "tumor.nii.gz", "--source", case, "--to", tmp_path / "seg.dcm"]
    assert main([*map(str, words), "--derive-frame-of-reference"]) == 0
    assert "FrameOfReferenceUID 2.25." in capsys.readouterr().out
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), volume.ijk_to_ras, volume.dimensions)
    (mask,) = back.segments.values()
    assert (mask == TUMOR).all()


def test_a_set_of_several_cases_is_asked_which(tmp_path):
    for number in (1, 2):
        Patient(number).write_zips(tmp_path / "set")
    with pytest.raises(InputError, match="holds 2 cases of 3D-IRCADb; name one"):
        read_source(tmp_path / "set")
    with pytest.raises(InputError, match="does not exist"):
        read_source(tmp_path / "set" / "3Dircadb1.3")
