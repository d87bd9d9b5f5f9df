"""Labels that have the very voxels of a scan under a header that says another place, and why that probably is so.

People save masks with `np.eye(4)`, with what SimpleITK and pynrrd write when told nothing, or with the signs of x and
y turned round. Compared by place, such a file is wrong by all of it.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from SAMLiverTumorLib.volume import apply_affine

# Of a voxel: what headers differ by without meaning it.
_SAME = 0.05

WAY_OUT = (
    "If it holds the scan's very voxels, give it the scan's place: `sam-liver-tumor export FILE --source SCAN "
    "--same-voxels --to NEW.nii.gz`"
)


def lost_place(
    affine: np.ndarray, dimensions: tuple[int, int, int], scan_affine: np.ndarray, scan_dimensions: tuple[int, int, int]
) -> str:
    """Why labels of a scan's size lie elsewhere than the scan; empty where nothing speaks for a lost header.

    :param affine, scan_affine: 4x4 affines (mm, world RAS).
    :param dimensions, scan_dimensions: voxels along (i, j, k).

    >>> lost_place(np.eye(4), (9, 8, 7), np.diag([0.7, 0.7, 5.0, 1.0]), (9, 8, 7))
    'its spacing is 1 x 1 x 1 mm, which programs write where they know none; the scan has 0.7 x 0.7 x 5 mm'
    """
    if sorted(dimensions) != sorted(scan_dimensions) or covers(affine, dimensions, scan_affine, scan_dimensions):
        return ""
    steps, scan_steps = (np.linalg.norm(each[:3, :3], axis=0) for each in (affine, scan_affine))
    if (reason := _unit_spacing(steps, scan_steps)) or dimensions != scan_dimensions:
        return reason
    for signs in product((1, -1), repeat=3):
        if min(signs) < 0 and _apart(affine, np.diag([*signs, 1]) @ scan_affine, dimensions) < _SAME:
            axes = " and ".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)
            return f"the signs of {axes} are turned round, as when LPS is taken for RAS"
    shift = (np.linalg.inv(scan_affine) @ affine)[:3, 3]
    same_axes = np.abs(affine[:3, :3] - scan_affine[:3, :3]).max() < _SAME * scan_steps.min() / max(dimensions)
    if same_axes and np.abs(np.abs(shift) - 0.5 * (np.abs(shift) > 0.25)).max() < _SAME:
        return "it lies half a voxel off, as when corners of voxels are taken for their centers"
    if np.allclose(steps, scan_steps, rtol=0.01):
        for one, other, whose in ((affine, scan_affine, "its"), (scan_affine, affine, "the scan's")):
            if not one[:3, 3].any() and other[:3, 3].any():
                return f"{whose} first voxel is at 0, 0, 0, where programs put it that know no place"
    return ""


def distance_mm(affine: np.ndarray, other: np.ndarray, dimensions: tuple[int, int, int]) -> float:
    """How far apart two places put the same voxel at most."""
    corners = np.array(list(product(*((0, n - 1) for n in dimensions))))
    return float(np.linalg.norm(apply_affine(affine, corners) - apply_affine(other, corners), axis=1).max())


def covers(
    affine: np.ndarray, dimensions: tuple[int, int, int], scan_affine: np.ndarray, scan_dimensions: tuple[int, int, int]
) -> bool:
    """Whether two grids take the same space, whichever way their axes are stored."""
    ends = [
        apply_affine(each, np.array(list(product(*((-0.5, n - 0.5) for n in size)))))
        for each, size in ((affine, dimensions), (scan_affine, scan_dimensions))
    ]
    # each corner of one is a corner of the other
    apart = np.linalg.norm(ends[0][:, None] - ends[1][None], axis=-1)
    limit = _SAME * np.linalg.norm(scan_affine[:3, :3], axis=0).min()
    return bool(apart.min(axis=0).max() < limit and apart.min(axis=1).max() < limit)


def _unit_spacing(steps: np.ndarray, scan_steps: np.ndarray) -> str:
    lost, scan_lost = (bool(np.abs(each - 1).max() < 1e-4) for each in (steps, scan_steps))
    if lost == scan_lost:
        return ""
    whose, others, true = ("its", "the scan has", scan_steps) if lost else ("the scan's", "it has", steps)
    text = " x ".join(f"{step:.4g}" for step in true)
    return f"{whose} spacing is 1 x 1 x 1 mm, which programs write where they know none; {others} {text} mm"


def _apart(affine: np.ndarray, other: np.ndarray, dimensions: tuple[int, int, int]) -> float:
    """The same in voxels."""
    return distance_mm(affine, other, dimensions) / float(np.linalg.norm(other[:3, :3], axis=0).min())
