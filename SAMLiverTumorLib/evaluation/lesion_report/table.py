"""`LesionReport`: measurements of each lesion of a segment, for CSV, JSON, a page and a table node."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

from SAMLiverTumorLib.evaluation.lesion_report.diameters import AxialDiameters, Diameter

# RECIST 1.1: at least 10 mm on slices of at most 5 mm, otherwise twice the slice thickness.
_MEASURABLE_MM = 10.0
_THIN_MM = 5.0

# RECIST 1.1: at most two target lesions in an organ.
_TARGETS = 2

NOT_A_DEVICE = "For research; not a medical device. Not to be used for diagnosis or treatment."

MEASURABLE_RULE = (
    "Measurable (RECIST 1.1): longest axial diameter of at least 10 mm, or twice the slice distance if that is more "
    "than 5 mm. The sum of diameters is that of the two longest measurable ones, because one organ has at most two "
    "target lesions; the reader decides which lesions are targets."
)

INTENSITY_RULE = (
    "Intensities are those of the CT's voxels in the lesion; SD is the sample's (n - 1), undefined (-) for one voxel."
)


@dataclass(frozen=True)
class Intensity:
    """Voxel values of a lesion, in the report's unit.

    :param sd: None for a single voxel.
    """

    mean: float
    sd: float | None
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class LiverRelation:
    """Position of a lesion in the liver.

    :param share_percent: of the liver's volume, lesions included.
    :param distance_mm: to the liver's border, 0 if it touches; None if the scan shows no border.
    """

    share_percent: float
    distance_mm: float | None

    @property
    def touches_border(self) -> bool:
        """Whether the lesion touches the border of the liver."""
        return self.distance_mm == 0.0


@dataclass(frozen=True, eq=False)
class LesionRow:
    """One lesion.

    :param number: 1 for the largest by volume.
    :param volume_ml: number of voxels times the volume of one.
    :param centroid_ras: mean of its voxel centers, world RAS in mm.
    :param slices: its first and last axial slice, voxel indices.
    :param cut_by_scan: whether it reaches the border of the scan and may continue beyond.
    :param liver: None without a liver, or for a lesion outside it.
    :param nearest: number of the nearest other lesion and its distance in mm; None for a single lesion.
    """

    number: int
    voxels: int
    volume_ml: float
    centroid_ras: tuple[float, float, float]
    slices: tuple[int, int]
    axial: AxialDiameters
    longest_3d: Diameter
    intensity: Intensity
    cut_by_scan: bool
    liver: LiverRelation | None
    nearest: tuple[int, float] | None


@dataclass(frozen=True, eq=False)
class LesionReport:
    """The lesions of one segment, the largest first.

    :param total_ml: the segment's volume, small components included.
    :param min_ml: smaller components do not count as lesions.
    :param left_out: number of those components, and their volume in ml.
    :param liver_ml: volume of the liver, its lesions included; None without one.
    :param slice_mm: distance between axial slices.
    :param spacing: millimeters between voxels along (i, j, k).
    :param unit: of intensities: "HU", or "grey value" if they are not in HU.
    :param volume_sha256: of the CT's voxels and affine (`Volume.voxel_hash`), to identify it without a name.
    :param provenance: of the segment, oldest first (see `mrml.segments.segments.provenance`). Only its models are
        written, because a file may have any text in it.
    :param notes: how the figures were computed, and their limits.
    """

    rows: tuple[LesionRow, ...]
    total_ml: float
    min_ml: float
    left_out: tuple[int, float]
    liver_ml: float | None
    slice_mm: float
    spacing: tuple[float, float, float]
    unit: str
    volume_sha256: str
    provenance: tuple[dict, ...]
    notes: tuple[str, ...]

    @property
    def measurable_mm(self) -> float:
        """The least longest axial diameter, in mm, of a lesion that RECIST 1.1 calls measurable."""
        # NIfTI stores 5 mm in single precision, as slightly more or less
        slice_mm = round(self.slice_mm, 3)
        return _MEASURABLE_MM if slice_mm <= _THIN_MM else 2 * slice_mm

    def is_measurable(self, row: LesionRow) -> bool:
        """Whether RECIST 1.1 calls the lesion measurable."""
        return round(row.axial.longest.mm, 3) >= self.measurable_mm

    @property
    def sum_of_diameters_mm(self) -> float:
        """Sum of the two longest axial diameters of measurable lesions."""
        lengths = sorted((row.axial.longest.mm for row in self.rows if self.is_measurable(row)), reverse=True)
        return float(sum(lengths[:_TARGETS]))

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """(id, SHA-256) of each model in the provenance, in its order; () if none is recorded."""
        models = [model for entry in self.provenance for model in _models_of(entry)]
        return tuple(dict.fromkeys((str(m.get("id", "?")), str(m.get("sha256", "?"))) for m in models))

    def figures(self, row: LesionRow) -> dict[str, Any]:
        """A lesion's figures by CSV column, unrounded; None if undefined."""
        liver, nearest, intensity = row.liver, row.nearest or (None, None), row.intensity
        r, a, s = row.centroid_ras
        return {
            "lesion": row.number,
            "volume_ml": row.volume_ml,
            "longest_axial_mm": row.axial.longest.mm,
            "perpendicular_mm": row.axial.perpendicular.mm,
            "product_mm2": row.axial.product_mm2,
            "diameter_slice": row.axial.index,
            "measurable": self.is_measurable(row),
            "longest_3d_mm": row.longest_3d.mm,
            "intensity_unit": self.unit,
            "intensity_mean": intensity.mean,
            "intensity_sd": intensity.sd,
            "intensity_min": intensity.minimum,
            "intensity_median": intensity.median,
            "intensity_max": intensity.maximum,
            "touches_liver_border": None if liver is None or liver.distance_mm is None else liver.touches_border,
            "liver_border_distance_mm": None if liver is None else liver.distance_mm,
            "liver_share_percent": None if liver is None else liver.share_percent,
            "nearest_lesion": nearest[0],
            "nearest_distance_mm": nearest[1],
            "cut_by_scan": row.cut_by_scan,
            "first_slice": row.slices[0],
            "last_slice": row.slices[1],
            "slices": row.slices[1] - row.slices[0] + 1,
            "centroid_r_mm": r,
            "centroid_a_mm": a,
            "centroid_s_mm": s,
            "voxels": row.voxels,
        }

    def as_dict(self) -> dict[str, Any]:
        """The report, JSON-ready; floats rounded to 6 decimals, coordinates in mm of world RAS."""
        return {
            "notice": NOT_A_DEVICE,
            "coordinates": "RAS, mm; slices are voxel indices from 0",
            "lesions": [
                {
                    **{key: _rounded(value) for key, value in self.figures(row).items()},
                    **{name: _rounded(line.ends_ras.tolist()) for name, line in _lines(row)},
                }
                for row in self.rows
            ],
            "total": {
                "lesions": len(self.rows),
                "volume_ml": _rounded(self.total_ml),
                "sum_of_diameters_mm": _rounded(self.sum_of_diameters_mm),
                "measurable_lesions": sum(map(self.is_measurable, self.rows)),
                "liver_ml": _rounded(self.liver_ml),
                "liver_share_percent": _rounded(self.liver_share_percent),
                "min_ml": _rounded(self.min_ml),
                "left_out": self.left_out[0],
                "left_out_ml": _rounded(self.left_out[1]),
            },
            "spacing_ijk_mm": _rounded(list(self.spacing)),
            "ct_voxels_sha256": self.volume_sha256,
            "models": [{"id": name, "sha256": sha256} for name, sha256 in self.models],
            "notes": list(self.notes),
        }

    @property
    def liver_share_percent(self) -> float | None:
        """The segment's share of the liver, in percent."""
        return 100.0 * self.total_ml / self.liver_ml if self.liver_ml else None

    def as_csv(self) -> str:
        """One line per lesion; undefined fields are empty, floats rounded to 6 decimals."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for row in self.rows:
            cells = [_rounded(value) for value in self.figures(row).values()]
            writer.writerow(["yes" if x is True else "no" if x is False else x for x in cells])
        return out.getvalue()


CSV_COLUMNS = (
    *("lesion", "volume_ml", "longest_axial_mm", "perpendicular_mm", "product_mm2", "diameter_slice", "measurable"),
    *("longest_3d_mm", "intensity_unit", "intensity_mean", "intensity_sd", "intensity_min", "intensity_median"),
    *("intensity_max", "touches_liver_border", "liver_border_distance_mm", "liver_share_percent", "nearest_lesion"),
    *("nearest_distance_mm", "cut_by_scan", "first_slice", "last_slice", "slices"),
    *("centroid_r_mm", "centroid_a_mm", "centroid_s_mm", "voxels"),
)
"""The keys of `LesionReport.figures`, in its order."""


def _lines(row: LesionRow) -> tuple[tuple[str, Diameter], ...]:
    return (
        ("longest_axial_ends_ras", row.axial.longest),
        ("perpendicular_ends_ras", row.axial.perpendicular),
        ("longest_3d_ends_ras", row.longest_3d),
    )


def _models_of(entry: Any) -> list[dict]:
    """The models of a provenance entry, which may have been edited in a file."""
    models = entry.get("models") if isinstance(entry, dict) else None
    return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(x) for x in value]
    # + 0.0 turns -0.0 into 0.0
    return round(float(value), 6) + 0.0 if isinstance(value, float) else value
