"""What to outline next: uncertainty of slices and scans, on numbers, a fake network and the sample case."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cli_case import write_volume
from scipy.stats import spearmanr
from session_case import FakePredictor
from training_case import scan

from SAMLiverTumorLib.active_learning.outline_uncertainty import narrower, outline_doubt
from SAMLiverTumorLib.active_learning.rank_scans import suggest
from SAMLiverTumorLib.active_learning.scan_uncertainty import every_mm, marked_liver, of_scan, scan_doubts, worst_apart
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.datasets.cases import CaseFiles
from SAMLiverTumorLib.datasets.store.anonymous_case import TrainingCase
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_picture
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.volume import Volume

SURE = 20.0
WINDOW = Window(-100.0, 300.0)


class Hesitant(FakePredictor):
    """Is the less sure of a slice the brighter its first row; as "liver" it marks all but the first row.

    The grey level g of the corner says that the first g pixels of row 2 have the probability one half, and that the
    second view, which is darker there, outlines g - 1 of the pixels of row 3 that the first outlines.
    """

    def __init__(self, concepts=("liver tumor", "liver")):
        super().__init__()
        info = self.model.info
        self.model.info = replace(info, prompts=info.prompts | {"text"}, concepts=concepts, default_window="wide")
        self.seen = []

    def embed(self, rgb, spacing, cancel=None):
        self.seen.append(rgb)
        return rgb

    def predict_text(self, rgb, concept):
        logits = np.full(rgb.shape[:2], -SURE)
        if concept == "liver":
            logits[1:] = SURE
            logits[:] = logits if rgb[1, 1, 0] else -SURE
        else:
            logits[0] = 0.0  # outside the liver
            logits[2, : rgb[0, 0, 0]] = 0.0
        return SimpleNamespace(logits=logits, mask=logits > 0, predicted_iou=0.5, stability=1.0)


def hesitation(doubts, liver=True, spacing=(2.0, 2.0, 4.0), sign=1.0):
    """A scan on which the fake hesitates on so many pixels of each slice, as k runs."""
    array = np.zeros((len(doubts), 40, 40), np.int16)
    # rows of a picture run posterior and columns left, as j and i do here; its corner is voxel (0, 0)
    array[:, 0, 0] = doubts
    array[:, 1, 1] = 255 * np.asarray(liver)
    return Volume(array, np.diag([-spacing[0], -spacing[1], sign * spacing[2], 1.0]), "scan")


class Pool:
    def __init__(self, fake=None):
        self.fake = fake or Hesitant()

    def predictor(self, model):
        return self.fake


GREY = Window(0.0, 255.0)


def test_unsure_area_and_disagreement_of_a_slice():
    first = np.full((10, 10), -SURE)
    first[2:6, 2:6] = SURE
    second = first.copy()
    second[2:4, 2:6] = -SURE
    second[8, :4] = 0.0  # p = 1/2 in one view: 1/4 of both
    doubt = outline_doubt(first, second, None, 25.0)
    # 16 and 8 pixels share 8: Dice 2/3; of half a view's pixels p is 1/2 of both views
    assert doubt.disagreement == pytest.approx(1 / 3)
    assert doubt.unsure_cm2 == pytest.approx((8 * 0.5 + 4 * 0.25) * 0.25, abs=1e-6)
    assert doubt.found_cm2 == 16 * 0.25
    assert doubt.uncertainty == pytest.approx(np.sqrt((1 / 3 + 0.05) * 1.25), abs=1e-6)


def test_what_lies_outside_the_liver_counts_for_nothing():
    first, region = np.zeros((10, 10)), np.zeros((10, 10), bool)
    first[:5], region[:2] = SURE, True
    doubt = outline_doubt(first, None, region, 100.0)
    assert doubt.unsure_cm2 == pytest.approx(0.0, abs=1e-6) and doubt.found_cm2 == 20.0
    assert outline_doubt(first, None, None, 100.0).unsure_cm2 == pytest.approx(25.0)
    empty = np.full((10, 10), -1.0)
    assert outline_doubt(empty, empty - 1.0, region, 100.0).disagreement == 0.0


def test_the_second_view_has_the_same_level_and_more_contrast():
    assert narrower(Window(-160.0, 240.0)) == Window(-120.0, 200.0)


def test_slices_are_looked_at_twice_within_the_liver_that_the_model_marks():
    fake = Hesitant()
    volume = hesitation([4, 20, 10, 0], liver=[False, True, True, True])
    doubts = list(scan_doubts(volume, fake, "liver tumor", GREY))
    # each is asked for its liver first, and without one passed over
    assert [each.index for each in doubts] == [1, 2, 3] and len(fake.seen) == 4 + 2 * 3
    assert [each.position_mm for each in doubts] == [4.0, 8.0, 12.0]
    # 4 mm2 a pixel, the second view 0 where the first is below a tenth of the range: p = 1/4 on those pixels
    assert [each.doubt.unsure_cm2 for each in doubts] == pytest.approx([20 * 0.01, 10 * 0.01, 0], abs=1e-6)
    wide, narrow = fake.seen[4:6]
    assert wide.max() == 255 and (narrow == plane_to_rgb(volume, slice_plane(volume, "axial", 1), narrower(GREY))).all()


def test_the_liver_is_the_largest_piece_that_is_marked_with_its_holes_filled():
    marked = np.zeros((4, 60, 60), bool)
    marked[:2, 10:40, 10:40] = True
    marked[1, 20:24, 20:24] = False  # a tumor that is not taken for liver
    marked[1, 50:58, 50:58] = True  # something else on the same slice
    marked[3, 10:30, 10:30] = True  # and on a slice of the chest
    liver = np.zeros_like(marked)
    liver[:2, 10:40, 10:40] = True
    assert (np.stack(marked_liver(list(marked), [(1.0, 1.0)] * 4)) == liver).all()
    nothing = np.zeros((2, 60, 60), bool)
    assert not np.any(marked_liver(list(nothing), [(1.0, 1.0)] * 2))


def test_a_given_liver_a_step_and_one_view_save_looks():
    fake = Hesitant(concepts=("liver tumor",))
    volume = hesitation(range(12))
    liver = np.zeros(volume.array.shape, bool)
    liver[2:11, 2:] = True
    doubts = list(scan_doubts(volume, fake, "liver tumor", GREY, liver, every=3, views=1))
    assert [each.index for each in doubts] == [2, 5, 8] and len(fake.seen) == 3
    assert [each.doubt.unsure_cm2 for each in doubts] == pytest.approx([n * 0.5 * 0.04 for n in (2, 5, 8)], abs=1e-6)
    assert [every_mm(hesitation([0], spacing=(1, 1, mm)), 5.0) for mm in (0.7, 2.0, 5.0, 8.0)] == [7, 2, 1, 1]


def test_slices_suggested_together_are_apart_and_positions_follow_the_patient():
    doubts = list(scan_doubts(hesitation([5, 6, 40, 30, 7, 8], sign=-1.0), Hesitant(), "liver tumor", GREY))
    assert [each.position_mm for each in doubts] == [0.0, -4.0, -8.0, -12.0, -16.0, -20.0]
    assert [each.index for each in worst_apart(doubts, 10.0)] == [2, 5]
    assert [each.index for each in worst_apart(doubts, 0.0)] == [2, 3, 5, 4, 1, 0]
    # the worst quarter of six slices, rounded up, are two
    assert of_scan(doubts) == pytest.approx(np.mean([doubts[2].uncertainty, doubts[3].uncertainty]))
    assert of_scan([]) == 0.0


def files(folder, **scans):
    return [CaseFiles(name, write_volume(folder / f"{name}_ct.nii.gz", volume), None) for name, volume in scans.items()]


def test_scans_are_ranked_kept_ones_passed_over_and_broken_ones_told(tmp_path):
    kept, _labels = scan()
    store = CaseStore(tmp_path / "store")
    store.add(TrainingCase(kept, scan()[1].array))
    given = files(tmp_path, a=hesitation([1, 2]), b=hesitation([30, 2]), c=hesitation([1, 2]), d=kept)
    (tmp_path / "e_ct.nii.gz").write_bytes(b"nothing")
    given.insert(0, CaseFiles("e", tmp_path / "e_ct.nii.gz", None))
    told = []
    found = suggest(given, Pool(), window=GREY, store=store, every=1, progress=lambda *said: told.append(said))
    # equal ones by name
    assert [each.name for each in found.scans] == ["b", "a", "c"]
    assert found.kept == ("d",) and not found.cancelled
    (note,) = found.notes
    assert note.startswith("e: ")
    assert [(scan.name, each.index) for scan, each in found.slices(2)] == [("b", 0), ("a", 1)]
    assert told == [(name, n, 5, k, 4) for n, name in enumerate("abc", 1) for k in (1, 2, 3, 4)]
    with pytest.raises(InputError, match="None of 1 scans could be looked at"):
        suggest(given[:1], Pool(), window=GREY)


def test_cancel_keeps_the_scans_that_are_done(tmp_path):
    fake = Hesitant()
    given = files(tmp_path, a=hesitation([1, 2]), b=hesitation([3, 4]))
    found = suggest(given, Pool(fake), window=GREY, every=1, cancel=lambda: len(fake.seen) >= 6)
    assert found.cancelled and [each.name for each in found.scans] == ["a"] and not found.notes


@pytest.fixture
def fake_pool(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_LIVER_TUMOR_CASES", str(tmp_path / "kept"))
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: Pool())


def test_the_command_passes_over_what_has_labels_or_is_held_out(fake_pool, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    files(folder, p1=hesitation([1, 9]), p2=hesitation([30, 2]), p3=hesitation([3, 3]), p4=hesitation([5, 5]))
    write_volume(folder / "p2_label.nii.gz", hesitation([1, 1]))
    (tmp_path / "hold-out.txt").write_text("p3\n")
    words = ["--window=0,255", "--hold-out", str(tmp_path / "hold-out.txt"), "--json", str(tmp_path / "out.json")]
    assert main(["suggest", str(folder), *words, "--every", "1", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "note: held out: p3" in out and "note: labeled already: p2" in out
    lines = out.splitlines()
    assert lines[-1].split()[:3] == ["1", "p1", "1"] and "S 4.0 mm" in lines[-1]
    report = json.loads((tmp_path / "out.json").read_text())
    assert [each["name"] for each in report["scans"]] == ["p1", "p4"]
    assert [each["index"] for each in report["scans"][0]["slices"]] == [1]
    assert str(tmp_path) not in json.dumps(report)
    assert main(["suggest", str(folder), *words]) == 2
    assert "exists already" in capsys.readouterr().err


def test_uncertainty_ranks_the_errors_on_the_sample_case(pool, sample, one_thread):
    """On eight slices, with the bundled model; 0 would be chance."""
    volume, labels = sample
    predictor = pool.predictor("liver-tumor")
    window = Window(-160.0, 240.0)
    doubts = list(scan_doubts(volume, predictor, "liver tumor", window, labels > 0, every=16))
    wrong = []
    for each in doubts:
        plane = slice_plane(volume, "axial", each.index)
        embedding = predictor.embed(plane_to_rgb(volume, plane, window), plane.spacing[1::-1])
        found, truth = predictor.predict_text(embedding, "liver tumor").mask, voxels_to_picture(labels, plane)
        wrong.append(int(np.count_nonzero((found & (truth > 0)) != (truth == 2))))
    assert len(doubts) == 8
    assert spearmanr([each.uncertainty for each in doubts], wrong)[0] > 0.5
