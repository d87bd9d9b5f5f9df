"""Make cases with one painted tumor of over 100 ml each, a size that the available patients lack.

    .venv/bin/python Testing/paint_giants.py OUT [--cases 2,6] [--each 2] [shared/data/lits8]
    sam-liver-tumor compare MODEL... --images OUT -o OUT/report

The tumors are painted into the healthy liver of LiTS cases by the recipe used for training, with other seeds. Real
tumors are labeled 1 (liver), so that only the painted ones count. The held-out cases 4, 8, 9, 10 are never used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

HELD_OUT = {4, 8, 9, 10}
# 8-bit grey of -160..240 HU.
HU_PER_LEVEL = 400 / 255
SEED = 20261128
AWAY_MM = 8.0


def main(arguments: list[str]) -> int:
    """Write pairs `liver_N_giant_M_ct8.nii.gz` and `..._label.nii.gz`; print the volume of each tumor."""
    from scipy import ndimage

    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.training.synthetic.paint_tumors import paint, plan_tumors

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared/data/lits8")
    parser.add_argument("--cases", default="2,6")
    parser.add_argument("--each", type=int, default=2)
    args = parser.parse_args(arguments)
    cases = [int(name) for name in args.cases.split(",")]
    if HELD_OUT & set(cases):
        parser.error(f"cases {sorted(HELD_OUT)} are held out")
    args.out.mkdir(parents=True, exist_ok=True)
    for case in cases:
        path = args.data / f"liver_{case}_ct8.nii.gz"
        volume, labels = read_volume(path), read_volume(args.data / f"liver_{case}_label.nii.gz").array
        healthy = labels == 1
        if (labels == 2).any():
            healthy &= ndimage.distance_transform_edt(labels != 2, sampling=volume.spacing[::-1]) > AWAY_MM
        for number in range(args.each):
            rng = np.random.default_rng((SEED, case, number))
            plans = plan_tumors(volume, healthy, rng, 1, ["giant"], HU_PER_LEVEL)
            voxels, tumor = paint(volume, healthy, plans, rng, HU_PER_LEVEL)
            name = f"liver_{case}_giant_{number}"
            _write(voxels, path, args.out / f"{name}_ct8.nii.gz")
            found = np.where(tumor, 2, labels > 0).astype(np.uint8)
            _write(found, path, args.out / f"{name}_label.nii.gz")
            slices = np.count_nonzero(tumor.any(axis=(1, 2)))
            print(f"{name}: {tumor.sum() * volume.voxel_volume_ml:.0f} ml on {slices} slices", flush=True)
    return 0


def _write(voxels: np.ndarray, like: Path, path: Path) -> None:
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(sitk.ReadImage(str(like)))
    sitk.WriteImage(image, str(path))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
