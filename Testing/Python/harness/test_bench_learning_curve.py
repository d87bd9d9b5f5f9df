"""The learning-curve benchmark: nested patients, all else equal, finished points read back, table and figure."""

import csv

import numpy as np
import pytest
from bench.learning_curve import main
from bench.learning_curve_plan import parse_points, plan_curve
from cli_case import write_volume
from training_case import events, options, scan, write_cases

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.settings import TrainSettings

SHORT = {"epochs": 1, "steps": 1, "batch": 2, "test": "p1", "synthetic": 1}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Patients p1 to p3 with tumors, p4 again as p2, and healthy, whose liver has none."""
    folder = write_cases(tmp_path_factory.mktemp("cases"))
    for volume, kind in zip(scan(center=(28, 30), radius=8, seed=4), ("ct", "label"), strict=True):
        write_volume(folder / f"p4_{kind}.nii.gz", volume)
    for volume, kind in zip(scan(with_tumor=(), seed=9), ("ct", "label"), strict=True):
        write_volume(folder / f"healthy_{kind}.nii.gz", volume)
    return folder


@pytest.fixture(scope="module")
def settings(cases):
    return TrainSettings((str(cases),), (str(cases),), "out", validation=("p3",), test=("p1",), synthetic=2)


def words(cases, out, points, **more):
    return [*options(cases, out, **{**SHORT, **more}), "--points", points, "--no-blend"]


@pytest.fixture(scope="module")
def curve(cases, tmp_path_factory):
    """The folder of a learning curve of three training runs of one step."""
    out = tmp_path_factory.mktemp("curve") / "out"
    assert main(words(cases, out, "0,1,all")) == 0
    return out


def test_points_are_parsed_sorted_and_unique():
    assert parse_points("all, 0,2,1,6", 6) == (0, 1, 2, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [("7", "there are 6"), ("1+more", "no point"), ("", "Name the points")],
)
def test_impossible_points_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_points(text, 6)


def test_a_point_with_more_patients_has_those_of_the_points_before_and_the_rest_stays_the_same(settings):
    plan = plan_curve(settings, "0,1,all")
    assert plan.healthy == ("healthy",) and [plan.learned(point) for point in plan.points] == [
        (),
        ("p2",),
        ("p2", "p4"),
    ]
    none, one, both = map(plan.settings, plan.points)
    assert none.cases == ("healthy", "p3", "p1") and both.cases == ("p2", "p4", "healthy", "p3", "p1")
    assert {s.validation for s in (none, one, both)} == {("p3",)} and {s.test for s in (none, one, both)} == {("p1",)}
    # tumors are painted into the healthy liver alone, so that every point has the very same ones
    assert {s.painted for s in (none, one, both)} == {("healthy",)}
    assert len({s.cache for s in (none, one, both)}) == 1 and len({s.out for s in (none, one, both)}) == 3


def test_a_curve_without_test_patients_or_livers_to_paint_into_is_refused(settings):
    from dataclasses import replace

    with pytest.raises(InputError, match="--test PATIENT"):
        plan_curve(replace(settings, test=()), "1")
    with pytest.raises(InputError, match="painted tumors"):
        plan_curve(replace(settings, synthetic=0), "0,1")
    with pytest.raises(InputError, match="painted tumors"):
        plan_curve(replace(settings, cases=("p1", "p2", "p3")), "0,1")


def test_the_table_has_each_point_for_each_kind_of_prompt_on_the_patient_left_out(curve):
    with (curve / "learning-curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["labeled"], row["learned_from"]) for row in rows} == {("0", ""), ("1", "p2"), ("2", "p2 p4")}
    assert {row["patient"] for row in rows} == {"p1"} and len(rows) == 3 * 4
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)
    # what the run itself reported at its end
    (done,) = events(curve / "labeled-2", "done")
    dices = {row["prompt"]: float(row["dice"]) for row in rows if row["labeled"] == "2"}
    assert dices == pytest.approx(done["after"], abs=1e-5)
    text = (curve / "learning-curve.md").read_text()
    assert "painted tumors alone" in text and "LiteMedSAM was probably trained on LiTS" in text


def test_the_point_without_labels_learned_from_painted_tumors_alone(curve):
    (data,) = events(curve / "labeled-0", "data")
    assert data["train"] > 0 and {e["patient"] for e in events(curve / "labeled-0", "prepare")} >= {
        "healthy",
        "p3",
        "p1",
    }
    assert not {e["patient"] for e in events(curve / "labeled-0", "prepare")} & {"p2", "p4"}


def test_the_figure_has_lines(curve):
    from matplotlib.image import imread

    figure = imread(curve / "learning-curve.png")[..., :3]
    assert figure.shape[0] > 300 and (np.ptp(figure, axis=2) > 0.3).sum() > 300


def test_finished_points_are_read_back_and_not_trained_again(curve, cases):
    before = {path: path.stat().st_mtime_ns for path in curve.glob("labeled-*/*.safetensors")}
    table = (curve / "learning-curve.csv").read_text()
    (curve / "learning-curve.csv").unlink()
    assert main(words(cases, curve, "0,1,all")) == 0
    assert {path: path.stat().st_mtime_ns for path in curve.glob("labeled-*/*.safetensors")} == before
    assert (curve / "learning-curve.csv").read_text() == table


def test_points_of_other_settings_are_not_mixed_into_a_curve(curve, cases, capsys):
    assert main(words(cases, curve, "0,all", learning_rate=1e-5)) == 2
    assert "other settings (learning-rate)" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--resume"], ["--baseline", "1"]], ids=["resume", "baseline"])
def test_options_of_train_that_do_not_fit_a_curve_are_refused(cases, tmp_path, capsys, option):
    assert main([*words(cases, tmp_path / "out", "1"), *option]) == 2
    assert "neither --baseline nor --resume" in capsys.readouterr().err
