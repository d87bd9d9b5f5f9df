"""Random fields that are smooth over a given length in millimeters, whatever the voxel spacing."""

from __future__ import annotations

import numpy as np

# Lattice nodes per sigma, and reach of the kernel in sigmas; a coarser lattice would be visible in the field.
_NODES_PER_SIGMA = 1.25
_REACH = 3.0


def smooth_noise(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], sigma_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Gaussian random field with mean 0, standard deviation 1 and isotropic smoothness.

    White noise on a coarse lattice is spread with a Gaussian kernel, axis by axis. That costs less than filtering noise
    on all voxels.

    :param shape: voxels (k, j, i).
    :param spacing: millimeters per voxel along (k, j, i).
    :param sigma_mm: the kernel's sigma; two points 2 sigma apart correlate by exp(-1).
    :return: float32 of that shape.
    """
    step = sigma_mm / _NODES_PER_SIGMA
    weights = []
    for count, size in zip(shape, spacing, strict=True):
        x = np.arange(count) * size
        nodes = np.arange(-_REACH * sigma_mm, x[-1] + _REACH * sigma_mm + step, step)
        kernel = np.exp(-0.5 * ((x[:, None] - nodes) / sigma_mm) ** 2)
        # rows of unit length: each voxel is a sum of independent numbers with total variance 1
        weights.append((kernel / np.linalg.norm(kernel, axis=1, keepdims=True)).astype(np.float32))
    field = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    for axis, weight in enumerate(weights):
        field = np.moveaxis(np.tensordot(weight, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)
