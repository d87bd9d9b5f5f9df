"""Models on the same trials: scores, averages and the report."""

import base64
import csv
import io
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from propagation_case import DarkPredictor, ball, phantom_of

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.datasets.reference_prompts import slice_trials
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.evaluation.comparison.compare import compare
from SAMLiverTumorLib.evaluation.comparison.contestants import SamContestant, TrialMasks, UnetContestant
from SAMLiverTumorLib.evaluation.comparison.html_report import as_html
from SAMLiverTumorLib.evaluation.comparison.tables import as_csv, as_markdown, pairs_of, tables
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.plane import slice_plane

VERSIONS = {"sam-liver-tumor": "1.2.3", "torch": "9.8"}


class Fixed:
    """Gives the reference without some of its upper rows; `kept` is the fraction of rows left, by case."""

    seen, seen_hashes, note, sha256 = (), frozenset(), "", "1" * 64

    def __init__(self, name, way, kept, strays=False, **attributes):
        self.name, self.way, self.kept, self.strays = name, way, kept, strays
        for key, value in attributes.items():
            setattr(self, key, value)

    def segment_trials(self, case, plane, trials, cancel=None):
        masks = []
        for mask in trials:
            rows = np.flatnonzero(mask.any(axis=1))
            cut = mask.copy()
            cut[: rows[0] + round(len(rows) * (1 - self.kept[case.name]))] = False
            masks.append(cut)
        whole = np.logical_or.reduce(masks)
        if self.strays:
            whole = whole.copy()
            whole[0, :] = True
        return {self.way: TrialMasks(masks, whole)}


def slab(name, shift=0):
    """A case with 2 lesions of 10 x 12 pixels on 4 slices of 2 mm: 0.96 ml each."""
    tumor = np.zeros((12, 40, 44), bool)
    tumor[4:8, 4 + shift : 14 + shift, 5:17] = True
    tumor[4:8, 20 + shift : 30 + shift, 25:37] = True
    return Case(name, phantom_of(tumor, tumor.shape, name=name), tumor, np.ones_like(tumor))


CASES = (slab("a"), slab("b", 3))


def test_each_trial_of_each_case_is_scored_once_for_each_model():
    half = Fixed("half", "box", {"a": 0.5, "b": 1.0})
    result = compare(CASES, [half, Fixed("whole", "box", {"a": 1.0, "b": 1.0})])
    assert result.cases == {"a": (4, 8), "b": (4, 8)}
    assert len(result.scores) == 2 * 16
    assert result.rows == [("half", "box"), ("whole", "box")]
    assert len({score.key for score in result.scores}) == 16
    score = result.scores[0]
    # 60 of 120 pixels
    assert (score.model, score.overlap.dice) == ("half", pytest.approx(2 / 3))
    assert score.lesion_ml == pytest.approx(4 * 120 * 2 / 1000)
    assert {s.lesion for s in result.scores} == {1, 2}
    # half of ten rows of 1 mm are missing: the farthest row is 5 mm away
    assert score.surface.hd95_mm == pytest.approx(5.0)


def test_means_are_over_trials_then_over_cases_and_the_slices_count_strays():
    result = compare(CASES, [Fixed("m", "box", {"a": 0.5, "b": 1.0}, strays=True)], limit=1)
    assert result.cases == {"a": (1, 2), "b": (1, 2)}
    table = tables(result, VERSIONS)[0]
    (row,) = (dict(zip(table.header, cells, strict=True)) for cells in table.rows)
    assert (row["a"], row["b"], row["mean of cases"], row["all trials"]) == ("0.667", "1.000", "0.833", "0.833")
    # on a: 120 of 240 found and a row of 44 outside; on b: all and 44 outside
    expected = (2 * 120 / (164 + 240) + 2 * 240 / (284 + 240)) / 2
    assert row["slice Dice"] == f"{expected:.3f}"
    assert row["95% by patient"] == "0.667 to 1.000"


