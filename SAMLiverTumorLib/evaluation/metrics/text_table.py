"""Tables as aligned plain text."""

from __future__ import annotations


def cell(value: float | None, decimals: int) -> str:
    """A figure as text; "-" if it is undefined."""
    return "-" if value is None else f"{value:.{decimals}f}"


def aligned(header: tuple[str, ...], groups: list[list[tuple[str, ...]]]) -> list[str]:
    """Lines of a table, with names left-aligned, figures right-aligned, and a rule before each group.

    The first two columns are names.
    """
    everything = [header, *(row for group in groups for row in group)]
    widths = [max(len(row[column]) for row in everything) for column in range(len(header))]

    def line(row: tuple[str, ...]) -> str:
        cells = [x.ljust(w) if n < 2 else x.rjust(w) for n, (x, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [line(header), *(text for group in groups if group for text in (rule, *map(line, group)))]
