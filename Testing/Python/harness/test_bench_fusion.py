"""The fusion benchmark on phantoms: ranking, corrections, refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
from bench.accuracy_data import Case, Lesion
from bench.fusion import auroc, main, measure, summary
from propagation_case import SETTINGS, DarkPool, ball, phantom_of

from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.plane import ORIENTATIONS
from SAMLiverTumorLib.voxel_map import VoxelMap


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    volume = phantom_of(ball(), name="small")
    lesion, mask = np.zeros((2, *volume.array.shape), bool)
    lesion[15, 20, 20:24] = True
    mask[15, 20, 20:22] = True
    doubt = np.zeros(volume.array.shape, np.uint8)
    doubt[15, 20, 20:24] = 10, 200, 100, 250
    whole = tuple(slice(0, n) for n in doubt.shape)
    fusion = SimpleNamespace(
        mask=lambda: Mask.from_array(mask, volume), uncertainty=VoxelMap.in_box(doubt, whole, volume)
    )
    # wrong are the voxels of 100 and 250; of the right ones only that of 200 is above one of them. Around lie
    # 8 mm: 9 slices of 2 mm (15 - 4 to 15 + 4), 17 rows and 20 columns
    right = 9 * 17 * 20 - 2
    assert auroc(fusion, lesion, volume.spacing) == pytest.approx(1 - 1 / (2 * right))
    assert np.isnan(auroc(fusion, mask, volume.spacing))


@pytest.mark.parametrize("answer", ["outline", "box"])
def test_a_lesion_is_measured_in_one_pass_fused_and_corrected(answer):
    # the network sees the dark ball; the reference has a lump at its side that is not dark
    inside = ball()
    reference = inside.copy()
    reference[12:18, 16:24, 30:36] = True
    case = Case("phantom", phantom_of(inside), None, np.ones_like(inside), ())
    lesion = Lesion(1, reference, float(reference.sum()) * 0.002)
    row = measure(case, lesion, Ensemble(ORIENTATIONS), DarkPool(), SETTINGS, answer)
    first = 2 * inside.sum() / (inside.sum() + reference.sum())
    assert row.dice_first == pytest.approx(first, abs=0.01)
    assert row.dice_fused == pytest.approx(first, abs=0.01)
    assert 0 < row.auc_first <= 1
    if answer == "outline":
        assert row.dice_random > row.dice_first
    (line, *_) = summary([row, row])
    assert line.startswith(f"dice_first: {row.dice_first:.3f}")
    assert line.endswith("2 lesions")


def test_held_out_cases_are_refused(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--cases", "8"]) == 2
    assert "held out" in capsys.readouterr().err
