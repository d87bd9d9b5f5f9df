"""A rule in place of the network, and phantoms, for tests of propagation that need no weights.

The rule segments the dark pixels in the box; for points alone, the connected dark pixels around the first one.
"""

from types import SimpleNamespace

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.volume import Volume, apply_affine

TISSUE, TUMOR = 160, 80
SETTINGS = Settings(window=Window(0, 255))


class DarkPredictor:
    """Stands in for `Predictor`; counts its calls."""

    def __init__(self, model="lite-medsam"):
        self.model = SimpleNamespace(info=get_model(model), sha256="0" * 64)
        self.embedded, self.decoded = 0, 0
        self.asked = []
        self.iou, self.sharpness = 0.9, 5.0

    def embed(self, rgb, spacing, cancel=None, mirrored=False):
        self.embedded += 1
        return rgb[..., 1]

    def predict(self, embedding, prompts):
        self.decoded += 1
        self.asked.append(prompts)
        dark = embedding < (TISSUE + TUMOR) / 2
        if prompts.box is not None:
            u0, v0, u1, v1 = prompts.box
            v, u = np.indices(dark.shape)
            mask = dark & (u >= u0) & (u <= u1) & (v >= v0) & (v <= v1)
        else:
            labels, _ = ndimage.label(dark)
            u, v = np.rint(prompts.points[0]).astype(int)
            mask = (labels == labels[v, u]) & dark
        logits = np.where(mask, self.sharpness, -self.sharpness).astype(np.float32)
        return SimpleNamespace(
            mask=mask, logits=logits, predicted_iou=self.iou, stability=1.0, low_resolution=np.zeros((1, 256, 256))
        )


class DarkPool:
    """Stands in for `PredictorPool`: one predictor for every model."""

    def __init__(self, model="lite-medsam"):
        self.network = DarkPredictor(model)

    def predictor(self, model):
        return self.network

    @property
    def calls(self):
        return self.network.decoded


def phantom_of(inside, shape=(30, 40, 44), affine=None, name="phantom"):
    """Tissue with a darker tumor where `inside` (bool (k, j, i)) says; 8-bit grey, 1 x 1 x 2 mm."""
    array = np.where(inside, TUMOR, TISSUE).astype(np.uint8)
    return Volume(array, np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine, name)


def ball(shape=(30, 40, 44), center=(15, 20, 22), radii=(8, 9, 9)):
    """A ball, or ellipsoid, as bool (k, j, i)."""
    grids = np.indices(shape)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grids, center, radii, strict=True)) < 1


def box_around(slice_mask, margin=2.5):
    """A box with a margin of so many pixels around a slice's mask."""
    rows, columns = np.nonzero(slice_mask)
    return PlanePrompts(box=(columns.min() - margin, rows.min() - margin, columns.max() + margin, rows.max() + margin))


def ras_of(volume, k, j, i):
    """World point of a voxel."""
    return apply_affine(volume.ijk_to_ras, np.array([[i, j, k]]))[0]


def dice(a, b):
    """Dice of two masks, not both empty."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def ladder(radii, centers=None, shades=None):
    """A tumor of discs on slices 5, 6, ..., of given radii, centers (j, i) and grey values."""
    k, j, i = np.indices((30, 40, 44))
    array = np.full(k.shape, 160, np.uint8)
    inside = np.zeros(k.shape, bool)
    for n, radius in enumerate(radii):
        cj, ci = centers[n] if centers else (20, 22)
        disc = (k == 5 + n) & (np.hypot(j - cj, i - ci) <= radius)
        inside |= disc
        array[disc] = shades[n] if shades else 80
    return Volume(array, np.diag([-1.0, -1.0, 2.0, 1.0]), "ladder"), inside
