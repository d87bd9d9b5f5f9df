"""One rule divides a mask into lesions, wherever lesions are counted."""

import numpy as np
import pytest

from SAMLiverTumorLib.cli.demo import largest_components
from SAMLiverTumorLib.evaluation.lesion_report.measure import LESION_RULE, measure_lesions
from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import CONNECTIVITY_RULE
from SAMLiverTumorLib.image.lesion_components import CONNECTIVITY, label_lesions
from SAMLiverTumorLib.inference.text_search import _without_small
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.volume import Volume


@pytest.mark.parametrize(
    ("shape", "one", "other", "count"),
    [
        ((4, 4, 4), (1, 1, 1), (1, 1, 2), 1),
        ((4, 4, 4), (1, 1, 1), (1, 2, 2), 1),
        ((4, 4, 4), (1, 1, 1), (2, 2, 2), 1),
        ((4, 4, 4), (1, 1, 1), (1, 1, 3), 2),
        ((4, 4), (1, 1), (2, 2), 1),
        ((4, 4), (0, 1), (2, 2), 2),
    ],
    ids=["face", "edge", "corner", "apart", "corner on a slice", "apart on a slice"],
)
def test_what_touches_in_a_corner_is_one_lesion(shape, one, other, count):
    mask = np.zeros(shape, bool)
    mask[one] = mask[other] = True
    labels, found = label_lesions(mask)
    assert found == count
    assert (labels > 0).tolist() == mask.tolist()
    assert (labels[one] == labels[other]) == (count == 1)


def test_search_report_evaluation_and_demo_count_the_same_lesions():
    mask = np.zeros((6, 12, 12), bool)
    for step in range(4):  # a thread that runs obliquely through the slices: one lesion, of four voxels
        mask[step + 1, step + 1, step + 1] = True
    mask[1:3, 8:10, 8:10] = True
    array = np.full(mask.shape, 60, np.int16)
    array[0, 0, 0] = -1000
    volume = Volume(array, np.diag([1.0, 1.0, 1.0, 1.0]), "CT")
    assert _without_small(Mask.from_array(mask, volume), volume, 0.001)[1] == 2
    assert [row.voxels for row in measure_lesions(mask, volume).rows] == [8, 4]
    assert [lesion.overlap.tp for lesion in evaluate({"a": mask}, mask, 0.001).lesions] == [8, 4]
    assert [np.count_nonzero(each) for each in largest_components(mask, 2)] == [8, 4]


def test_reports_state_the_rule():
    assert CONNECTIVITY in LESION_RULE and CONNECTIVITY in CONNECTIVITY_RULE
