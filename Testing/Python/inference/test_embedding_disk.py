"""Slices encoded in one session are not encoded in the next, and masks do not depend on where embeddings came from."""

from dataclasses import replace

import numpy as np
import pytest
import reference_table
import torch

from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
from SAMLiverTumorLib.inference.embeddings.memory_cache import EmbeddingCache
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.prediction import Embedding
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts

BOX = PlanePrompts(box=(38.5, 29.5, 69.5, 63.5))


class Counting(torch.nn.Module):
    """A trivial encoder, for counting calls."""

    def forward(self, image):
        return image.mean() + torch.linspace(-1.0, 1.0, 256)[None, :, None, None].expand(-1, -1, 64, 64)


@pytest.fixture
def session(tmp_path, lite_medsam):
    """Makes a predictor as a new session would, with the same cache folder."""

    def make(**changes):
        model = replace(lite_medsam, image_encoder=Counting(), **changes)
        return Predictor(model, EmbeddingCache(disk=DiskCache(tmp_path / "embeddings")))

    return make


def test_the_next_session_encodes_nothing_and_gives_the_same_masks_bit_by_bit(session, sample):
    volume, _ = sample
    images = [plane_to_rgb(volume, slice_plane(volume, "axial", k), PRESETS["wide"]) for k in (70, 71, 72)]
    results = []
    for encoded in (3, 0):
        predictor = session()
        results.append([predictor.predict(predictor.embed(rgb, (1.36, 1.36)), BOX) for rgb in images])
        assert predictor.encoded == encoded
    for first, second in zip(*results, strict=True):
        assert np.array_equal(first.logits, second.logits)
        assert first.predicted_iou == second.predicted_iou


def test_an_embedding_is_not_used_for_other_pixels_spacing_or_weights(session):
    rgb = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    session().embed(rgb, (1.0, 1.0))
    changed = rgb.copy()
    changed[3, 4, 1] ^= 1
    again = session()
    again.embed(rgb, (1.0, 1.0))
    assert again.encoded == 0
    again.embed(changed, (1.0, 1.0))
    again.embed(rgb, (1.0, 1.5))
    assert again.encoded == 2
    other = session(sha256="f" * 64)
    other.embed(rgb, (1.0, 1.0))
    assert other.encoded == 1


def test_a_pool_uses_the_disk_cache_given_the_users_own_or_none(tmp_path, store, monkeypatch):
    monkeypatch.setenv("SAM_LIVER_TUMOR_CACHE", str(tmp_path / "named"))
    assert PredictorPool(store=store).cache.disk.root == tmp_path / "named"
    assert PredictorPool(store=store, disk=None).cache.disk is None
    own = DiskCache(tmp_path / "own")
    assert PredictorPool(store=store, disk=own).cache.disk is own
    monkeypatch.setenv("SAM_LIVER_TUMOR_CACHE", "off")
    assert PredictorPool(store=store).cache.disk is None


def test_half_precision_changes_no_more_than_a_thousandth_of_a_masks_voxels(pool, lits7):
    volume, labels = lits7
    slices = reference_table.trials(volume, labels)
    predictor = pool.predictor("lite-medsam")
    exact = Predictor(predictor.model)
    changed = marked = 0
    largest = sorted(slices, key=lambda k: sum(mask.sum() for mask in slices[k]))[-3:]
    for k in largest:
        plane = slice_plane(volume, "axial", k)
        rgb = plane_to_rgb(volume, plane, reference_table.Window(*reference_table.WINDOW))
        embedding = predictor.embed(rgb, plane.spacing[1::-1])
        whole = []
        handle = exact.model.image_encoder.register_forward_hook(lambda m, i, out, whole=whole: whole.append(out))
        exact._encode(rgb, embedding.geometry)
        handle.remove()
        for mask in slices[k]:
            prompts = PlanePrompts(box=reference_table.box_around(mask))
            half = predictor.predict(embedding, prompts).mask
            full = exact.predict(Embedding(whole[0], embedding.geometry), prompts).mask
            changed += np.count_nonzero(half != full)
            marked += np.count_nonzero(full)
    assert marked > 2000
    assert changed <= 0.001 * marked
