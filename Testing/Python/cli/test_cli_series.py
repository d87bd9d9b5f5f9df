"""Two series in one DICOM folder: every command that reads scans asks which, and reads the one that is named."""

import json

import numpy as np
import pytest
from cli_case import write_volume
from dicom_case import write_series
from propagation_case import DarkPool, DarkPredictor
from training_case import LIVER_HU, SIZE, SLICES, TUMOR_HU, events, options, scan, write_case

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.datasets.cases import find_cases, load_case
from SAMLiverTumorLib.datasets.series_choice import with_series
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.models.weights import read_about
from SAMLiverTumorLib.training.runs.run_comparison import comparison_of_run
from SAMLiverTumorLib.training.samples.prepare import labeled_cases
from SAMLiverTumorLib.training.settings import from_mapping

pytestmark = pytest.mark.usefixtures("one_thread")

ARTERIAL_HU = 60
UIDS = {"p1": "1.2.826.0.1.3680043.2.1125.1", "p2": "1.2.826.0.1.3680043.2.1125.2"}


def write_phases(folder, labels, name, **scan_options):
    """A patient's folder with two series: 4, the scan, and 7, the same liver 50 HU darker; and its label file."""
    volume, label = scan(**scan_options)
    for number, shift in ((4, 0), (7, ARTERIAL_HU - LIVER_HU)):
        hu = volume.array + shift

        def change(k, hu=hu):
            return {
                "PixelData": (hu[k] + 1024).astype(np.uint16).tobytes(),
                "ImagePositionPatient": [0, 0, 5.0 * k],
            }

        write_series(
            folder / name,
            SLICES,
            f"{number}-{{}}.dcm",
            change,
            SeriesNumber=number,
            SeriesInstanceUID=f"{UIDS[name]}.{number}",
            Rows=SIZE,
            Columns=SIZE,
            PixelSpacing=[2, 2],
            SliceThickness=5,
        )
    labels.mkdir(exist_ok=True)
    return write_volume(labels / f"{name}.nii.gz", label)


@pytest.fixture
def phases(tmp_path):
    """Patients p1 and p2 of two series each."""
    ct, labels = tmp_path / "ct", tmp_path / "labels"
    write_phases(ct, labels, "p1", center=(32, 30), radius=10, seed=1)
    write_phases(ct, labels, "p2", center=(24, 36), radius=9, seed=2)
    return ct, labels


def refused(capsys, *words):
    """The one line that the program refuses with."""
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def liver_hu(case):
    return float(np.median(case.volume.array[case.liver & ~case.tumor]))


def test_a_case_is_read_from_the_series_that_it_names(phases):
    ct, labels = phases
    given = find_cases(ct, labels)
    with pytest.raises(InputError, match=r"holds 2 series; .* \(--series on the command line\)"):
        load_case(given[0])
    for number, hu in (("4", LIVER_HU), ("7", ARTERIAL_HU)):
        for case in map(load_case, with_series(given, number)):
            assert liver_hu(case) == pytest.approx(hu, abs=1)
            assert np.median(case.volume.array[case.tumor]) == pytest.approx(hu - LIVER_HU + TUMOR_HU, abs=1)
    (one,) = with_series(given[1:], UIDS["p2"] + ".7")
    assert liver_hu(load_case(one)) == pytest.approx(ARTERIAL_HU, abs=1)
    with pytest.raises(InputError, match="is of one scan, but there are 2; give --series a number"):
        with_series(given, UIDS["p1"] + ".4")
    with pytest.raises(InputError, match="holds no series '5'"):
        load_case(with_series(given, "5")[0])


def test_files_beside_dicom_folders_have_no_choice(phases, tmp_path):
    ct, labels = phases
    write_case(tmp_path / "files", "p3")
    files = find_cases(tmp_path / "files", tmp_path / "files")
    with pytest.raises(InputError, match="--series 4 chooses from DICOM folders, but none of the scans is one"):
        with_series(files, "4")
    both = with_series([*find_cases(ct, labels), *files], "7")
    assert [round(liver_hu(load_case(case)), -1) for case in both] == [ARTERIAL_HU, ARTERIAL_HU, LIVER_HU]
    assert with_series(files, None) == files