def test_one_case_has_no_interval_by_patient():
    table = tables(compare(CASES[:1], [Fixed("m", "box", {"a": 0.5})]), VERSIONS)[0]
    assert table.rows[0][table.header.index("95% by patient")] == "-"
    assert table.rows[0][table.header.index("95% by trial")] == "0.667 to 0.667"


def test_pairs_are_tested_within_a_way_and_against_automatic_ones_by_patient():
    models = [
        Fixed("net", "automatic", {"a": 0.5, "b": 0.5}),
        Fixed("x", "box", {"a": 1.0, "b": 1.0}),
        Fixed("y", "1 point", {"a": 1.0, "b": 1.0}),
        Fixed("z", "box", {"a": 1.0, "b": 1.0}),
    ]
    pairs = pairs_of(compare(CASES, models))
    assert {(p.first[0], p.second[0]) for p in pairs} == {("net", "x"), ("net", "y"), ("net", "z"), ("x", "z")}
    net = pairs[0]
    assert net.difference == pytest.approx(-1 / 3)
    # two patients allow no less than 1/2 for one pair, and 4 pairs are corrected to at most 1
    assert net.p_permutation == 1.0
    assert net.p_wilcoxon < 0.01
    assert next(p for p in pairs if p.first[0] == "x").p_wilcoxon == 1.0


def test_every_table_names_its_rules_data_weights_and_contamination():
    models = [
        Fixed("tuned", "box", {"a": 0.5, "b": 1.0}, seen=("b",), sha256="ab" * 32),
        Fixed("hashed", "box", {"a": 1.0, "b": 1.0}, seen_hashes=frozenset({CASES[0].volume.voxel_hash})),
        SamContestant(DarkPredictor("lite-medsam"), Window(0, 255)),
    ]
    result = compare(CASES, models)
    assert [model.contaminated for model in result.models] == [("b",), ("a",), ()]
    made = tables(result, VERSIONS)
    assert len(made) == 5
    for table in made:
        flat = " ".join(table.notes)
        for text in (
            "Averaging: figures are of single trials",
            "both empty give Dice",
            "derived from the reference",
            "probably trained on LiTS",
            "CONTAMINATED: tuned was trained or chosen on b",
            "CONTAMINATED: hashed was trained or chosen on a",
            "ab" * 32,
            "torch 9.8",
            "a (8 trials on 4 slices)",
        ):
            assert text in flat, (table.title, text)
        assert all(len(row) == len(table.header) for row in table.rows)


def test_a_box_too_large_a_scribble_and_a_lasso_are_ways_of_their_own():
    network = DarkPredictor("liver-tumor")
    network.model.info = replace(network.model.info, prompts=frozenset({"points", "box", "mask"}), concepts=())
    result = compare(CASES[:1], [SamContestant(network, Window(0, 255))], limit=1)
    assert {way for _, way in result.rows} >= {"box", "box 20 % too large", "scribble", "lasso", "1 point"}
    boxes = [asked.box for asked in network.asked if asked.box is not None and asked.mask is None]
    # around the pixels 5 to 16 and 4 to 13: two pixels more, and a fifth of 12 and of 10 more
    assert boxes[0] == (2.5, 1.5, 18.5, 15.5)
    assert boxes[1] == pytest.approx((4.5 - 2.4, 3.5 - 2.0, 16.5 + 2.4, 13.5 + 2.0))
    scribble = next(asked.points for asked in network.asked if len(asked.points) == 7)
    assert np.ptp(scribble[:, 0]) >= 8 and scribble[:, 0].min() >= 5 and scribble[:, 0].max() <= 16
    lasso = next(asked for asked in network.asked if asked.mask is not None and asked.box is not None)
    # one pixel outside on each side; the slice of 44 x 40 pixels fills the network's input
    assert lasso.box == pytest.approx((3.5, 2.5, 17.5, 14.5))
    assert lasso.mask.max() == 6.0 and lasso.mask.min() == -6.0


