"""`measure_lesions`: the measurements of a radiologist's report for each lesion of a segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.lesion_report.diameters import (
    AXIAL_RULE,
    DIAMETER_RULE,
    axial_axis,
    axial_diameters,
    axial_tilt,
    longest_diameter,
)
from SAMLiverTumorLib.evaluation.lesion_report.surface_gaps import (
    LIVER_RULE,
    SURFACE_RULE,
    liver_border,
    nearest_lesions,
    surface_corners,
)
from SAMLiverTumorLib.evaluation.lesion_report.table import (
    INTENSITY_RULE,
    MEASURABLE_RULE,
    Intensity,
    LesionReport,
    LesionRow,
    LiverRelation,
)
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import connected_components
from SAMLiverTumorLib.evaluation.metrics.nearest_points import Points, least_distance
from SAMLiverTumorLib.image.lesion_components import CONNECTIVITY
from SAMLiverTumorLib.image.mask_geometry import Box
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.volume import Volume, apply_affine

LESION_RULE = (
    f"Lesions are the connected components of the segment ({CONNECTIVITY}), lesion 1 being the largest by volume."
)

# Least tilt in degrees that is reported.
_LEAST_TILT = 1.0


def measure_lesions(
    mask: np.ndarray,
    volume: Volume,
    liver: np.ndarray | None = None,
    min_ml: float = 0.0,
    provenance: Sequence[dict] = (),
    notes: Sequence[str] = (),
    progress: Callable[[int, int | None], None] | None = None,
) -> LesionReport:
    """Measure every lesion of a segment.

    Time and memory depend on the lesions' own boxes, but for one labeling of the box around all of them and, with a
    liver, of the liver's box.

    :param mask: bool array (k, j, i) on the volume's grid; an empty one gives a report without lesions.
    :param volume: the CT.
    :param liver: bool array of the same shape, with or without the lesions in it.
    :param min_ml: smaller components do not count as lesions.
    :param provenance: of the segment, oldest first.
    :param notes: further notes for the report.
    :param progress: called with (done, total) after each lesion; an exception it raises ends the work.
    :raises InputError: arrays of another shape, a negative limit, or an empty liver.

    >>> mask = np.zeros((20, 64, 64), bool)
    >>> mask[8:12, 20:30, 20:40] = True
    >>> volume = Volume(np.full(mask.shape, 60, np.int16), np.diag([0.5, 0.5, 2.0, 1.0]), "CT")
    >>> row = measure_lesions(mask, volume).rows[0]
    >>> row.volume_ml, row.centroid_ras, row.slices
    (0.4, (14.75, 12.25, 19.0), (8, 11))
    """
    mask = np.asarray(mask).astype(bool, copy=False)
    for what, array in (("segment", mask), ("liver", liver)):
        if array is not None and array.shape != volume.array.shape:
            raise InputError(
                f"The {what} has {array.shape} voxels (k, j, i) and '{volume.name}' {volume.array.shape}; bring both "
                "onto the same grid."
            )
    if not min_ml >= 0:
        raise InputError(f"The smallest lesion volume is {min_ml:g} ml; give 0 or more.")
    voxel_ml, affine, axis = volume.voxel_volume_ml, volume.ijk_to_ras, axial_axis(volume.ijk_to_ras)
    numbers, sizes, outer = connected_components(mask)
    listed = int(np.count_nonzero(sizes * voxel_ml >= min_ml))
    if progress:
        progress(0, listed)
    inside, liver_ml, border = _liver(liver, numbers, outer, len(sizes), volume)
    rows, surfaces = [], []
    for number, box in enumerate(ndimage.find_objects(numbers, max_label=listed) if listed else [], start=1):
        lesion = numbers[box] == number
        whole = tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, outer, strict=True))
        origin = tuple(s.start for s in whole[::-1])
        corners = surface_corners(lesion, origin, affine)
        surfaces.append(corners)
        relation, ml = None, float(sizes[number - 1] * voxel_ml)
        if inside[number]:
            relation = LiverRelation(100.0 * ml / liver_ml, None if border is None else least_distance(corners, border))
        extent = whole[2 - axis]
        rows.append(
            LesionRow(
                number=number,
                voxels=int(sizes[number - 1]),
                volume_ml=ml,
                centroid_ras=_centroid(lesion, origin, affine),
                slices=(extent.start, extent.stop - 1),
                axial=axial_diameters(lesion, affine, origin),
                longest_3d=longest_diameter(lesion, affine, origin),
                intensity=_intensity(volume.array[whole][lesion]),
                cut_by_scan=any(s.start == 0 or s.stop == n for s, n in zip(whole, mask.shape, strict=True)),
                liver=relation,
                nearest=None,
            )
        )
        if progress:
            progress(number, listed)
    return LesionReport(
        rows=_with_nearest(rows, surfaces),
        total_ml=float(sizes.sum() * voxel_ml),
        min_ml=float(min_ml),
        left_out=(len(sizes) - listed, float(sizes[listed:].sum() * voxel_ml)),
        liver_ml=liver_ml,
        slice_mm=_slice_distance(affine, axis),
        spacing=volume.spacing,
        unit="HU" if volume.looks_like_hounsfield else "grey value",
        volume_sha256=volume.voxel_hash,
        provenance=tuple(provenance),
        notes=(*_notes(rows, volume, liver is not None, min_ml, len(sizes) - listed), *notes),
    )


def _liver(
    liver: np.ndarray | None, numbers: np.ndarray, outer: Box, count: int, volume: Volume
) -> tuple[np.ndarray, float | None, Points | None]:
    """Whether each component (by number) belongs to the liver, the liver's volume in ml with them, and its border."""
    if liver is None:
        return np.zeros(count + 1, bool), None, None
    region = np.array(liver, bool)
    if not region.any():
        raise InputError(f"The liver has no voxel on '{volume.name}'; choose another one, or none.")
    # one voxel of margin, because a lesion that was cut out of the liver only adjoins it
    near = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in outer)
    here = tuple(slice(s.start - n.start, s.stop - n.start) for s, n in zip(outer, near, strict=True))
    inside = np.zeros(count + 1, bool)
    if count:
        inside[np.unique(numbers[ndimage.binary_dilation(region[near])[here]])] = True
        inside[0] = False
        region[outer] |= inside[numbers]
    return inside, float(np.count_nonzero(region) * volume.voxel_volume_ml), liver_border(region, volume.ijk_to_ras)


