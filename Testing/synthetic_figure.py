"""The figure of synthetic tumors: `.venv/bin/python Testing/synthetic_figure.py [docs/pictures/synthetic-tumors.png]`.

One tumor of each size in a healthy liver (CHAOS, CT set 3; `../shared/data`): above the original CT, below the CT with
the tumor and the outline of its mask.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SEED = 11
TILE = 270
# Width of a tile in millimeters; the largest tumor is about 90 mm wide.
FIELD_MM = {"tiny": 60.0, "small": 75.0, "medium": 100.0, "giant": 150.0}
WINDOW = (-20.0, 220.0)
OUTLINE = (255, 215, 40)
# Step of the grey levels; finer noise would double the file size.
STEP = 12


def main(arguments: list[str]) -> int:
    """Paint one tumor of each size, each into the original liver, and write the tiles."""
    from SAMLiverTumorLib.io.atomic import atomic_path
    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.training.synthetic.paint_tumors import paint, plan_tumors

    out = Path(arguments[0]) if arguments else ROOT / "docs" / "pictures" / "synthetic-tumors.png"
    data = ROOT.parent / "shared" / "data" / "chaos3"
    volume = read_volume(data / "dicom")
    liver = read_volume(data / "liver.nii.gz").array > 0
    columns = []
    for number, (size, field_mm) in enumerate(FIELD_MM.items()):
        rng = np.random.default_rng(SEED + number)
        (plan,) = plan_tumors(volume, liver, rng, 1, [size])
        voxels, tumor = paint(volume, liver, [plan], rng)
        ml = np.count_nonzero(tumor) * volume.voxel_volume_ml
        k = round(plan.center[0])
        print(f"{size}: {ml:.2f} ml, {plan.hu_offset:.0f} HU")
        before = tile(volume.array[k], plan.center, volume.spacing, field_mm)
        after = tile(voxels[k], plan.center, volume.spacing, field_mm)
        mask = tile(tumor[k] * 1000.0, plan.center, volume.spacing, field_mm)[..., 0] > 127
        after[ndimage.binary_dilation(mask) & ~mask] = OUTLINE
        columns.append(np.vstack([before, labelled(after, f"{size}, {ml:.1f} ml, {field_mm:.0f} mm wide")]))
    figure = Image.fromarray(np.hstack(columns))
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out, overwrite=True) as temporary:
        figure.quantize(64, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)
    return 0


def tile(slice_: np.ndarray, center, spacing, field_mm: float) -> np.ndarray:
    """A square of an axial slice around a center (k, j, i) in the window, resampled; (TILE, TILE, 3) uint8."""
    at = (np.arange(TILE) - (TILE - 1) / 2) * field_mm / TILE
    rows, columns = np.meshgrid(center[1] + at / spacing[1], center[2] + at / spacing[0], indexing="ij")
    grey = ndimage.map_coordinates(slice_.astype(np.float32), [rows, columns], order=1, mode="nearest")
    grey = np.clip((grey - WINDOW[0]) / (WINDOW[1] - WINDOW[0]) * 255, 0, 255)
    return np.repeat((np.rint(grey / STEP) * STEP).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def labelled(pixels: np.ndarray, text: str) -> np.ndarray:
    """A tile with a line of text at its bottom."""
    image = Image.fromarray(pixels)
    font = ImageFont.load_default(size=16)
    ImageDraw.Draw(image).text((8, TILE - 26), text, "white", font, stroke_width=2, stroke_fill="black")
    return np.asarray(image)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