def test_an_outline_is_as_long_as_the_references_or_longer_by_its_teeth():
    result = compare(CASES[:1], [Fixed("half", "box", {"a": 0.5})])
    # 5 + 5 + 12 + 12 edges of 10 + 10 + 12 + 12
    assert result.scores[0].outline == pytest.approx(34 / 44)
    header, row = (tables(result, VERSIONS)[2].header, tables(result, VERSIONS)[2].rows[0])
    assert row[header.index("outline")] == "0.77"


def test_the_liver_is_searched_by_text_where_the_labels_have_one():
    class Organ(DarkPredictor):
        def predict_text(self, embedding, concept):
            assert concept == "liver"
            mask = np.zeros(embedding.shape, bool)
            mask[:20] = True
            return SimpleNamespace(mask=mask)

    network = Organ("liver-tumor")
    network.model.info = replace(network.model.info, concepts=("liver",), prompts=frozenset({"box"}))
    result = compare(CASES[:1], [SamContestant(network, Window(0, 255)), Fixed("other", "box", {"a": 1.0})])
    (score,) = result.livers
    # half of a liver that is everywhere
    assert (score.case, score.model, score.overlap.dice) == ("a", "liver-tumor", pytest.approx(2 / 3))
    (table,) = [table for table in tables(result, VERSIONS) if table.title == "Liver by text on whole volumes"]
    assert table.rows == (("liver-tumor", "a", "0.667", "-50.0"),)
    assert not compare(CASES[:1], [SamContestant(network, Window(0, 255))], limit=1).livers


def test_csv_has_every_score_with_undefined_figures_empty():
    result = compare(CASES[:1], [Fixed("none", "box", {"a": 0.0})])
    rows = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert len(rows) == 8
    assert {(row["dice"], row["hd95_mm"], row["surface_dice"], row["fn"]) for row in rows} == {
        ("0.0", "", "0.0", "120")
    }
    assert rows[0]["area_error_percent"] == "-100.0"
    table = next(t for t in tables(result, VERSIONS) if "HD95 mm" in t.header)
    (row,) = (dict(zip(table.header, cells, strict=True)) for cells in table.rows)
    assert (row["HD95 mm"], row["marked nothing"]) == ("-", "8")


def test_markdown_and_html_show_the_same_figures_and_the_html_is_self_contained():
    models = [SamContestant(DarkPredictor("mobile-sam"), Window(0, 255)), Fixed("<b>", "box", {"a": 0.5, "b": 1.0})]
    result = compare(CASES, models)
    markdown = as_markdown(result, VERSIONS, "sam-liver-tumor compare x|y")
    assert "| mobile-sam | 1 point + 3 corrections | 1.000 | 1.000 |" in markdown
    page = as_html(result, VERSIONS, "sam-liver-tumor compare <x>")
    assert "<td>&lt;b&gt;</td><td>box</td><td>0.667</td><td>1.000</td>" in page
    assert "compare &lt;x&gt;" in page
    assert not re.search(r"https?:|src='(?!data:)|<script|<link", page)
    images = re.findall(r"data:image/png;base64,([^']+)'", page)
    # three plots, two overlays of each case
    assert len(images) == 3 + 4
    assert all(base64.b64decode(each).startswith(b"\x89PNG") for each in images)


def test_overlays_are_chosen_by_position_and_show_the_largest_component():
    tumor = CASES[0].tumor.copy()
    tumor[4:8, 4:9, 5:17] = False
    case = Case("a", phantom_of(tumor, tumor.shape), tumor, None)
    result = compare([case], [Fixed("m", "box", {"a": 0.5})])
    assert [overlay.slice for overlay in result.overlays] == [4, 7]
    for overlay in result.overlays:
        assert overlay.reference.sum() == 120
        assert overlay.masks["m", "box"].sum() == 60
        assert overlay.grey.shape == overlay.reference.shape


