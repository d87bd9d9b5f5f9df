"""What to outline next: uncertainty of slices and scans, on arrays, with a fake network, and on the sample case."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cli_case import write_volume
from scipy.stats import spearmanr
from session_case import FakePredictor
from training_case import scan

from SAMLiverTumorLib.active_learning.outline_uncertainty import narrower, outline_uncertainty
from SAMLiverTumorLib.active_learning.rank_scans import suggest
from SAMLiverTumorLib.active_learning.scan_uncertainty import (
    liver_from_slices,
    scan_uncertainty,
    slice_uncertainties,
    slices_in,
    worst_apart,
)
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.datasets.cases import CaseFiles
from SAMLiverTumorLib.datasets.store.anonymous_case import TrainingCase
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.volume import Volume

SURE = 20.0
WINDOW = Window(-100.0, 300.0)


class Uncertain(FakePredictor):
    """Is the less certain of a slice the brighter its corner; for "liver" it segments all but the first row.

    For a grey value g of the corner, the first g pixels of row 2 have a probability of one half.
    """

    def __init__(self, concepts=("liver tumor", "liver")):
        super().__init__()
        info = self.model.info
        self.model.info = replace(info, prompts=info.prompts | {"text"}, concepts=concepts, default_window="wide")
        self.images = []

    def embed(self, rgb, spacing, cancel=None):
        self.images.append(rgb)
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


def scan_with(unsure_pixels, liver=True, spacing=(2.0, 2.0, 4.0), sign=1.0):
    """A scan on which the fake is uncertain of so many pixels on each slice, in the order of k."""
    array = np.zeros((len(unsure_pixels), 40, 40), np.int16)
    # rows of a slice image run posterior and columns left, as j and i do here; its corner is voxel (0, 0)
    array[:, 0, 0] = unsure_pixels
    array[:, 1, 1] = 255 * np.asarray(liver)
    return Volume(array, np.diag([-spacing[0], -spacing[1], sign * spacing[2], 1.0]), "scan")


class Pool:
    def __init__(self, fake=None):
        self.fake = fake or Uncertain()

    def predictor(self, model):
        return self.fake


GREY = Window(0.0, 255.0)


def test_unsure_area_and_disagreement_of_a_slice():
    first = np.full((10, 10), -SURE)
    first[2:6, 2:6] = SURE
    second = first.copy()
    second[2:4, 2:6] = -SURE
    second[8, :4] = 0.0  # p = 1/2 in one view: 1/4 of both
    found = outline_uncertainty(first, second, None, 25.0)
    # 16 and 8 pixels have 8 in common: Dice 2/3; where the views differ, their mean p is 1/2
    assert found.disagreement == pytest.approx(1 / 3)
    assert found.unsure_cm2 == pytest.approx((8 * 0.5 + 4 * 0.25) * 0.25, abs=1e-6)
    assert found.found_cm2 == 16 * 0.25
    assert found.uncertainty == pytest.approx(np.sqrt((1 / 3 + 0.05) * 1.25), abs=1e-6)


def test_pixels_outside_the_liver_do_not_count():
    first, region = np.zeros((10, 10)), np.zeros((10, 10), bool)
    first[:5], region[:2] = SURE, True
    found = outline_uncertainty(first, None, region, 100.0)
    assert found.unsure_cm2 == pytest.approx(0.0, abs=1e-6) and found.found_cm2 == 20.0
    assert outline_uncertainty(first, None, None, 100.0).unsure_cm2 == pytest.approx(25.0)
    empty = np.full((10, 10), -1.0)
    assert outline_uncertainty(empty, empty - 1.0, region, 100.0).disagreement == 0.0


def test_the_second_view_has_the_same_level_and_more_contrast():
    assert narrower(Window(-160.0, 240.0)) == Window(-120.0, 200.0)


def test_slices_are_segmented_twice_within_the_liver_that_the_model_finds():
    fake = Uncertain()
    volume = scan_with([4, 20, 10, 0], liver=[False, True, True, True])
    slices = list(slice_uncertainties(volume, fake, "liver tumor", GREY))
    # the liver is segmented on each first; slices without any are skipped
    assert [each.index for each in slices] == [1, 2, 3] and len(fake.images) == 4 + 2 * 3
    assert [each.position_mm for each in slices] == [4.0, 8.0, 12.0]
    # 4 mm2 a pixel, the second view 0 where the first is below a tenth of the range: p = 1/4 on those pixels
    assert [each.outline.unsure_cm2 for each in slices] == pytest.approx([20 * 0.01, 10 * 0.01, 0], abs=1e-6)
    wide, narrow = fake.images[4:6]
    assert wide.max() == 255 and (narrow == plane_to_rgb(volume, slice_plane(volume, "axial", 1), narrower(GREY))).all()


def test_the_liver_is_the_largest_component_with_its_holes_filled():
    marked = np.zeros((4, 60, 60), bool)
    marked[:2, 10:40, 10:40] = True
    marked[1, 20:24, 20:24] = False  # a tumor that the model leaves out
    marked[1, 50:58, 50:58] = True  # something else on the same slice
    marked[3, 10:30, 10:30] = True  # and on a slice of the chest
    liver = np.zeros_like(marked)
    liver[:2, 10:40, 10:40] = True
    assert (np.stack(liver_from_slices(list(marked), [(1.0, 1.0)] * 4)) == liver).all()
    nothing = np.zeros((2, 60, 60), bool)
    assert not np.any(liver_from_slices(list(nothing), [(1.0, 1.0)] * 2))


def test_a_given_liver_a_step_and_one_view_save_time():
    fake = Uncertain(concepts=("liver tumor",))
    volume = scan_with(range(12))
    liver = np.zeros(volume.array.shape, bool)
    liver[2:11, 2:] = True
    slices = list(slice_uncertainties(volume, fake, "liver tumor", GREY, liver, every=3, views=1))
    assert [each.index for each in slices] == [2, 5, 8] and len(fake.images) == 3
    assert [each.outline.unsure_cm2 for each in slices] == pytest.approx([n * 0.5 * 0.04 for n in (2, 5, 8)], abs=1e-6)
    assert [slices_in(scan_with([0], spacing=(1, 1, mm)), 5.0) for mm in (0.7, 2.0, 5.0, 8.0)] == [7, 2, 1, 1]


def test_slices_suggested_together_are_apart_and_positions_are_the_patients():
    slices = list(slice_uncertainties(scan_with([5, 6, 40, 30, 7, 8], sign=-1.0), Uncertain(), "liver tumor", GREY))
    assert [each.position_mm for each in slices] == [0.0, -4.0, -8.0, -12.0, -16.0, -20.0]
    assert [each.index for each in worst_apart(slices, 10.0)] == [2, 5]
    assert [each.index for each in worst_apart(slices, 0.0)] == [2, 3, 5, 4, 1, 0]
    # the worst quarter of six slices, rounded up, are two
    assert scan_uncertainty(slices) == pytest.approx(np.mean([slices[2].uncertainty, slices[3].uncertainty]))
    assert scan_uncertainty([]) == 0.0


def files(folder, **scans):
    return [CaseFiles(name, write_volume(folder / f"{name}_ct.nii.gz", volume), None) for name, volume in scans.items()]


def test_scans_are_ranked_kept_ones_skipped_and_broken_ones_reported(tmp_path):
    kept, _labels = scan()
    store = CaseStore(tmp_path / "store")
    store.add(TrainingCase(kept, scan()[1].array))
    given = files(tmp_path, a=scan_with([1, 2]), b=scan_with([30, 2]), c=scan_with([1, 2]), d=kept)
    (tmp_path / "e_ct.nii.gz").write_bytes(b"nothing")
    given.insert(0, CaseFiles("e", tmp_path / "e_ct.nii.gz", None))
    steps = []
    found = suggest(given, Pool(), window=GREY, store=store, every=1, progress=lambda *step: steps.append(step))
    # equal ones by name
    assert [each.name for each in found.scans] == ["b", "a", "c"]
    assert found.kept == ("d",) and not found.cancelled
    (note,) = found.notes
    assert note.startswith("e: ")
    assert [(scan.name, each.index) for scan, each in found.slices(2)] == [("b", 0), ("a", 1)]
    assert steps == [(name, n, 5, k, 4) for n, name in enumerate("abc", 1) for k in (1, 2, 3, 4)]
    with pytest.raises(InputError, match="None of 1 scans could be ranked"):
        suggest(given[:1], Pool(), window=GREY)


def test_cancel_keeps_the_scans_that_are_done(tmp_path):
    fake = Uncertain()
    given = files(tmp_path, a=scan_with([1, 2]), b=scan_with([3, 4]))
    found = suggest(given, Pool(fake), window=GREY, every=1, cancel=lambda: len(fake.images) >= 6)
    assert found.cancelled and [each.name for each in found.scans] == ["a"] and not found.notes


@pytest.fixture
def fake_pool(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_LIVER_TUMOR_CASES", str(tmp_path / "kept"))
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: Pool())


def test_the_command_skips_scans_with_labels_and_held_out_ones(fake_pool, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    files(folder, p1=scan_with([1, 9]), p2=scan_with([30, 2]), p3=scan_with([3, 3]), p4=scan_with([5, 5]))
    write_volume(folder / "p2_label.nii.gz", scan_with([1, 1]))
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
    """Eight slices, with the bundled model; a correlation of 0 would be chance."""
    volume, labels = sample
    predictor = pool.predictor("liver-tumor")
    window = Window(-160.0, 240.0)
    slices = list(slice_uncertainties(volume, predictor, "liver tumor", window, labels > 0, every=16))
    wrong = []
    for each in slices:
        plane = slice_plane(volume, "axial", each.index)
        embedding = predictor.embed(plane_to_rgb(volume, plane, window), plane.spacing[1::-1])
        found, truth = predictor.predict_text(embedding, "liver tumor").mask, voxels_to_slice_mask(labels, plane)
        wrong.append(int(np.count_nonzero((found & (truth > 0)) != (truth == 2))))
    assert len(slices) == 8
    assert spearmanr([each.uncertainty for each in slices], wrong)[0] > 0.5
