"""Whose scan it was is told where it is asked for only: in no result, report, cache, weight file or temporary file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
from dicom_case import write_series
from training_case import command, options, scan, write_case

from SAMLiverTumorLib.datasets.patient_aliases import aliases, without_patients

ROOT = Path(__file__).resolve().parents[3]
NAME, NUMBER, FOLDER = "Canary^Yellow", "ZEBRA-4711", "canary_jane"
WORDS = (b"canary", b"yellow", b"zebra")
PATIENT = {
    "PatientName": NAME,
    "PatientID": NUMBER,
    "PatientBirthDate": "19470711",
    "AccessionNumber": NUMBER,
    "InstitutionName": "Canary Hospital",
    "ReferringPhysicianName": NAME,
    "StudyDescription": "Canary liver",
    "SeriesDescription": "Canary portal",
}


def told_in(path):
    """Which of the words a file says; archives are looked into."""
    data = path.read_bytes().lower()
    if path.suffix in (".npz", ".gz"):
        loaded = np.load(path, allow_pickle=False) if path.suffix == ".npz" else {}
        data += b"".join(bytes(loaded[name]) for name in loaded)
    return [word for word in WORDS if word in data]


def tellers(folder, allowed=()):
    """Files below a folder that say one of the words, in content or name."""
    found = []
    for path in sorted(folder.rglob("*")):
        own = str(path.relative_to(folder)).lower().encode()
        if path.name not in allowed and (any(w in own for w in WORDS) or (path.is_file() and told_in(path))):
            found.append(str(path.relative_to(folder)))
    return found


def run(tmp_path, *words):
    """The program as a user runs it, with a home, caches and temporary folder of its own."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "SAM_LIVER_TUMOR_CACHE"},
        **{"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")},
        **{"TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    }
    program = [sys.executable, "-m", "SAMLiverTumorLib", *map(str, words)]
    return subprocess.run(program, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """(given, made): a DICOM series full of names, in a folder of such a name, segmented and judged."""
    given, made = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("made")
    series = write_series(given / FOLDER, **PATIENT)
    done = run(
        *(made, "segment", series, "-o", made / "out.seg.nrrd", "--json", made / "report.json"),
        *("--box=24,5,104,29,11,106", "--model", "liver-tumor", "--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr
    canary = given / f"{FOLDER}.seg.nrrd"
    canary.write_bytes((made / "out.seg.nrrd").read_bytes())
    judged = run(made, "evaluate", canary, made / "out.seg.nrrd", "--json", made / "judged.json")
    assert judged.returncode == 0, judged.stderr
    return given, made


def test_result_report_cache_home_and_temporary_files_say_nothing_of_the_patient(segmented):
    made = segmented[1]
    assert {"out.seg.nrrd", "report.json", "judged.json", "home", "tmp"} <= {path.name for path in made.iterdir()}
    assert list((made / "home").rglob("*.embedding"))  # the cache was at work
    assert tellers(made) == []


def test_the_words_are_found_where_they_are(segmented, tmp_path):
    assert told_in(segmented[0] / FOLDER / "IM0000") == list(WORDS)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.txt").write_text("Canary")
    assert tellers(tmp_path) == ["in/note.txt"]


def test_reports_name_the_files_where_that_is_asked_for(segmented, tmp_path):
    given, made = segmented
    judged = json.loads((made / "judged.json").read_text())
    assert "file" not in judged["prediction"] and "file" not in judged["reference"]
    canary = given / f"{FOLDER}.seg.nrrd"
    asked = tmp_path / "asked.json"
    assert run(tmp_path, "evaluate", canary, canary, "--json", asked, "--paths").returncode == 0
    assert json.loads(asked.read_text())["prediction"]["file"] == str(canary)


def test_a_trained_model_and_its_pictures_do_not_say_who_it_learned_from(tmp_path):
    cases = tmp_path / "cases"
    for seed, name in enumerate(("p1", "p3", FOLDER)):
        write_case(cases, name, seed=seed)
    run_folder = tmp_path / "run"
    words = options(cases, run_folder, base="liver-tumor", copies=1, epochs=1, steps=1)
    process = command(*words, SAM_LIVER_TUMOR_CACHE="off")
    told = process.communicate(timeout=900)
    assert process.returncode == 0, told
    (weights,) = [path for path in run_folder.glob("*.safetensors")]
    with safetensors.safe_open(weights, "np") as file:
        card = json.loads(file.metadata()["sam-liver-tumor"])["card"]
    voxels = card["data_sha256"]
    assert sum(name.startswith("patient-") for name in voxels) == 1
    assert {"p1", "p3"} < set(voxels)
    assert all(name in voxels for name in (*card["split"]["train"], *card["split"]["validation"]))
    # what stays in the run's folder says it: the run goes on from there
    assert tellers(run_folder, allowed={"progress.jsonl", "last.pt"}) == []


def test_the_alias_of_a_patient_is_the_same_wherever_the_scan_is(tmp_path):
    from SAMLiverTumorLib.volume import Volume

    ct = scan()[0]
    again = Volume(ct.array.copy(), ct.ijk_to_ras, "another name")
    names = aliases({"Doe_Jane": ct.voxel_hash, "Roe": again.voxel_hash, "liver_12": "0" * 64, "12345678": "1" * 64})
    assert names["Doe_Jane"] == names["Roe"] == f"patient-{ct.voxel_hash[:12]}"
    assert names["liver_12"] == "liver_12"  # a public set's number, by which comparisons see what was learned from
    assert names["12345678"] == "patient-111111111111"  # which may be a patient's
    assert without_patients({"a": ("Doe_Jane", 1)}, names) == {"a": [names["Doe_Jane"], 1]}