def test_automatic_models_are_evaluated_on_the_whole_volume_with_every_stray_object(monkeypatch):
    marked = CASES[0].tumor.copy()
    marked[:, 18:, :] = False
    marked[0, 35, 40] = True

    class Whole(UnetContestant):
        def segment_trials(self, case, plane, trials, cancel=None):
            return {"automatic": TrialMasks(trials, trials[0])}

        def volume(self, case, progress, cancel):
            return marked

    unet = SimpleNamespace(card={}, sha256="2" * 64)
    (volume,) = compare(CASES[:1], [Whole(unet, "u.safetensors")]).volumes
    assert (volume.detection.found, volume.detection.missed, volume.detection.false_positives) == (1, 1, 1)
    assert volume.overlap.dice == pytest.approx(2 * 480 / (481 + 960))
    assert compare(CASES[:1], [Whole(unet, "u.safetensors")], limit=2).volumes == ()


def test_cancel_and_unusable_input_end_it():
    model = Fixed("m", "box", {"a": 1.0})
    asked = []
    with pytest.raises(Cancelled):
        compare(CASES[:1], [model], cancel=lambda: asked.append(1) or len(asked) > 2)
    assert len(asked) == 3
    with pytest.raises(InputError, match="each model once"):
        compare(CASES[:1], [model, model])
    empty = Case("a", CASES[0].volume, np.zeros_like(CASES[0].tumor), None)
    with pytest.raises(InputError, match="None of the cases"):
        compare([empty], [model])


def test_corrective_clicks_are_at_the_largest_error_with_the_last_mask_as_prompt():
    inside = ball()
    case = Case("a", phantom_of(inside), inside, None)
    plane = slice_plane(case.volume, "axial", 15)
    (mask,) = slice_trials(case.volume, inside)[15]
    network = DarkPredictor("mobile-sam")
    reach = np.zeros_like(mask)
    reach[:, : int(np.flatnonzero(mask.any(axis=0)).mean())] = True
    plain = network.predict

    def half(embedding, prompts):
        """Never segments the right half."""
        found = plain(embedding, prompts)
        found.mask = found.mask & reach
        found.low_resolution = np.full((1, 256, 256), len(network.asked), np.float32)
        return found

    network.predict = half
    found = SamContestant(network, Window(0, 255)).segment_trials(case, plane, [mask])
    assert set(found) >= {"1 point", "3 points", "box", "1 point + 3 corrections"}
    clicks = [prompts for prompts in network.asked if prompts.box is None and len(prompts.points) < 7]
    assert [len(prompts.points) for prompts in clicks] == [1, 2, 3, 4]
    for prompts in clicks[1:]:
        u, v = prompts.points[-1].astype(int)
        assert mask[v, u]
        assert not reach[v, u]
        assert prompts.labels.tolist() == [1] * len(prompts.points)
    assert clicks[0].mask is None
    first = network.asked.index(clicks[0]) + 1
    assert [float(prompts.mask[0, 0, 0]) for prompts in clicks[1:]] == [first, first + 1, first + 2]


def test_a_model_for_boxes_is_prompted_with_boxes_alone():
    inside = ball()
    case = Case("a", phantom_of(inside), inside, None)
    found = SamContestant(DarkPredictor("lite-medsam"), Window(0, 255)).segment_trials(
        case, slice_plane(case.volume, "axial", 15), slice_trials(case.volume, inside)[15]
    )
    assert set(found) == {"box", "box 20 % too large"}


def test_corrections_help_the_real_network_on_a_real_slice(pool, sample):
    volume, labels = sample
    case = Case("sample", volume, labels == 2, labels > 0)
    found = slice_trials(volume, case.tumor)
    index = max(found, key=lambda k: max(mask.sum() for mask in found[k]))
    largest = max(found[index], key=np.count_nonzero)
    contestant = SamContestant(pool.predictor("mobile-sam"))
    masks = contestant.segment_trials(case, slice_plane(volume, "axial", index), [largest])
    dice = {
        way: 2 * np.count_nonzero(each.trials[0] & largest) / (each.trials[0].sum() + largest.sum())
        for way, each in masks.items()
    }
    assert dice["box"] > 0.7
    assert dice["1 point + 3 corrections"] > dice["1 point"]
    assert contestant.sha256.startswith("6dbb90523a35330f")