def _centroid(lesion: np.ndarray, origin: tuple[int, int, int], affine: np.ndarray) -> tuple[float, float, float]:
    ijk = np.argwhere(lesion).mean(axis=0)[::-1] + origin
    return tuple(float(x) for x in apply_affine(affine, ijk)[0])


def _intensity(values: np.ndarray) -> Intensity:
    values = values.astype(np.float64)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return Intensity(float(values.mean()), sd, float(values.min()), float(np.median(values)), float(values.max()))


def _with_nearest(rows: list[LesionRow], surfaces: list[Points]) -> tuple[LesionRow, ...]:
    nearest = nearest_lesions(surfaces)
    return tuple(
        row if found is None else replace(row, nearest=(rows[found[0]].number, found[1]))
        for row, found in zip(rows, nearest, strict=True)
    )


def _slice_distance(affine: np.ndarray, axis: int) -> float:
    """Distance in mm between neighboring axial slices, perpendicular to them; less than the spacing if sheared."""
    across = np.cross(*(affine[:3, other] for other in range(3) if other != axis))
    return float(abs(affine[:3, axis] @ across) / np.linalg.norm(across))


def _notes(rows: list[LesionRow], volume: Volume, with_liver: bool, min_ml: float, left_out: int) -> list[str]:
    notes = [LESION_RULE, DIAMETER_RULE, AXIAL_RULE, MEASURABLE_RULE, INTENSITY_RULE, SURFACE_RULE]
    if with_liver:
        notes.append(LIVER_RULE)
    if min_ml > 0:
        notes.append(
            f"Components below {min_ml:g} ml do not count as lesions: {left_out} left out; the total includes them."
        )
    # without the volume's name, which may identify the patient
    if lost := doubtful_spacing(volume.dimensions, volume.ijk_to_ras):
        notes.append(lost)
    tilt = axial_tilt(volume.ijk_to_ras)
    if tilt > _LEAST_TILT:
        notes.append(f"The scan is oblique: its axial slices are tilted by {tilt:.1f} degrees.")
    if not volume.looks_like_hounsfield:
        notes.append("The image is not in Hounsfield units; intensities are its grey values.")
    cut = [row.number for row in rows if row.cut_by_scan]
    if cut:
        notes.append(f"Lesions at the border of the scan (*) may be larger than measured: {_listed(cut)}.")
    outside = [row.number for row in rows if row.liver is None]
    if with_liver and outside:
        notes.append(f"Lesions outside the liver given, without share and distance: {_listed(outside)}.")
    return notes


def _listed(numbers: list[int], most: int = 20) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more
