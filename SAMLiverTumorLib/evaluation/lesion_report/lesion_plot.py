"""The axial slice of a lesion with its outline and both diameters, drawn into matplotlib axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.evaluation.lesion_report.table import LesionRow
from SAMLiverTumorLib.evaluation.png_figures import new_figure, png_of
from SAMLiverTumorLib.image.sampling import sample_plane
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGE_RULE = (
    "Images: the axial slice of the longest diameter, seen from the feet (R is the patient's right); the lesion in "
    "yellow, other lesions dotted, longest diameter orange, perpendicular one blue."
)

# Okabe and Ito's colors, which color-blind people can distinguish, also on grey.
_OUTLINE, _LONGEST, _PERPENDICULAR = "#f0e442", "#ff7f0e", "#56b4e9"

# Width 250, level 60 HU, as in the scene: contrast-enhanced liver is grey.
_WINDOW = Window(-65.0, 185.0)

_MARGIN_MM = 20.0
_LEAST_MM = 70.0
_BAR_MM = 20.0


def draw_lesion(axes: Axes, row: LesionRow, volume: Volume, mask: np.ndarray) -> None:
    """Draw a lesion's slice in millimeters, cropped to the lesion and its surroundings.

    :param axes: empty axes of matplotlib.
    :param volume: the CT on which the lesion was measured.
    :param mask: the whole segment, bool (k, j, i) on the volume's grid.
    """
    plane = slice_plane(volume, "axial", row.axial.index)
    width, height = plane.spacing[:2]
    lines = [plane.from_ras(d.ends_ras)[:, :2] * (width, height) for d in (row.axial.longest, row.axial.perpendicular)]
    rows, columns = plane.shape
    points = np.concatenate(lines)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = max(_LEAST_MM, np.ptp(points, axis=0).max() + 2 * _MARGIN_MM) / 2
    low = np.maximum(np.floor((middle - half) / (width, height)), 0).astype(int)
    high = np.minimum(np.ceil((middle + half) / (width, height)) + 1, (columns, rows)).astype(int)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    pixels = np.asarray(sample_plane(volume, plane), np.float32)[part]
    labels = sample_plane(Volume(mask.view(np.uint8), volume.ijk_to_ras, "mask"), plane)[part] > 0
    window = _WINDOW if volume.looks_like_hounsfield else _percentile_window(pixels)
    extent = ((low[0] - 0.5) * width, (high[0] - 0.5) * width, (high[1] - 0.5) * height, (low[1] - 0.5) * height)
    axes.imshow(pixels, cmap="gray", vmin=window.low, vmax=window.high, extent=extent, interpolation="bilinear")
    own = _measured_part(labels, lines, (width, height), low)
    _outline(axes, labels & ~own, low, (width, height), linestyles="dotted", linewidths=0.7)
    _outline(axes, own, low, (width, height), linewidths=1.1)
    for line, color in zip(lines, (_LONGEST, _PERPENDICULAR), strict=True):
        axes.plot(line[:, 0], line[:, 1], color=color, linewidth=1.3, marker="o", markersize=2.2)
    _annotate(axes, extent)


def lesion_png(row: LesionRow, volume: Volume, mask: np.ndarray, inches: float = 3.2) -> bytes:
    """The drawing of `draw_lesion` as a square PNG file."""
    figure = new_figure(inches, inches, layout=None)
    draw_lesion(figure.add_axes((0.0, 0.0, 1.0, 1.0)), row, volume, mask)
    return png_of(figure, dpi=120, background="black")


def _percentile_window(pixels: np.ndarray) -> Window:
    low, high = np.percentile(pixels, (1.0, 99.0))
    return Window(float(low), float(max(high, low + 1.0)))


def _measured_part(
    labels: np.ndarray, lines: list[np.ndarray], spacing: tuple[float, float], low: np.ndarray
) -> np.ndarray:
    """The connected component of the slice's mask that has the longest diameter."""
    from scipy import ndimage

    islands, _ = ndimage.label(labels, np.ones((3, 3)))
    # a diameter ends on a face of one of the lesion's voxels: the voxel's center is at most half a voxel away
    u, v = lines[0][0] / spacing - low
    for step_u, step_v in ((-0.25, 0.0), (0.25, 0.0), (0.0, -0.25), (0.0, 0.25)):
        at = round(v + step_v), round(u + step_u)
        if 0 <= at[0] < labels.shape[0] and 0 <= at[1] < labels.shape[1] and islands[at]:
            return islands == islands[at]
    return labels


def _outline(axes: Axes, mask: np.ndarray, low: np.ndarray, spacing: tuple[float, float], **style) -> None:
    if mask.any():
        padded = np.pad(mask, 1).astype(np.float32)
        u = (np.arange(padded.shape[1]) - 1 + low[0]) * spacing[0]
        v = (np.arange(padded.shape[0]) - 1 + low[1]) * spacing[1]
        axes.contour(u, v, padded, levels=[0.5], colors=[_OUTLINE], **style)


def _annotate(axes: Axes, extent: tuple[float, float, float, float]) -> None:
    """Draw the patient's sides and a scale bar, and hide the axes."""
    from matplotlib.patheffects import withStroke

    left, right, bottom, top = extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_axis_off()
    # black outlines, because the text may lie on white bone
    effects = [withStroke(linewidth=1.5, foreground="black")]
    style = {"color": "white", "fontsize": 8, "transform": axes.transAxes, "path_effects": effects}
    axes.text(0.02, 0.5, "R", ha="left", va="center", **style)
    axes.text(0.98, 0.5, "L", ha="right", va="center", **style)
    start, level = left + 0.05 * (right - left), bottom - 0.05 * (bottom - top)
    axes.plot([start, start + _BAR_MM], [level, level], color="white", linewidth=1.5, path_effects=effects)
    bar = {"color": "white", "fontsize": 7, "va": "bottom", "path_effects": effects}
    axes.text(start, level - 0.015 * (bottom - top), f"{_BAR_MM:g} mm", **bar)
