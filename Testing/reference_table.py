"""Mean Dice per slice of the default models on LiTS cases 7 and 6, by kind of prompt.

    python Testing/reference_table.py

Axial slices with tumor; each 8-connected component of at least 50 pixels is one trial: a box two pixels
outside its bounding box, and one point at its deepest place. The cases are stored as 8-bit grey, shown whole
(0 to 255). LiteMedSAM was very probably trained on LiTS: its figures are not those of unseen patients.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from SAMLiverTumorLib.datasets.reference_prompts import box_around, deepest_point, slice_trials  # noqa: E402
from SAMLiverTumorLib.image.rgb import plane_to_rgb  # noqa: E402
from SAMLiverTumorLib.image.window import Window  # noqa: E402
from SAMLiverTumorLib.inference.pool import PredictorPool  # noqa: E402
from SAMLiverTumorLib.io.images import read_volume  # noqa: E402
from SAMLiverTumorLib.plane import slice_plane  # noqa: E402
from SAMLiverTumorLib.prompts import PlanePrompts  # noqa: E402

CASES = (7, 6)
WINDOW = (0.0, 255.0)


def trials(volume, labels: np.ndarray) -> dict[int, list[np.ndarray]]:
    """Tumor components of each axial slice that count as trials, as bool masks; labels (k, j, i) with tumor 2."""
    return slice_trials(volume, labels == 2)


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two masks; the reference is not empty."""
    return 2.0 * np.count_nonzero(mask & reference) / (np.count_nonzero(mask) + np.count_nonzero(reference))


def scores(predictor, volume, slices: dict[int, list[np.ndarray]]) -> dict[str, list[float]]:
    """Dice of every trial by kind of prompt, in the order of the slices."""
    result = defaultdict(list)
    for k, masks in slices.items():
        plane = slice_plane(volume, "axial", k)
        embedding = predictor.embed(plane_to_rgb(volume, plane, Window(*WINDOW)), plane.spacing[1::-1])
        for mask in masks:
            prompts = {"box": PlanePrompts(box=box_around(mask))}
            if "points" in predictor.model.info.prompts:
                prompts["one point"] = PlanePrompts(points=[deepest_point(mask)], labels=[1])
            for kind, given in prompts.items():
                result[kind].append(dice(predictor.predict(embedding, given).mask, mask))
    return dict(result)


def read_case(data: Path, case: int):
    """The volume and its labels (k, j, i), on the same grid."""
    folder = data / "lits8"
    volume, labels = (read_volume(folder / f"liver_{case}_{name}.nii.gz") for name in ("ct8", "label"))
    if labels.dimensions != volume.dimensions or not np.allclose(labels.ijk_to_ras, volume.ijk_to_ras):
        raise ValueError(f"labels and image of case {case} are on different grids")
    return volume, labels.array


def main() -> int:
    """Print the table."""
    pool = PredictorPool(confirm=lambda question: True)
    print(f"$ python Testing/reference_table.py\n\n{'model, prompt':28}" + "".join(f"{f'case {c}':>22}" for c in CASES))
    rows = defaultdict(dict)
    for case in CASES:
        volume, labels = read_case(ROOT.parent / "shared" / "data", case)
        slices = trials(volume, labels)
        for model in ("lite-medsam", "mobile-sam"):
            for kind, values in scores(pool.predictor(model), volume, slices).items():
                rows[f"{model}, {kind}"][case] = values
    for name, by_case in rows.items():
        print(f"{name:28}" + "".join(f"{np.mean(by_case[c]):12.3f} (n={len(by_case[c]):3d})" for c in CASES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