def test_train_names_the_option_and_learns_from_the_series(phases, tmp_path, capsys):
    ct, labels = phases
    words = options(ct, tmp_path / "run", labels=labels, validation="p2", epochs=1, steps=1, text=[])
    told = refused(capsys, "train", *words)
    assert "holds 2 series" in told and "--series" in told
    words = options(ct, tmp_path / "run2", labels=labels, validation="p2", epochs=1, steps=1, text=[], series=7)
    assert main(["train", *words, "--no-blend"]) == 0
    (done,) = events(tmp_path / "run2", "done")
    assert set(done["before"])
    # the weight file, which is passed on, does not name it: a UID says whose scan it was
    (weights,) = (tmp_path / "run2").glob("*.safetensors")
    card = read_about(weights)["card"]
    assert "series" not in card["settings"]
    # the comparison reads the run's own series
    plan = comparison_of_run(tmp_path / "run2")
    assert [liver_hu(load_case(case)) for case in plan.cases] == pytest.approx([ARTERIAL_HU], abs=1)
    other = comparison_of_run(tmp_path / "run2", ct, labels, ("p2",), "4")
    assert [liver_hu(load_case(case)) for case in other.cases] == pytest.approx([LIVER_HU], abs=1)
    told = refused(capsys, "compare", "--run", tmp_path / "run2", "--series", 4)
    assert "the series is that of the run" in told
    told = refused(capsys, "compare", "--run", tmp_path / "run2", "--liver-label", "Liver")
    assert "labels and held-out patients are those of the run" in told


def test_the_series_is_a_setting_of_a_training(phases):
    ct, labels = phases
    settings = from_mapping({"images": [str(ct)], "labels": [str(labels)], "series": "7"})
    assert {case.series for case in labeled_cases(settings)} == {"7"}


def test_cases_add_keeps_the_series(phases, tmp_path, capsys):
    ct, labels = phases
    store = CaseStore(tmp_path / "kept")
    common = ("cases", "add", ct / "p1", labels / "p1.nii.gz", "--segment", 2, "--store", store.root)
    assert "holds 2 series" in refused(capsys, *common) and not store.list()
    assert main([*map(str, common), "--series", "7", "--liver-segment", "1"]) == 0
    (kept,) = store.list()
    array, label = read_volume(kept.image).array, read_volume(kept.label).array
    assert np.median(array[label == 1]) == pytest.approx(ARTERIAL_HU, abs=1)
    assert np.array_equal(array, scan(center=(32, 30), radius=10, seed=1)[0].array + ARTERIAL_HU - LIVER_HU)


def test_compare_judges_on_the_series(phases, tmp_path, monkeypatch, capsys):
    ct, labels = phases
    seen = []

    def embed(self, rgb, *more, **named):
        seen.append(int(np.median(rgb[32:36, 50:56])))
        return whole(self, rgb, *more, **named)

    pool = DarkPool("mobile-sam")
    whole = DarkPredictor.embed
    monkeypatch.setattr(DarkPredictor, "embed", embed)
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: pool)
    common = ("compare", "mobile-sam", "--images", ct, "--labels", labels, "--window=-160,240", "--device", "cpu")
    assert "holds 2 series" in refused(capsys, *common, "-o", tmp_path / "a")
    means = {}
    for number in ("4", "7"):
        seen.clear()
        assert main([*map(str, common), "-o", str(tmp_path / number), "--series", number, "--limit", "1"]) == 0
        means[number] = np.mean(seen)
        assert f"--series {number}" in (tmp_path / f"{number}.md").read_text()
    # 50 HU of a window of 400 on 255 greys
    assert means["4"] - means["7"] == pytest.approx(50 / 400 * 255, abs=4)


def test_suggest_ranks_the_series(phases, tmp_path, monkeypatch, capsys):
    ct, _ = phases
    seen = {}

    def scored(name, volume, *rest):
        seen[name] = float(np.median(volume.array[2, 30:36, 50:56]))
        raise InputError("not today")

    monkeypatch.setattr("SAMLiverTumorLib.active_learning.rank_scans._scan", scored)
    words = ("suggest", ct, "--store", tmp_path / "kept", "--device", "cpu", "--model", "liver-tumor")
    told = refused(capsys, *words)
    assert "holds 2 series" in told and "--series" in told and not seen
    assert "not today" in refused(capsys, *words, "--series", "7")
    assert seen == pytest.approx({"p1": ARTERIAL_HU, "p2": ARTERIAL_HU}, abs=5)


def test_cases_add_takes_liver_and_tumor_by_their_names(tmp_path, capsys):
    """Segments named so need no options; a label map's values have the names that dataset.json gives them."""
    volume, label = scan()
    ct = write_volume(tmp_path / "ct.nii.gz", volume)
    path = write_volume(tmp_path / "label.nii.gz", label)
    meant = {"background": 0, "tumor": 1, "liver": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": meant}))
    store = CaseStore(tmp_path / "kept")
    assert main(["cases", "add", str(ct), str(path), "--store", str(store.root)]) == 0
    told = capsys.readouterr().out
    assert "Taken from 'label.nii.gz': tumor 'liver tumor'; liver 'liver'." in told
    assert "Label values as dataset.json says: 1 'tumor' is tumor, 2 'liver' is liver." in told
    (kept,) = store.list()
    # 2 x 2 x 5 mm; the file calls 1 what LiTS calls 2
    assert kept.tumor_ml == pytest.approx((label.array == 1).sum() * 0.02)
    assert kept.liver_ml == pytest.approx((label.array > 0).sum() * 0.02)
