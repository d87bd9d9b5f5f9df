"""The program on DICOM folders: the series asked for, and what there is to know about it."""

import json
import shutil

import numpy as np
import pydicom
import pytest
from batch_case import settings
from cli_case import read_segment, refused, run, write_volume
from dicom_case import COLUMNS, ROWS, SPACING, STEP, affine, at, write_series
from pydicom.uid import generate_uid

from SAMLiverTumorLib.batch import worker
from SAMLiverTumorLib.batch.inputs import find_jobs
from SAMLiverTumorLib.batch.jobs import TumorPrompts
from SAMLiverTumorLib.batch.prompts_csv import CasePrompts
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.inference.segment_slices import segment
from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume


@pytest.fixture
def mixed(shared_data, tmp_path):
    """Five slices of a liver CT, series 4, one of them twice, and three slices of another, series 2."""
    folder = tmp_path / "exported"
    shutil.copytree(shared_data / "dcmqi/ct-3slice", folder / "other")
    for file in sorted((shared_data / "chaos3/dicom").glob("*.dcm"))[40:45]:
        shutil.copy(file, folder)
    shutil.copy(file, folder / "again.dcm")
    return folder


def test_a_folder_of_several_series_asks_for_one(mixed, out, capsys):
    told = refused(capsys, mixed, "-o", out, "--point=0,0,0")
    assert "holds 2 series; choose one by its number or UID (--series on the command line)" in told
    assert "holds no series '9'" in refused(capsys, mixed, "-o", out, "--point=0,0,0", "--series", 9)
    assert not out.exists()


def test_series_of_an_image_file_is_refused(ct, out, capsys):
    assert "is no DICOM file or folder" in refused(capsys, ct, "-o", out, "--point=0,0,0", "--series", 4)


def test_the_series_asked_for_is_segmented_and_its_notes_are_printed(mixed, out, pool, warm, capsys):
    volume = read_volume(mixed, 4)
    center = (volume.ijk_to_ras @ [180, 240, 2, 1])[:3]
    half = np.array([30, 30, 0])
    box = Box.from_corners(center - half, center + half)
    text = ",".join(f"{x:.4f}" for x in (*box.corners.min(axis=0), *box.corners.max(axis=0)))
    assert run(mixed, "-o", out, f"--box={text}", "--series", "4", "--yes") == 0
    assert "note: 1 image held twice, " in capsys.readouterr().out
    expected = segment(volume, Prompts(box=box), pool).mask
    assert expected.count > 100
    assert np.array_equal(read_segment(out)[0], expected.full())


@pytest.fixture
def phases(tmp_path):
    """Two series of five and three slices in one folder, the second one 100 HU brighter, and labels on the first."""
    folder = write_series(tmp_path / "ct", 5, "a{}", BitsStored=16, HighBit=15)
    uid = generate_uid()
    write_series(folder, 3, "b{}", SeriesInstanceUID=uid, SeriesNumber=4, RescaleIntercept=-924)
    array = np.zeros((5, ROWS, COLUMNS), np.uint8)
    array[1:3, 2:5, 3:7] = 1
    return folder, uid, write_volume(tmp_path / "label.nii.gz", Volume(array, affine(), "label"))


def failed(capsys, *words):
    """The one line that the program refuses with."""
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_export_makes_up_a_frame_of_reference_with_the_option_alone(tmp_path, capsys):
    folder = write_series(tmp_path / "ct", FrameOfReferenceUID=None)
    array = np.zeros((5, ROWS, COLUMNS), np.uint8)
    array[1:3, 2:5, 3:7] = 1
    label, out = write_volume(tmp_path / "label.nii.gz", Volume(array, affine(), "label")), tmp_path / "seg.dcm"
    told = failed(capsys, "export", label, "--source", folder, "--to", out)
    assert "no FrameOfReferenceUID" in told and "--derive-frame-of-reference" in told and not out.exists()
    assert main(["export", str(label), "--source", str(folder), "--to", str(out), "--derive-frame-of-reference"]) == 0
    uid = pydicom.dcmread(out).FrameOfReferenceUID
    assert uid.startswith("2.25.") and f"note: FrameOfReferenceUID {uid} was made" in capsys.readouterr().out


def test_the_report_of_segment_says_what_was_resampled_and_what_was_made_up(tmp_path, pool, warm, capsys):
    """A tilted series without a frame of reference: what is printed of it is in the JSON report, too."""
    shear = np.tan(np.radians(12))
    folder = write_series(
        tmp_path / "ct", 7, change=lambda k: at(STEP * k, down=shear * STEP * k), FrameOfReferenceUID=None
    )
    volume = read_volume(folder)
    center, half = (volume.ijk_to_ras @ [5, 6, 3, 1])[:3], np.array([2, 3, 0])
    corners = ",".join(f"{x:.3f}" for x in (*(center - half), *(center + half)))
    out, report = tmp_path / "out.dcm", tmp_path / "report.json"
    words = (folder, "-o", out, f"--box={corners}", "--json", report, "--model", "liver-tumor", "--yes")
    assert run(*words, "--derive-frame-of-reference") == 0
    printed = capsys.readouterr().out
    uid = pydicom.dcmread(out).FrameOfReferenceUID
    notes = json.loads(report.read_text())["notes"]
    for told in ("gantry tilt of 12.0 degrees", "on the original slices", f"FrameOfReferenceUID {uid} was made"):
        (note,) = [each for each in notes if told in each]
        # the folder's name stays out of the report
        assert note.replace("slices of the volume", "slices of 'ct'") in printed
    assert len(set(notes)) == len(notes)


