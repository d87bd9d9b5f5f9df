"""The U-Net baseline: it learns, it is reproducible, it survives saving, and it marks only liver."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from propagation_case import phantom_of

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.errors import Cancelled, InputError, ModelError, OutputError
from SAMLiverTumorLib.evaluation.metrics.overlap import overlap
from SAMLiverTumorLib.models.networks.unet import (
    Unet,
    UnetShape,
    build_network,
    load_unet,
    predict_planes,
    predict_volume,
    save_unet,
    unet_image,
)
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.training.baseline.unet_training import UnetSettings, train_unet
from SAMLiverTumorLib.volume import Volume

SHAPE = UnetShape(64, (8, 16))
SETTINGS = UnetSettings(steps=30, batch=4, crop=32, validate_every=10, rate=1e-2, shape=SHAPE)

pytestmark = pytest.mark.usefixtures("one_thread")


def patient(name, seed, count=5):
    """Dark squares in grey, with noise; a dark frame outside the liver that only place tells from tumor."""
    rng = np.random.default_rng(seed)
    tumor = np.zeros((6, 64, 64), bool)
    for k in range(6):
        for _ in range(count):
            j, i = rng.integers(10, 46, 2)
            tumor[k, j : j + 8, i : i + 8] = True
    liver = np.zeros_like(tumor)
    liver[:, 8:56, 8:56] = True
    array = np.where(tumor, 80, 160) + rng.normal(0, 6, tumor.shape)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    return Case(name, Volume(np.clip(array, 0, 255).astype(np.uint8), affine, name), tumor, liver)


@pytest.fixture(scope="module")
def trained():
    return train_unet([patient("a", 1), patient("b", 2)], [patient("c", 3)], SETTINGS)


def test_it_learns_to_find_tumors_in_a_patient_it_never_saw(trained):
    unseen = patient("d", 4)
    marked = predict_volume(trained, unseen.volume, unseen.liver)
    assert overlap(marked, unseen.tumor, 1.0).dice > 0.8
    assert trained.card["best_validation_dice"] > 0.8


def test_the_same_seed_gives_the_same_network_and_another_one_another(trained):
    few = replace(SETTINGS, steps=2, batch=2, validate_every=2)
    states = [
        train_unet([patient("a", 1)], [patient("c", 3)], replace(few, seed=seed)).network.state_dict()
        for seed in (0, 0, 1)
    ]
    name = next(iter(states[0]))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0][name], states[2][name])


def test_a_saved_network_marks_the_same_voxels_and_its_card_says_how_it_came_about(trained, tmp_path):
    saved = save_unet(trained, tmp_path / "net.safetensors")
    loaded = load_unet(tmp_path / "net.safetensors")
    case = patient("d", 4)
    assert np.array_equal(predict_volume(loaded, case.volume), predict_volume(trained, case.volume))
    card = json.loads((tmp_path / "net.json").read_text())
    assert (card["training_cases"], card["validation_cases"]) == (["a", "b"], ["c"])
    assert card["sha256"] == loaded.sha256 == saved.sha256
    assert card["data_sha256"]["c"] == patient("c", 3).volume.voxel_hash
    assert card["steps"] == 30
    assert loaded.card["history"] == card["history"]
    with pytest.raises(OutputError, match="exists already"):
        save_unet(trained, tmp_path / "net.safetensors")


def test_tumor_outside_the_liver_is_dropped_and_slices_without_liver_are_not_looked_at(trained):
    case = patient("d", 4)
    liver = case.liver.copy()
    liver[:, :, :30] = False
    liver[2] = False
    looked = []
    marked = predict_volume(trained, case.volume, liver, progress=lambda done, total: looked.append(total))
    assert looked[-1] == 5
    assert not marked[~liver].any()
    assert np.array_equal(marked, predict_volume(trained, case.volume) & liver)


@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, 1, -1)])
def test_masks_lie_where_the_tumor_is_however_the_volume_is_stored(trained, signs):
    case = patient("d", 4)
    flip = tuple(
        slice(None, None, -1) if sign != kept else slice(None)
        for sign, kept in zip(signs[::-1], (1, -1, -1), strict=True)
    )
    volume = Volume(np.ascontiguousarray(case.volume.array[flip]), np.diag([*signs, 1.0]) * [1, 1, 2, 1])
    assert np.array_equal(predict_volume(trained, volume)[flip], predict_volume(trained, case.volume))


def test_masks_have_the_size_of_their_slice(trained):
    tumor = np.zeros((2, 90, 130), bool)
    tumor[0, 30:60, 40:80] = True
    volume = phantom_of(tumor, tumor.shape)
    plane = slice_plane(volume, "axial", 0)
    assert tuple(unet_image(volume, plane, SHAPE).shape) == (44, 64)
    (marked,) = predict_planes(trained, volume, [plane])
    assert marked.shape == (90, 130)


def test_hounsfield_units_are_windowed_and_grey_is_shown_whole():
    hu = np.array([[[-1000, -160, 40, 240, 900, 0]]], np.int16)
    shape = UnetShape(16, (4, 8))
    shown = unet_image(Volume(hu, np.eye(4)), slice_plane(Volume(hu, np.eye(4)), "axial", 0), shape)
    assert (float(shown.min()), float(shown.max())) == (0.0, 1.0)
    grey = np.full((1, 16, 16), 51, np.uint8)
    volume = Volume(grey, np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert unet_image(volume, slice_plane(volume, "axial", 0), shape).numpy() == pytest.approx(0.2)


def test_training_stops_when_validation_stops_improving_and_keeps_the_best():
    seen = []
    settings = replace(SETTINGS, steps=200, batch=2, validate_every=2, patience=1, rate=1e-9)
    net = train_unet([patient("a", 1)], [patient("c", 3)], settings, lambda step, loss, dice: seen.append(dice))
    assert net.card["stopped_early"]
    dices = [dice for dice in seen if dice is not None]
    assert len(dices) < 100
    assert net.card["best_validation_dice"] == pytest.approx(max(dices), abs=1e-5)


def test_a_time_limit_ends_training():
    net = train_unet([patient("a", 1)], [patient("c", 3)], replace(SETTINGS, steps=10**6, seconds=1e-3))
    assert net.card["steps"] == 1


def test_a_patient_in_both_parts_or_no_tumor_at_all_is_refused():
    case = patient("a", 1)
    with pytest.raises(InputError, match="different patients"):
        train_unet([case], [case], SETTINGS)
    with pytest.raises(InputError, match="different patients"):
        train_unet([case], [replace(case, name="renamed")], SETTINGS)
    with pytest.raises(InputError, match="has a tumor"):
        train_unet([replace(patient("b", 2), tumor=np.zeros_like(case.tumor))], [case], SETTINGS)
    with pytest.raises(Cancelled):
        train_unet([case], [patient("b", 2)], SETTINGS, cancel=lambda: True)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="divisible by 4"):
        UnetShape(62, (8, 16, 32))
    with pytest.raises(InputError, match="multiple of 2"):
        UnetSettings(crop=31, shape=SHAPE)
    with pytest.raises(InputError, match="at least one step"):
        UnetSettings(steps=0)


def test_other_files_are_no_baseline(tmp_path, trained):
    import safetensors.torch

    with pytest.raises(ModelError, match="There is no weight file"):
        load_unet(tmp_path / "missing.safetensors")
    with pytest.raises(ModelError, match="no U-Net baseline"):
        load_unet(tmp_path / "net.pt")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(ModelError, match="no U-Net baseline"):
        load_unet(foreign)
    other = Unet(build_network(UnetShape(64, (4, 8))), SHAPE, {})  # not the shape that it says
    save_unet(other, tmp_path / "wrong.safetensors")
    with pytest.raises(ModelError, match="no U-Net baseline"):
        load_unet(tmp_path / "wrong.safetensors")
