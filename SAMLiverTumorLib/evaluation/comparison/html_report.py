"""A comparison as one self-contained HTML file: tables, plots and images of trials."""

from __future__ import annotations

import base64
import html

import numpy as np

from SAMLiverTumorLib.evaluation.comparison.compare import Comparison, Overlay
from SAMLiverTumorLib.evaluation.comparison.contestants import BOX, CORRECTED, ONE_POINT, THREE_POINTS
from SAMLiverTumorLib.evaluation.comparison.tables import Table, dice_interval, scores_of, tables
from SAMLiverTumorLib.evaluation.metrics.size_strata import by_stratum
from SAMLiverTumorLib.evaluation.png_figures import COLORS, new_figure, png_of

_CLICKS = {ONE_POINT: 1, THREE_POINTS: 3, CORRECTED: 4}

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; font-size: 13px; }
.wide { overflow-x: auto; } tr, figure { break-inside: avoid; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; white-space: normal; }
td:first-child { white-space: normal; min-width: 8rem; overflow-wrap: anywhere; }
figure { margin: .6rem 0; } img { max-width: 100%; } code, li { overflow-wrap: anywhere; }
details { font-size: 13px; color: #555; } .warning { color: #a00; font-weight: 600; }
@media print { body { margin: 0; max-width: none; } .wide { overflow: visible; }
  table { font-size: 9.5px; } th, td { padding: .1rem .25rem; } td:first-child { min-width: 5rem; } }
"""

OVERLAY_RULE = (
    "Slices are spread evenly over those compared and show their largest component, whatever the result; reference in "
    "green, the model's mask in orange, Dice of that trial above."
)


def as_html(comparison: Comparison, versions: dict[str, str], command: str) -> str:
    """The whole report, with images embedded as PNG.

    :param versions: package -> version.
    :param command: that made the report, without the user's folders.
    """
    made = tables(comparison, versions)
    warnings = [
        f"<p class='warning'>{html.escape(f'{m.name} was trained or chosen on ' + ', '.join(m.contaminated))}.</p>"
        for m in comparison.models
        if m.contaminated
    ]
    parts = ["<h1>Comparison of models</h1>", f"<p><code>{html.escape(command)}</code></p>", *warnings]
    parts += [_table(made[0]), _image(_dice_plot(comparison), "Dice of every trial by model and prompt")]
    if any(way in _CLICKS for _, way in comparison.rows):
        parts.append(_image(_clicks_plot(comparison), "Mean Dice by number of clicks"))
    parts += [_table(made[1]), _image(_size_plot(comparison), "Dice of every trial by volume of its lesion")]
    parts += [_table(table) for table in made[2:]]
    parts.append("<h2>Images</h2>")
    parts.append(f"<p>{html.escape(OVERLAY_RULE)}</p>")
    parts += [_image(_overlay_plot(o, comparison), f"{o.case}, slice {o.slice}") for o in comparison.overlays]
    body = "\n".join(parts)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Comparison of models</title>"
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _table(table: Table) -> str:
    def row(cells, tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(row(cells, "td") for cells in table.rows)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f"<h2>{html.escape(table.title)}</h2>\n<div class='wide'><table><thead>{row(table.header, 'th')}</thead>\n"
        f"<tbody>{body}</tbody></table></div>\n"
        f"<details open><summary>How these figures were computed</summary><ul>{notes}</ul></details>"
    )


def _image(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f"<figure><img alt='{html.escape(text)}' src='data:image/png;base64,{data}'><figcaption>{html.escape(text)}"
        "</figcaption></figure>"
    )


def _color(comparison: Comparison, model: str) -> str:
    names = [each.name for each in comparison.models]
    return COLORS[names.index(model) % len(COLORS)]


def _dice_plot(comparison: Comparison) -> bytes:
    rows = comparison.rows
    figure = new_figure(10, 0.6 + 0.42 * len(rows))
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for n, row in enumerate(rows):
        scores, color = scores_of(comparison, row), _color(comparison, row[0])
        dices = [s.overlap.dice for s in scores]
        axes.scatter(dices, n + rng.uniform(-0.25, 0.25, len(dices)), s=7, alpha=0.35, color=color, linewidths=0)
        interval = dice_interval(scores)
        axes.plot([interval.low, interval.high], [n, n], color="black", linewidth=2)
        axes.plot(interval.mean, n, "o", color="black", markersize=5)
    axes.set_yticks(range(len(rows)), [f"{model}, {way}" for model, way in rows])
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice of a trial; mean with 95% interval in black")
    axes.grid(axis="x", alpha=0.3)
    return png_of(figure)


def _clicks_plot(comparison: Comparison) -> bytes:
    figure = new_figure(6, 3.6)
    axes = figure.subplots()
    means = {row: dice_interval(scores_of(comparison, row)).mean for row in comparison.rows}
    for model in dict.fromkeys(model for model, _ in comparison.rows):
        color = _color(comparison, model)
        points = [(clicks, means[model, way]) for way, clicks in _CLICKS.items() if (model, way) in means]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=color, label=f"{model}, clicks")
        for way, style in ((BOX, "--"), ("automatic", ":"), ("text", "-.")):
            if (model, way) in means:
                axes.axhline(means[model, way], linestyle=style, color=color, label=f"{model}, {way}")
    axes.set_xticks(sorted(_CLICKS.values()))
    axes.set_ylim(0, 1)
    axes.set_xlabel("clicks")
    axes.set_ylabel("mean Dice over all trials")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return png_of(figure)


def _size_plot(comparison: Comparison) -> bytes:
    rows = comparison.rows
    figure = new_figure(10, 4.6)
    axes = figure.subplots()
    width = 0.8 / len(rows)
    names: list[str] = []
    for n, row in enumerate(rows):
        groups = by_stratum(scores_of(comparison, row), lambda score: score.lesion_ml)
        names = list(groups)
        places = [x for x, group in enumerate(groups.values()) if group]
        dices = [[s.overlap.dice for s in group] for group in groups.values() if group]
        drawn = axes.boxplot(
            dices,
            positions=[x - 0.4 + (n + 0.5) * width for x in places],
            widths=width * 0.85,
            patch_artist=True,
            manage_ticks=False,
            flierprops={"markersize": 3},
            medianprops={"color": "black"},
        )
        for patch in drawn["boxes"]:
            patch.set(facecolor=_color(comparison, row[0]), alpha=0.35 + 0.5 * n / len(rows))
        axes.plot([], [], "s", color=_color(comparison, row[0]), alpha=0.35 + 0.5 * n / len(rows), label=", ".join(row))
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("Dice of a trial")
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    return png_of(figure)


def _overlay_plot(overlay: Overlay, comparison: Comparison) -> bytes:
    # scores are of the whole slice; the image shows a part of it
    key = overlay.case, overlay.slice, overlay.trial
    dices = {(s.model, s.way): s.overlap.dice for s in comparison.scores if s.key == key}
    rows = [row for row in comparison.rows if row in overlay.masks]
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure = new_figure(2.8 * columns, 3.0 * lines)
    for n, row in enumerate(rows):
        axes = figure.add_subplot(lines, columns, n + 1)
        axes.imshow(overlay.grey, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for mask, color in ((overlay.reference, "#00d060"), (overlay.masks[row], "#ff8c00")):
            if mask.any():
                axes.contour(mask, levels=[0.5], colors=[color], linewidths=1.3)
        axes.set_title(f"{row[0]}\n{row[1]}: {dices[row]:.2f}", fontsize=8)
        axes.set_axis_off()
    return png_of(figure)