def test_report_measures_on_the_series_asked_for(phases, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder, uid, label = phases
    assert "choose one by its number or UID" in failed(capsys, "report", label, folder, "-o", tmp_path / "a")
    means = {}
    for series in ("3", uid):
        out = tmp_path / series
        assert main(["report", str(label), str(folder), "-o", str(out), "--series", series, "--pictures", "0"]) == 0
        (row,) = json.loads((out / "lesions.json").read_text())["lesions"]
        means[series] = row["intensity_mean"]
        assert row["volume_ml"] == pytest.approx(24 * SPACING[0] * SPACING[1] * STEP / 1000)
    assert means[uid] - means["3"] == pytest.approx(100, abs=1e-3)
    assert "is no DICOM file or folder" in failed(capsys, "report", label, label, "-o", tmp_path / "b", "--series", "4")


def test_evaluate_takes_the_segmentation_of_the_series_asked_for(phases, tmp_path, capsys):
    folder, _, label = phases
    readers = tmp_path / "readers"
    readers.mkdir()
    source = read_source(folder, 3)
    for number, rows in ((103, 3), (104, 2)):
        array = np.zeros((5, ROWS, COLUMNS), np.uint8)
        array[1:3, 2 : 2 + rows, 3:7] = 1
        made = readers / f"{number}.dcm"
        write_dicom_seg(LabelFile("x", (array,), {"Tumor": (0, 1)}, affine()), source, made)
        data = pydicom.dcmread(made)
        data.SeriesNumber = number
        data.save_as(made)
    told = failed(capsys, "evaluate", readers, label)
    assert "2 DICOM segmentations; name one of them: 103.dcm (series 103), 104.dcm (series 104)" in told
    assert "of series '9'; it holds 103.dcm" in failed(capsys, "evaluate", readers, label, "--series", "9")
    assert "but prediction and reference are files" in failed(capsys, "evaluate", label, label, "--series", "103")
    # the second reader left out one row of three: 2 * 16 / (24 + 16)
    for series, dice in (("103", 1.0), ("104", 0.8), (data.SeriesInstanceUID, 0.8)):
        report = tmp_path / f"{series}.json"
        assert main(["evaluate", str(readers), str(label), "--series", series, "--json", str(report)]) == 0
        assert json.loads(report.read_text())["overall"]["dice"] == dice


def test_batch_reads_the_series_asked_for_in_every_folder(phases, tmp_path, pool, monkeypatch, capsys):
    folder, uid, label = phases
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in ("one", "two"):
        shutil.copytree(folder, scans / name)
    box = tuple(map(tuple, np.array([[5.4, 1.6, 100], [-5, -5, 100]]) + affine()[:3, 3] * (1, 1, 0)))
    table = tmp_path / "prompts.csv"
    corners = ",".join(f"{x:.3f}" for corner in box for x in corner)
    table.write_text("case,kind,r,a,s,r2,a2,s2\n" + "".join(f"{name},box,{corners}\n" for name in ("one", "two")))
    common = ("--prompts", table, "--model", "liver-tumor", "--workers", "1")
    told = failed(capsys, "batch", scans, "--out", out, *common, "--series", uid)
    assert "is of one scan, but there are 2; give --series a number" in told
    shutil.copy(label, scans / "three.nii.gz")
    told = failed(capsys, "batch", scans, "--out", out, *common, "--series", "4")
    assert "--series 4 chooses from DICOM folders, but 'three.nii.gz' is none" in told
    assert not out.exists()
    (scans / "three.nii.gz").unlink()
    monkeypatch.setattr(worker, "prepared_pool", lambda settings: pool)
    tumors = (TumorPrompts("Liver tumor", box=box),)
    jobs, _ = find_jobs([scans], out, {name: CasePrompts(tumors, 2) for name in ("one", "two")})
    (out / "records").mkdir(parents=True)
    outcome = worker.run_job(jobs[0], settings())
    assert outcome.state == "failed" and "choose one by its number or UID" in outcome.reason
    for job in jobs:
        outcome = worker.run_job(job, settings(series="4"))
        assert outcome.state == "done", outcome.reason
        assert read_segment(job.segmentation)[1].GetSize() == (COLUMNS, ROWS, 3)
    # another series is another result
    again = worker.run_job(jobs[0], settings(series="3"))
    assert again.state == "failed" and "other prompts or settings" in again.reason


def test_records_from_before_there_was_a_choice_of_series_are_still_those_of_their_settings():
    assert "series" not in settings().as_dict() and settings(series="4").as_dict()["series"] == "4"
