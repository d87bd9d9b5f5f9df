"""A lesion report as a page: one self-contained HTML file, and the same page as a PDF."""

from __future__ import annotations

import base64
import html
import textwrap
from datetime import date
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.evaluation.lesion_report.lesion_plot import IMAGE_RULE, draw_lesion, lesion_png
from SAMLiverTumorLib.evaluation.lesion_report.table import NOT_A_DEVICE, LesionReport, LesionRow
from SAMLiverTumorLib.evaluation.png_figures import new_figure
from SAMLiverTumorLib.volume import Volume

PICTURES = 6

TITLE = "Lesion report"

# More rows do not fit on one page; the CSV file has them all.
_MOST_ROWS = 20
_MOST_ROWS_PDF = 14

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; max-width: 66rem; margin: 1.5rem auto; padding: 0 1rem; color: #222;
  overflow-wrap: anywhere; }
h1 { margin: 0; } table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } tr { break-inside: avoid; }
th, td { border-bottom: 1px solid #ddd; padding: .15rem .5rem; text-align: right; font-size: 12.5px;
  overflow-wrap: normal; } td { white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; } .notice { color: #a00; font-weight: 600; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .6rem; }
figure { margin: 0; break-inside: avoid; } img { width: 100%; } figcaption { font-size: 12px; }
.notes, .made { font-size: 11.5px; color: #555; } @media print { body { margin: 0; max-width: none; }
  th, td { font-size: 10px; padding: .1rem .3rem; } .wide { overflow: visible; }
  .pictures { grid-template-columns: repeat(3, 1fr); } }
"""


def as_html(
    report: LesionReport, volume: Volume, mask: np.ndarray, title: str = TITLE, pictures: int = PICTURES
) -> str:
    """The HTML page, with images embedded as PNG. It names no patient and no file, unless the title does.

    :param volume: the CT that was measured.
    :param mask: the segment, bool (k, j, i) on its grid.
    :param pictures: number of lesions shown as images, the largest first.
    """
    shown = report.rows[:_MOST_ROWS]
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p class='notice'>{html.escape(NOT_A_DEVICE)}</p>"]
    parts += [f"<p>{html.escape(line)}</p>" for line in _summary(report)]
    if shown:
        header = f"<thead><tr>{_cells(_header(report), 'th')}</tr></thead>"
        rows = "\n".join(f"<tr>{_cells(_row(report, r), 'td')}</tr>" for r in shown)
        parts.append(f"<div class='wide'><table>{header}\n<tbody>{rows}</tbody></table></div>")
    parts += [f"<p>{html.escape(line)}</p>" for line in _hidden(report, _MOST_ROWS)]
    if shown and pictures > 0:
        parts.append("<div class='pictures'>")
        for row in report.rows[:pictures]:
            data = base64.b64encode(lesion_png(row, volume, mask)).decode("ascii")
            caption = html.escape(_caption(row))
            parts.append(
                f"<figure><img alt='{caption}' src='data:image/png;base64,{data}'>"
                f"<figcaption>{caption}</figcaption></figure>"
            )
        parts.append("</div>")
    notes = (IMAGE_RULE, *report.notes) if shown and pictures > 0 else report.notes
    parts.append("<ul class='notes'>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>")
    parts += [f"<p class='made'>{html.escape(line)}</p>" for line in _sources(report)]
    body = "\n".join(parts)
    return (
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def write_pdf(
    path: Path,
    report: LesionReport,
    volume: Volume,
    mask: np.ndarray,
    title: str = TITLE,
    pictures: int = PICTURES,
) -> None:
    """The same page as a PDF of one A4 sheet, with fewer rows and images of at most six lesions."""
    from matplotlib.backends.backend_pdf import PdfPages

    figure = new_figure(8.27, 11.69, layout=None)
    # a dollar sign in the user's text does not start a formula
    style = {"parse_math": False, "va": "top", "ha": "left"}
    figure.text(0.06, 0.965, "\n".join(textwrap.wrap(title, 60)[:2]), fontsize=15, weight="bold", **style)
    figure.text(0.06, 0.935, NOT_A_DEVICE, fontsize=8.5, color="#aa0000", weight="bold", **style)
    hidden = _hidden(report, _MOST_ROWS_PDF)
    figure.text(0.06, 0.917, _wrapped([*_summary(report), *hidden], 125), fontsize=8, **style)
    shown = report.rows[:_MOST_ROWS_PDF]
    bottom = 0.868
    if shown:
        height = 0.030 + 0.0165 * len(shown)
        bottom -= height
        axes = figure.add_axes((0.06, bottom, 0.88, height))
        axes.set_axis_off()
        cells = [[head.replace(" ", "\n", 1) for head in _header(report)], *(_row(report, row) for row in shown)]
        table = axes.table(cells, bbox=(0, 0, 1, 1), cellLoc="right", edges="horizontal", colWidths=_WIDTHS)
        table.auto_set_font_size(False)
        table.set_fontsize(7)
        for (line, _), cell in table.get_celld().items():
            cell.set_linewidth(0.4)
            cell.set_height(1.8 if line == 0 else 1.0)
            cell.get_text().set_parse_math(False)
    notes = (IMAGE_RULE, *report.notes) if shown and pictures > 0 else report.notes
    small = _wrapped([*_sources(report), *notes], 175)
    figure.text(0.06, 0.03, small, fontsize=5.6, color="#555555", **{**style, "va": "bottom"})
    lowest = 0.05 + 0.0081 * (1 + small.count("\n"))
    _pdf_pictures(figure, report.rows[: min(pictures, PICTURES)], volume, mask, bottom - 0.015, lowest)
    with PdfPages(path, metadata={"Title": title, "Creator": "SAM Liver Tumor"}) as pages:
        pages.savefig(figure)


# Relative widths of the PDF's columns.
_WIDTHS = (5, 8, 8, 8.5, 7, 7, 6, 7, 9, 12, 10, 15)


def _header(report: LesionReport) -> tuple[str, ...]:
    unit = "HU" if report.unit == "HU" else "grey"
    return (
        *("No.", "Volume ml", "Longest mm", "Perpend. mm", "3D mm", f"Mean {unit}", f"SD {unit}", "Liver %"),
        *("Border mm", "Nearest mm", "Slices", "Center R, A, S"),
    )


def _pdf_pictures(
    figure, rows: tuple[LesionRow, ...], volume: Volume, mask: np.ndarray, top: float, lowest: float
) -> None:
    """Draw up to two lines of three images between two heights of the page."""
    side, gap = 0.28, 0.02
    lines = max(1, -(-len(rows) // 3))
    # square images on a portrait sheet
    height = min(side * 8.27 / 11.69, (top - lowest) / lines - 0.025)
    for n, row in enumerate(rows):
        line, column = divmod(n, 3)
        y = top - (line + 1) * (height + 0.022)
        axes = figure.add_axes((0.06 + column * (side + gap), y + 0.017, side, height))
        draw_lesion(axes, row, volume, mask)
        figure.text(
            0.06 + column * (side + gap), y + 0.013, _wrapped([_caption(row)], 58), fontsize=6, va="top", ha="left"
        )


def _summary(report: LesionReport) -> list[str]:
    """Sentences about all lesions together."""
    if not report.rows:
        small = f"; {report.left_out[0]} parts below the limit of {report.min_ml:g} ml" if report.left_out[0] else ""
        return [f"No lesion{small}."]
    measurable = sum(map(report.is_measurable, report.rows))
    count = len(report.rows)
    lines = [
        f"{count} lesion{'s' if count > 1 else ''}, {report.total_ml:.2f} ml"
        + (f", {report.liver_share_percent:.1f}% of the liver's {report.liver_ml:.0f} ml" if report.liver_ml else "")
        + f". Measurable (at least {report.measurable_mm:g} mm): {measurable}."
    ]
    if measurable:
        lines[0] += f" Sum of longest diameters (two lesions at most): {report.sum_of_diameters_mm:.1f} mm."
    return lines


def _hidden(report: LesionReport, most: int) -> list[str]:
    rest = report.rows[most:]
    if not rest:
        return []
    return [f"{len(rest)} smaller lesions are not listed here: {sum(row.volume_ml for row in rest):.2f} ml together."]


def _sources(report: LesionReport) -> list[str]:
    """Models and CT of the report, and its date."""
    models = "; ".join(f"{name} (SHA-256 {sha256})" for name, sha256 in report.models)
    i, j, k = report.spacing
    return [
        f"Segmented with: {models or 'no model is recorded with the segment'}.",
        f"CT voxels: SHA-256 {report.volume_sha256}; {i:.4g} x {j:.4g} x {k:.4g} mm. Made on {date.today()}.",
    ]


def _caption(row: LesionRow) -> str:
    longest, perpendicular = row.axial.longest.mm, row.axial.perpendicular.mm
    return (
        f"Lesion {row.number}, axial slice {row.axial.index}: {longest:.1f} x {perpendicular:.1f} mm, "
        f"{row.volume_ml:.2f} ml"
    )


def _row(report: LesionReport, row: LesionRow) -> list[str]:
    figures = report.figures(row)

    def cell(key: str, decimals: int) -> str:
        value = figures[key]
        return "-" if value is None else f"{value:.{decimals}f}"

    border = "touches" if figures["touches_liver_border"] else cell("liver_border_distance_mm", 1)
    nearest = "-" if row.nearest is None else f"{row.nearest[1]:.1f} (no. {row.nearest[0]})"
    return [
        f"{row.number}{'*' if row.cut_by_scan else ''}",
        cell("volume_ml", 2),
        *(cell(key, 1) for key in ("longest_axial_mm", "perpendicular_mm", "longest_3d_mm")),
        *(cell(key, 0) for key in ("intensity_mean", "intensity_sd")),
        cell("liver_share_percent", 2),
        border,
        nearest,
        f"{row.slices[0]}-{row.slices[1]}",
        ", ".join(f"{x:.0f}" for x in row.centroid_ras),
    ]


def _cells(texts, tag: str) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)


def _wrapped(lines: list[str], width: int) -> str:
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)
