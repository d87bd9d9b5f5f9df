"""A scan that lies elsewhere is moved onto the first one, to a known place, in the same way every time, or refused."""

import numpy as np
import pytest
from geometry import rotation

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.channels import further_channel
from SAMLiverTumorLib.image.registration import register_rigid
from SAMLiverTumorLib.volume import Volume, apply_affine


@pytest.fixture(scope="module")
def abdomen():
    """A body with liver, spine, aorta and a lesion, nothing of it symmetric; 3 x 3 x 4 mm."""
    k, j, i = np.meshgrid(np.arange(40), np.arange(80), np.arange(100), indexing="ij")

    def ball(ci, cj, ck, ri, rj, rk):
        return ((i - ci) / ri) ** 2 + ((j - cj) / rj) ** 2 + ((k - ck) / rk) ** 2 < 1

    hu = np.full(k.shape, -1000.0)
    for where, value in (
        (ball(50, 40, 20, 42, 30, 60), 20),
        (ball(32, 36, 24, 20, 17, 13), 110),
        (ball(70, 34, 28, 12, 10, 8), 60),
        (ball(52, 58, 20, 6, 6, 60), 400),
        (ball(56, 48, 20, 3, 3, 60), 180),
        (ball(28, 32, 26, 5, 5, 4), 45),
        (ball(66, 50, 14, 6, 8, 7), 150),
    ):
        hu[where] = value
    hu += np.random.default_rng(0).normal(0, 8, hu.shape)
    affine = np.array([[-3.0, 0, 0, 150], [0, -3.0, 0, 100], [0, 0, 4.0, -300], [0, 0, 0, 1]])
    return Volume(hu.astype(np.int16), affine, "portal")


def elsewhere(volume, shift, degrees, values=None, name="arterial"):
    """The same patient, turned about the middle and shifted: a volume and how its points come from the first one's."""
    center = apply_affine(volume.ijk_to_ras, (np.array(volume.dimensions) - 1) / 2)[0]
    motion = np.eye(4)
    motion[:3, :3] = rotation((1, 2, 3), degrees)
    motion[:3, 3] = center + shift - motion[:3, :3] @ center
    return Volume(volume.array if values is None else values, motion @ volume.ijk_to_ras, name), motion


def inverted(volume):
    """As an MR might show it: fluid and air dark or bright the other way round, and no Hounsfield units."""
    return np.where(volume.array < -500, 0, 900 - 2 * np.clip(volume.array, -100, 400)).astype(np.uint16)


@pytest.mark.parametrize("mr", [False, True], ids=["ct", "mr"])
def test_a_scan_in_other_coordinates_is_found_to_a_millimeter(abdomen, mr):
    other, motion = elsewhere(abdomen, (300, -200, 900), 6, inverted(abdomen) if mr else None)
    found = register_rigid(abdomen, other)
    points = apply_affine(abdomen.ijk_to_ras, [(32, 36, 24), (70, 34, 28), (28, 32, 26)])
    assert np.linalg.norm(apply_affine(found.matrix, points) - apply_affine(motion, points), axis=1).max() < 1.0
    assert found.rotation_degrees == pytest.approx(6, abs=0.5)
    assert found.shift_mm == pytest.approx(np.linalg.norm((300, -200, 900)), abs=2)
    assert found.information[0] == 0
    assert found.information[1] > 0.3
    assert found.uncertainty_mm < 2


def test_it_is_the_same_in_every_run(abdomen):
    other, _ = elsewhere(abdomen, (10, 5, -12), 4)
    assert (register_rigid(abdomen, other).matrix == register_rigid(abdomen, other).matrix).all()


def test_a_registered_channel_shows_the_same_place_and_says_how_it_was_moved(abdomen):
    other, _ = elsewhere(abdomen, (300, -200, 900), 6)
    with pytest.raises(InputError, match="do not overlap"):
        further_channel(abdomen, other)
    channel, notes = further_channel(abdomen, other, register=True)
    liver = (abdomen.array > 90) & (abdomen.array < 130)
    assert channel.volume.array[liver].mean() == pytest.approx(abdomen.array[liver].mean(), abs=8)
    assert notes[0].startswith("'arterial' was moved onto 'portal': by 9")
    said = channel.as_dict()["registration"]
    assert said["rotation_degrees"] == pytest.approx(6, abs=0.5)
    assert np.array(said["matrix"]).shape == (4, 4)


def test_scans_that_are_not_of_one_patient_are_refused(abdomen):
    noise = np.random.default_rng(1).integers(-200, 200, abdomen.array.shape).astype(np.int16)
    with pytest.raises(InputError, match=r"'noise' cannot be moved onto 'portal' with certainty.*General Registration"):
        register_rigid(abdomen, Volume(noise, abdomen.ijk_to_ras, "noise"))


def test_a_few_slices_cannot_be_matched(abdomen):
    thin = Volume(abdomen.array[:4], abdomen.ijk_to_ras, "thin")
    with pytest.raises(InputError, match=r"'thin' is too thin to be matched.*\(100, 80, 4\)"):
        register_rigid(abdomen, thin)
