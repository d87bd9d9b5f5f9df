"""Masks as prompts: an earlier answer handed back to the network, or what a closed curve encloses."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.image.mask_geometry import grown_box
from SAMLiverTumorLib.models.preprocessing.input_geometry import InputGeometry, input_geometry
from SAMLiverTumorLib.models.registry import ModelInfo
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts

MOST_LOGIT = 6.0
"""The greatest logit of a mask prompt, and that inside a closed curve; the negative of it outside."""

# Edge of the logits that SAM's prompt encoder takes.
_MASK_EDGE = 256


def mask_prompt(probabilities: np.ndarray, plane: Plane, info: ModelInfo) -> np.ndarray:
    """A plane's stored probabilities, uint8 (rows, columns), as logits for a mask prompt, (1, 256, 256)."""
    geometry = input_geometry(probabilities.shape, plane.spacing[1::-1], info.input_size, info.resize)
    p = np.clip(probabilities.astype(np.float32) / 255.0, 1e-6, 1.0 - 1e-6)
    logits = np.clip(np.log(p / (1.0 - p)), -MOST_LOGIT, MOST_LOGIT)
    places = np.meshgrid(*(_places(geometry, axis) for axis in (0, 1)), indexing="ij")
    # no tumor outside the slice image
    return ndimage.map_coordinates(logits, places, order=1, mode="constant", cval=-MOST_LOGIT)[None]


def lasso_prompts(enclosed: np.ndarray, plane: Plane, info: ModelInfo) -> PlanePrompts:
    """What a closed curve encloses as prompts: a mask, and the box around it.

    :param enclosed: bool (rows, columns) of the plane, not empty.
    :param info: of a model with masks and boxes.
    """
    drawn = mask_prompt(np.where(enclosed, 255, 0).astype(np.uint8), plane, info)
    return PlanePrompts(box=grown_box(enclosed, 0), mask=drawn)


def _places(geometry: InputGeometry, axis: int) -> np.ndarray:
    """Centers of a mask prompt's pixels along an axis, in pixels of the slice image; float (256,)."""
    step = geometry.input_size / _MASK_EDGE
    return (np.arange(_MASK_EDGE) + 0.5) * step / geometry.scale[axis] - 0.5
