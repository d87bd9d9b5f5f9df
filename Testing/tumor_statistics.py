"""Appearance of real liver tumors in CT: the figures behind the defaults of `training/synthetic/tumor_plan.py`.

    .venv/bin/python Testing/tumor_statistics.py [--synthetic] [shared/data]

LiTS cases 0, 1, 2, 3, 5, 6, 7 (8-bit grey of the window -160 to 240 HU) and 117 (HU); the held-out cases 4, 8, 9, 10
are never used. One line for each 26-connected tumor of at least 0.1 ml, then quantiles. All in HU and millimeters:

- contrast: median of the core (2 mm deep) minus the median of the healthy liver 3 to 12 mm away;
- sd in, out: robust standard deviation of core and surroundings;
- blotches: difference of the two in quadrature after smoothing by 1.5 mm: structure beyond the scanner's noise;
- edge: sigma of the error function fitted to the intensity from liver to tumor, median over eight sectors, each with
  its own shift, since outlines are slightly displaced; rim: liver within 1 to 4 mm minus the liver farther away;
- axes: longest and shortest semi-axis relative to the middle one, of the ellipsoid with the same moments.

With --synthetic, the same figures for tumors painted into the healthy liver of the same cases.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage, special

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CASES = (0, 1, 2, 3, 5, 6, 7)
HU_PER_LEVEL, HU_AT_ZERO = 400 / 255, -160.0
REACH_MM = 14.0
COLUMNS = ("ml", "contrast", "sd in", "sd out", "blotches", "edge", "rim", "long", "short")


def main(arguments: list[str]) -> int:
    """Print the table."""
    from SAMLiverTumorLib.io.images import read_volume

    synthetic = "--synthetic" in arguments
    folders = [name for name in arguments if not name.startswith("--")]
    data = Path(folders[0]) if folders else ROOT.parent / "shared" / "data"
    rows = []
    print(f"{'case':>5} " + " ".join(f"{name:>9}" for name in COLUMNS))
    for case in (*CASES, 117):
        folder = data / "lits117" if case == 117 else data / "lits8"
        names = (
            ("ct.nii.gz", "label.nii.gz") if case == 117 else (f"liver_{case}_ct8.nii.gz", f"liver_{case}_label.nii.gz")
        )
        volume, labels = read_volume(folder / names[0]), read_volume(folder / names[1]).array
        scale, zero = (1.0, 0.0) if case == 117 else (HU_PER_LEVEL, HU_AT_ZERO)
        tumor = labels == 2
        if synthetic:
            volume, tumor = with_synthetic(volume, labels == 1, scale, case)
            labels = np.where(tumor, 2, labels)
        for row in tumors(volume, labels, tumor, scale, zero):
            rows.append(row)
            print(f"{case:>5} " + " ".join(f"{value:9.2f}" for value in row), flush=True)
    table = np.array(rows)
    for name, chosen in (("all", table[:, 0] > 0), (">= 1 ml", table[:, 0] >= 1.0)):
        print(f"{name}: {chosen.sum()} tumors")
        for q in (10, 25, 50, 75, 90):
            print(f"{q:>4}% " + " ".join(f"{value:9.2f}" for value in np.nanpercentile(table[chosen], q, axis=0)))
    return 0


def with_synthetic(volume, liver: np.ndarray, scale: float, seed: int):
    """The volume with painted tumors, mostly small like real ones, and their mask."""
    from SAMLiverTumorLib.training.synthetic.paint_tumors import paint, plan_tumors
    from SAMLiverTumorLib.volume import Volume

    rng = np.random.default_rng(seed)
    plans = plan_tumors(volume, liver, rng, 12, ("tiny", "tiny", "small", "tiny", "medium"), scale)
    voxels, tumor = paint(volume, liver, plans, rng, scale)
    return Volume(voxels, volume.ijk_to_ras, volume.name), tumor


def tumors(volume, labels: np.ndarray, tumor: np.ndarray, scale: float, zero: float):
    """One row of figures (see `COLUMNS`) for each tumor of a case, largest first; NaN with too few voxels."""
    spacing = volume.spacing[::-1]
    components, count = ndimage.label(tumor, np.ones((3, 3, 3)))
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(components)
    for n in 1 + np.argsort(-sizes[1:]):
        ml = sizes[n] * volume.voxel_volume_ml
        if ml < 0.1:
            return
        pad = [int(np.ceil(REACH_MM / s)) for s in spacing]
        box = tuple(slice(max(s.start - p, 0), s.stop + p) for s, p in zip(boxes[n - 1], pad, strict=True))
        hu = volume.array[box].astype(np.float32) * scale + zero
        yield ml, *figures(hu, components[box] == n, labels[box], spacing)


def figures(hu: np.ndarray, tumor: np.ndarray, labels: np.ndarray, spacing) -> tuple[float, ...]:
    """Contrast to axes of one tumor, in the order of `COLUMNS`."""
    depth = ndimage.distance_transform_edt(np.pad(tumor, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    away = ndimage.distance_transform_edt(~tumor, sampling=spacing)
    other = ndimage.distance_transform_edt(~((labels == 2) & ~tumor), sampling=spacing)
    # leave out the liver's surface, which is mixed with fat and other organs
    liver = (ndimage.distance_transform_edt(labels > 0, sampling=spacing) > 3.0) & (labels == 1) & (other > 3.0)
    core, ring = tumor & (depth > 2.0), liver & (away > 3.0) & (away <= 12.0)
    if np.count_nonzero(core) < 30:
        core = tumor & (depth > min(1.0, 0.7 * depth.max()))
    if np.count_nonzero(core) < 8 or np.count_nonzero(ring) < 200:
        return (np.nan,) * 6 + axes(tumor, spacing)
    smooth = ndimage.gaussian_filter(hu, [1.5 / s for s in spacing])
    blotches = robust_sd(smooth[core]) ** 2 - robust_sd(smooth[ring]) ** 2
    near = liver & (away > 1.0) & (away <= 4.0)
    rim = np.median(hu[near]) - np.median(hu[ring]) if near.any() else np.nan
    return (
        np.median(hu[core]) - np.median(hu[ring]),
        robust_sd(hu[core]),
        robust_sd(hu[ring]),
        np.sign(blotches) * np.sqrt(abs(blotches)),
        edge_width(hu, tumor, tumor | liver, depth, away, spacing),
        rim,
        *axes(tumor, spacing),
    )


def robust_sd(values: np.ndarray) -> float:
    """Standard deviation by the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def edge_width(hu, tumor, known, depth, away, spacing) -> float:
    """Sigma (mm) of the transition from liver to tumor, median over sectors with a clear one; NaN if there is none."""
    signed = np.where(tumor, depth - 0.5 * min(spacing), 0.5 * min(spacing) - away)
    _, j, i = (axis - axis[tumor].mean() for axis in np.indices(tumor.shape))
    sector = ((np.arctan2(j * spacing[1], i * spacing[2]) + np.pi) / (np.pi / 4)).astype(int) % 8
    found = []
    for n in range(8):
        here = known & (np.abs(signed) < 8.0) & (sector == n)
        if np.count_nonzero(here) < 60 or not (here & tumor).any():
            continue
        x, y, best = signed[here], hu[here], (np.inf, 0.0, 0.0)
        for shift in np.arange(-3, 3.1, 0.5):
            for sigma in (0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0):
                step = special.ndtr((x - shift) / sigma)
                design = np.column_stack([np.ones_like(step), step])
                coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
                error = float(np.abs(y - design @ coefficients).mean())
                best = min(best, (error, sigma, coefficients[1]))
        if abs(best[2]) > 15.0:
            found.append(best[1])
    return float(np.median(found)) if found else np.nan


def axes(tumor: np.ndarray, spacing) -> tuple[float, float]:
    """Longest and shortest semi-axis relative to the middle one."""
    points = np.argwhere(tumor) * np.array(spacing)
    if len(points) < 10:
        return np.nan, np.nan
    # a voxel is not a point: its extent adds to the moments
    moments = np.cov(points.T) + np.diag(np.square(spacing) / 12)
    short, middle, long = np.sqrt(np.linalg.eigvalsh(moments))
    return long / middle, short / middle


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
