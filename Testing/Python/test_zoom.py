"""Zoom: when a slice is looked at a second time, what of the two looks becomes the mask, and who can ask for it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from cli_case import CENTER, ONE_SLICE, run
from propagation_case import DarkPool, ball, phantom_of
from scipy import ndimage

from SAMLiverTumorLib.batch.jobs import BatchSettings
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.anchors import Anchor
from SAMLiverTumorLib.inference.crop import Crop
from SAMLiverTumorLib.inference.prediction import Prediction
from SAMLiverTumorLib.inference.propagation import propagate
from SAMLiverTumorLib.inference.segment import Settings, segment, segment_slice
from SAMLiverTumorLib.inference.stack import PlaneStack
from SAMLiverTumorLib.inference.zoom import zoomed
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.mrml.api import segmentNodes
from SAMLiverTumorLib.mrml.bootstrap import createScene
from SAMLiverTumorLib.mrml.nodes import addVolumeNode
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import Box, PlanePrompts, Prompts, on_plane
from SAMLiverTumorLib.volume import Volume

SHAPE, SPACING = (300, 400), (0.8, 0.8)
RGB = np.zeros((*SHAPE, 3), np.uint8)
# where the boxes and clicks below put a crop of 128 pixels: middle (210.5, 160.5), and 96.5 / 16 and 146.5 / 16 rounded
CROP = Crop(96, 144, 128, 128)
BOX = PlanePrompts(box=(199.5, 149.5, 220.5, 170.5))
CLICK = PlanePrompts([(210, 160)], [1])


def square(u0, v0, u1, v1, shape=SHAPE):
    """Logits +2 in these pixels, last ones included, -2 elsewhere."""
    logits = np.full(shape, -2.0, np.float32)
    logits[v0 : v1 + 1, u0 : u1 + 1] = 2.0
    return logits


FIRST = square(200, 150, 220, 170)


def prediction(logits):
    return Prediction(logits > 0, logits, 0.8, 1.0, np.zeros((1, 256, 256), np.float32))


class TwoLooks:
    """Stands for `Predictor`: what it finds in a crop is given."""

    def __init__(self, model, second):
        self.model = SimpleNamespace(info=get_model(model))
        self.second, self.crops, self.asked = second, [], []

    def embed(self, rgb, spacing, cancel=None, around=None, crop=None, mirrored=False):
        assert rgb is RGB
        self.crops.append(crop)
        return SimpleNamespace(geometry=SimpleNamespace(scale=(2.0, 2.0), input_size=256))

    def predict(self, embedding, prompts):
        self.asked.append(prompts)
        return prediction(self.crops[-1].of(self.second))


def look(model="lite-medsam", prompts=BOX, second=FIRST, zoom="on", first=FIRST):
    network = TwoLooks(model, second)
    whole = prediction(first)
    found, crop = zoomed(network, RGB, SPACING, prompts, whole, zoom)
    return network, whole, found, crop


def test_the_mask_is_where_the_mean_of_both_looks_is_above_zero():
    second = square(204, 150, 224, 170) * 3
    network, whole, found, crop = look(prompts=PlanePrompts(box=(199.5, 149.5, 230.5, 170.5)), second=second)
    assert network.crops == [crop]
    inside = np.zeros(SHAPE, bool)
    inside[crop.index] = True
    # +2 - 6 in the four columns of the first look alone, -2 + 6 in those of the second alone
    assert found.logits[160, 202] == -2.0
    assert found.logits[160, 222] == 2.0
    assert found.logits[160, 210] == 4.0
    assert np.array_equal(found.mask[inside], second[inside] > 0)
    assert np.array_equal(found.logits[~inside], FIRST[~inside])
    assert found.predicted_iou == 0.8
    assert found.low_resolution is whole.low_resolution
    assert found.stability == 1.0


def test_looks_that_disagree_leave_the_first():
    # 21 x 21 pixels against 21 x 10 of them
    _, whole, found, crop = look(second=square(200, 150, 209, 170) * 3)
    assert found is whole
    assert crop is None
    assert look(second=square(200, 150, 211, 170) * 3)[3] == CROP


def test_a_second_look_that_disobeys_a_click_leaves_the_first():
    hole = square(200, 150, 220, 170) * 3
    hole[160, 210] = -6.0
    assert look("liver-tumor", CLICK, second=hole)[3] is None
    assert look("liver-tumor", PlanePrompts([(212, 160)], [1]), second=hole)[3] == CROP
    beyond = square(200, 150, 223, 170) * 3
    assert look("liver-tumor", PlanePrompts([(210, 160), (222, 160)], [1, 0]), second=beyond)[3] is None


def test_the_crop_is_asked_in_its_own_pixels_and_with_the_first_mask_where_there_is_no_box():
    network, *_, crop = look("liver-tumor", PlanePrompts([(210, 160), (20, 20)], [1, 0]))
    assert crop == CROP
    (asked,) = network.asked
    assert asked.points.tolist() == [[210 - 144, 160 - 96]]
    assert asked.labels.tolist() == [1]
    # two pixels of the prompt for one of the crop: the first mask's 21 pixels from (56, 54) on
    assert np.argwhere(asked.mask[0] > 0).min(axis=0).tolist() == [2 * 54, 2 * 56]
    assert np.argwhere(asked.mask[0] > 0).max(axis=0).tolist() == [2 * 54 + 41, 2 * 56 + 41]
    network, *_ = look("liver-tumor", BOX)
    assert network.asked[0].mask is None
    assert network.asked[0].box == (199.5 - 144, 149.5 - 96, 220.5 - 144, 170.5 - 96)


@pytest.mark.parametrize(
    ("model", "prompts", "zoom", "looks"),
    [
        ("lite-medsam", BOX, "auto", 1),
        ("lite-medsam", BOX, "on", 1),
        ("lite-medsam", BOX, "off", 0),
        ("liver-tumor", BOX, "auto", 1),
        ("liver-tumor", PlanePrompts(CLICK.points, [1], BOX.box), "auto", 0),
        ("liver-tumor", PlanePrompts(CLICK.points, [1], BOX.box), "on", 1),
        ("liver-tumor", CLICK, "auto", 0),
        ("liver-tumor", CLICK, "on", 1),
        ("mobile-sam", BOX, "auto", 0),
        ("mobile-sam", CLICK, "auto", 0),
        ("mobile-sam", CLICK, "on", 1),
        ("medsam-vit-b", BOX, "auto", 0),
    ],
)
def test_auto_looks_twice_for_boxes_and_models_that_seemed_to_gain(model, prompts, zoom, looks):
    assert len(look(model, prompts, zoom=zoom)[0].crops) == looks


def test_large_lesions_far_clicks_and_empty_masks_are_looked_at_once():
    large = square(180, 130, 240, 190)  # 61 pixels of 0.8 mm
    box = PlanePrompts(box=(179.5, 129.5, 240.5, 190.5))
    assert look(prompts=box, second=large, first=large, zoom="auto")[3] is None
    assert look(prompts=box, second=large, first=large)[3] is not None
    far = PlanePrompts([(210, 160), (20, 20)], [1, 1])
    assert look("liver-tumor", far)[3] is None
    assert look(first=np.full(SHAPE, -2.0, np.float32))[3] is None


def test_what_lies_outside_the_box_counts_for_nothing():
    spilled = FIRST.copy()
    spilled[:, 300:] = 2.0
    assert look(first=spilled)[3] == CROP
    assert look("liver-tumor", CLICK, first=spilled)[3] is None


@pytest.fixture(scope="module")
def fine(sample):
    """(volume, box, click): ten slices of the sample case, four times as fine, around a lesion of some 10 mm."""
    volume, labels = sample
    found, count = ndimage.label(labels == 2)
    sizes = np.bincount(found.ravel())
    lesion = next(n for n in np.argsort(-sizes) if 0 < n <= count and 90 < sizes[n] < 170)
    k, j, i = (np.flatnonzero((found == lesion).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    middle = int(k[len(k) // 2])
    slices = slice(max(middle - 5, 0), middle + 5)
    array = np.repeat(np.repeat(volume.array[slices], 4, axis=1), 4, axis=2)
    affine = volume.ijk_to_ras @ np.diag([0.25, 0.25, 1.0, 1.0])
    affine[:3, 3] = (volume.ijk_to_ras @ [-0.375, -0.375, slices.start, 1.0])[:3]
    row, column = np.argwhere(found[middle] == lesion)[0]
    low = volume.ijk_to_ras @ [i[0] - 1.0, j[0] - 1.0, middle, 1.0]
    high = volume.ijk_to_ras @ [i[-1] + 1.0, j[-1] + 1.0, middle, 1.0]
    click = (volume.ijk_to_ras @ [column, row, middle, 1.0])[:3]
    return Volume(array, affine, "fine"), Box.from_corners(low[:3], high[:3]), click, middle - slices.start


@pytest.mark.parametrize("model", ["lite-medsam", "liver-tumor"])
def test_a_small_lesion_is_looked_at_twice_and_recorded(fine, pool, model):
    volume, box, _, index = fine
    on, off = (segment(volume, Prompts(box=box), pool, Settings(model, **zoom)) for zoom in ({"zoom": "auto"}, {}))
    assert [each.zoomed for each in on.slices] == [True]
    assert [each.zoomed for each in off.slices] == [False]
    assert (on.provenance["zoom"], off.provenance["zoom"]) == ("auto", "off")
    a, b = on.mask.full(), off.mask.full()
    assert not np.array_equal(a, b)
    assert np.count_nonzero(a & b) > 0.5 * np.count_nonzero(a | b)
    assert a[index].any()


def test_a_slice_that_a_tumor_is_followed_from_is_the_same_as_alone_and_the_others_are_looked_at_once(fine, pool):
    volume, box, _, index = fine
    plane = slice_plane(volume, "axial", index)
    seen = on_plane(Prompts(box=box), plane)
    settings = Settings("lite-medsam", zoom="on")
    alone = segment_slice(volume, plane, seen, pool, settings)
    assert alone.result.zoomed
    stack = PlaneStack(volume, "axial")
    followed = propagate(stack, [Anchor(index, seen)], pool, settings)
    assert np.array_equal(followed.mask().full()[index], alone.mask.full()[index])
    assert {n: each.result.zoomed for n, each in followed.slices.items()} == {n: n == index for n in followed.slices}


def test_an_unknown_zoom_is_refused():
    with pytest.raises(InputError, match="Unknown zoom 'twice'; choose one of off, auto, on"):
        Settings(zoom="twice")


@pytest.mark.parametrize("mode", ["slice", "volume"])
@pytest.mark.parametrize("zoom", ["off", "on"])
def test_the_console_takes_zoom_in_both_modes(ct, out, warm, tmp_path, mode, zoom):
    assert run(ct, "-o", out, ONE_SLICE, "--mode", mode, "--zoom", zoom, "--json", tmp_path / "report.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["provenance"]["zoom"] == zoom
    # the phantom's slices are no larger than a crop
    assert {each["zoomed"] for each in report["slices"]} == {False}


def test_a_run_is_made_anew_with_another_zoom():
    stack = PlaneStack(phantom_of(ball()), "axial")
    anchor = Anchor(15, PlanePrompts(box=(10, 10, 34, 30)))
    bases = [
        propagate(stack, [anchor], DarkPool(), Settings(window=Window(0, 255), zoom=zoom)).provenance["basis"]
        for zoom in ("auto", "off", "on")
    ]
    assert bases[0] != bases[1] != bases[2] != bases[0]


def test_the_scene_takes_zoom(phantom, warm, pool):
    node = addVolumeNode(createScene(), phantom)
    with pytest.raises(InputError, match="Unknown zoom 'never'"):
        segmentNodes(node, roiNode=_roi(node), pool=pool, zoom="never")
    found = segmentNodes(node, roiNode=_roi(node), pool=pool, zoom="off")
    assert found.result.provenance["zoom"] == "off"


def _roi(node):
    roi = node.GetScene().AddNewNodeByClass("vtkMRMLMarkupsROINode")
    roi.SetCenter(*CENTER)
    roi.SetSize(30, 32, 0.5)
    return roi


def test_records_of_cohorts_without_zoom_stay_good(phantom):
    assert "zoom" not in BatchSettings().as_dict()
    assert BatchSettings(zoom="auto").as_dict()["zoom"] == "auto"
    assert BatchSettings(zoom="on").network(phantom).zoom == "on"
