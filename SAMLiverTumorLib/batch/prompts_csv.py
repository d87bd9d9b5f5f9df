"""Prompts of many scans in one table.

    case,kind,r,a,s,r2,a2,s2,segment
    liver_7,box,12.5,-80,40,38,-55,61,
    liver_7,exclude,20,-60,50,,,,
    liver_9,include,-4,-71.2,118,,,,left lobe

One prompt a row: `kind` is include or exclude for a point, box for a box between two opposite corners; all in mm, RAS,
as Slicer shows them, with decimal point or comma. Rows of one case and one `segment` (a column that may be left out)
are of one tumor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from SAMLiverTumorLib.batch.jobs import Point, TumorPrompts
from SAMLiverTumorLib.batch.spreadsheet_text import Numbers, column_name, read_table
from SAMLiverTumorLib.errors import InputError

KINDS = ("include", "exclude", "box")
_POINT, _CORNER = ("r", "a", "s"), ("r2", "a2", "s2")
_NEEDED = ("case", "kind", *_POINT)
_COLUMNS = (*_NEEDED, *_CORNER, "segment")


@dataclass
class _Tumor:
    """A tumor while its rows are read."""

    include: list[Point] = field(default_factory=list)
    exclude: list[Point] = field(default_factory=list)
    box: tuple[Point, Point] | None = None
    row: int = 0


@dataclass(frozen=True)
class CasePrompts:
    """What a table says of one case.

    :param row: the first of its rows, counted as spreadsheets do.
    """

    tumors: tuple[TumorPrompts, ...]
    row: int


class PromptTable(dict[str, CasePrompts]):
    """Prompts by case, as the table calls it, in the table's order; `notes` say what reading it took."""

    notes: tuple[str, ...] = ()


def read_prompts_csv(path: Path, segment_name: str = "Liver tumor") -> PromptTable:
    """Prompts by case.

    :param path: a table as spreadsheet programs save it, its columns in any order; see `spreadsheet_text`.
    :param segment_name: of tumors that have no name.
    :raises InputError: naming the row: an unknown or missing column, kind or number; two boxes of one tumor; a tumor
        that only exclude points speak of; no row at all.
    """
    path = Path(path)
    table = read_table(path, _NEEDED)
    columns = _columns(path, *table.header)
    rows = [(f"'{path}', row {number}", _values(columns, cells, path, number)) for number, cells in table.rows]
    numbers = Numbers(values[name] for _, values in rows for name in (*_POINT, *_CORNER))
    cases: dict[str, dict[str, _Tumor]] = {}
    for (number, _), (where, values) in zip(table.rows, rows, strict=True):
        if not values["case"]:
            raise InputError(f"{where}: no case is named.")
        tumors = cases.setdefault(values["case"], {})
        tumor = tumors.setdefault(values["segment"] or segment_name, _Tumor(row=number))
        _add(tumor, values, numbers, where)
    if not cases:
        raise InputError(f"'{path}' holds no prompt; write one a row: {','.join(_COLUMNS)}.")
    prompts = PromptTable((name, _frozen(tumors, path)) for name, tumors in cases.items())
    prompts.notes = table.notes
    return prompts


def _columns(path: Path, row: int, cells: list[str]) -> list[str]:
    """Names of the columns, empty where cells beside the table are."""
    columns = [column_name(cell) for cell in cells]
    named = [name for name in columns if name]
    unknown = [name for name in named if name not in _COLUMNS]
    missing = [name for name in _NEEDED if name not in columns]
    if unknown or missing or len(set(named)) != len(named):
        what = f"no column '{missing[0]}'" if missing else f"a column '{(unknown or named)[0][:40]}' it should not have"
        raise InputError(f"'{path}', row {row}: there is {what}; the columns are {','.join(_COLUMNS)}.")
    return columns


def _values(columns: list[str], cells: list[str], path: Path, number: int) -> dict[str, str]:
    """Column -> text of a row's cell."""
    if any(cells[len(columns) :]):
        raise InputError(
            f"'{path}', row {number}: there are {len(cells)} values for {len(columns)} columns; separate them anew. "
            "Numbers with a decimal comma need semicolons between the columns, or quotation marks."
        )
    values = dict.fromkeys(_COLUMNS, "")
    for place, (name, cell) in enumerate(zip(columns, cells, strict=False), 1):
        if name:
            values[name] = cell
        elif cell:
            raise InputError(f"'{path}', row {number}: '{cell[:40]}' is in column {place}, which has no name.")
    return values


def _add(tumor: _Tumor, values: dict[str, str], numbers: Numbers, where: str) -> None:
    kind = values["kind"].lower()
    if kind not in KINDS:
        raise InputError(f"{where}: '{values['kind'][:40]}' is no kind of prompt; it is one of {', '.join(KINDS)}.")
    point = _point(values, _POINT, numbers, where)
    if kind == "box":
        if tumor.box is not None:
            raise InputError(
                f"{where}: '{values['case']}' has a box already; a tumor takes one, and others need a name in the "
                "column segment."
            )
        corner = _point(values, _CORNER, numbers, where)
        if sum(a != b for a, b in zip(point, corner, strict=True)) < 2:
            raise InputError(f"{where}: the box's corners are the same along two axes or more; name opposite corners.")
        tumor.box = (point, corner)
        return
    if given := [name for name in _CORNER if values[name]]:
        raise InputError(f"{where}: a point has no '{given[0]}'; write r, a and s alone, or make the row a box.")
    (tumor.include if kind == "include" else tumor.exclude).append(point)


def _point(values: dict[str, str], names: Sequence[str], numbers: Numbers, where: str) -> Point:
    found = []
    for name in names:
        try:
            found.append(numbers.read(values[name]))
        except ValueError as error:
            raise InputError(f"{where}: {name} is '{values[name][:40]}', {error}.") from error
        if not math.isfinite(found[-1]):
            raise InputError(f"{where}: {name} is '{values[name][:40]}', which is no number of millimeters.")
    return tuple(found)


def _frozen(tumors: dict[str, _Tumor], path: Path) -> CasePrompts:
    for name, tumor in tumors.items():
        if tumor.box is None and not tumor.include:
            raise InputError(
                f"'{path}', row {tumor.row}: there are only exclude points for '{name}'; add an include point or a box."
            )
    frozen = tuple(TumorPrompts(name, tuple(t.include), tuple(t.exclude), t.box) for name, t in tumors.items())
    return CasePrompts(frozen, min(tumor.row for tumor in tumors.values()))
