"""Uncertainty of each voxel of a fused segmentation, from 0 (certain) to 1 (tumor and background equally likely)."""

from __future__ import annotations

import numpy as np


def voxel_uncertainty(probability: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Uncertainty of voxels that several passes segmented: U = (H + D) / 2.

    - H = -p log2(p) - (1 - p) log2(1 - p), the entropy of the fused probability p in bits: 1 at p = 1/2. It is the
      predictive entropy of an ensemble (Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive
      Uncertainty Estimation using Deep Ensembles", NeurIPS 2017).
    - D = 4 var, four times the weighted variance of the passes' probabilities: 1 where passes of equal total weight
      give 0 and 1. It separates passes that contradict each other from passes that all give a middling probability.

    D never exceeds H. So U = H where passes contradict each other completely, and U = H / 2 where they agree or there
    is only one.

    :param probability: 0 to 1, any shape.
    :param variance: of the passes' probabilities, 0 to 1/4, same shape.
    :return: float32 0 to 1.
    """
    p = np.clip(probability, 1e-7, 1.0 - 1e-7).astype(np.float32)
    entropy = -p * np.log2(p) - (1.0 - p) * np.log2(1.0 - p)
    # exactly zero, not 1e-6, where all passes are certain
    entropy = np.where((probability <= 0.0) | (probability >= 1.0), 0.0, entropy)
    return np.clip((entropy + 4.0 * variance) / 2.0, 0.0, 1.0).astype(np.float32)
