"""Prompts of many scans in one table.

    case,kind,r,a,s,r2,a2,s2,segment
    liver_7,box,12.5,-80,40,38,-55,61,
    liver_7,exclude,20,-60,50,,,,
    liver_9,include,-4,-71.2,118,,,,left lobe

One prompt a row: `kind` is include or exclude for a point, box for a box between two opposite corners; all in mm, RAS,
as Slicer shows them. Rows of one case and one `segment` (a column that may be left out) are of one tumor.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from SAMLiverTumorLib.batch.jobs import Point, TumorPrompts
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


def read_prompts_csv(path: Path, segment_name: str = "Liver tumor") -> dict[str, CasePrompts]:
    """Prompts by case, as the table calls it, in the table's order.

    :param path: text in UTF-8, its columns separated by commas, semicolons or tabs, in any order.
    :param segment_name: of tumors that have no name.
    :raises InputError: naming the row: an unknown or missing column, kind or number; two boxes of one tumor; a tumor
        that only exclude points speak of; no row at all.
    """
    path = Path(path)
    rows = _rows(path)
    columns = [name.strip().lower() for name in rows[0][1]] if rows else []
    unknown = [name for name in columns if name not in _COLUMNS]
    missing = [name for name in _NEEDED if name not in columns]
    if unknown or missing or len(set(columns)) != len(columns):
        what = f"no column '{missing[0]}'" if missing else f"a column '{(unknown or columns)[0]}' it should not have"
        raise InputError(f"'{path}', row 1: there is {what}; the columns are {','.join(_COLUMNS)}.")
    cases: dict[str, dict[str, _Tumor]] = {}
    for number, cells in rows[1:]:
        where = f"'{path}', row {number}"
        if len(cells) > len(columns):
            raise InputError(f"{where}: there are {len(cells)} values for {len(columns)} columns; separate them anew.")
        values = dict.fromkeys(_COLUMNS, "") | {c: v.strip() for c, v in zip(columns, cells, strict=False)}
        if not values["case"]:
            raise InputError(f"{where}: no case is named.")
        tumors = cases.setdefault(values["case"], {})
        tumor = tumors.setdefault(values["segment"] or segment_name, _Tumor(row=number))
        _add(tumor, values, where)
    if not cases:
        raise InputError(f"'{path}' holds no prompt; write one a row: {','.join(_COLUMNS)}.")
    return {name: _frozen(tumors, path) for name, tumors in cases.items()}


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(row number, cells) of the rows that are not empty.

    :raises InputError: no file, or no table.
    """
    try:
        # Excel begins its files with a byte order mark
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is no text in UTF-8; save it as CSV in UTF-8.") from error
    except OSError as error:
        raise InputError(f"The prompts '{path}' cannot be read ({error.strerror}); check the path.") from error
    header = (text.splitlines() or [""])[0]
    delimiter = max(",;\t", key=header.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise InputError(f"'{path}' is no table of comma-separated values ({error}); save it anew as CSV.") from error


def _add(tumor: _Tumor, values: dict[str, str], where: str) -> None:
    kind = values["kind"].lower()
    if kind not in KINDS:
        raise InputError(f"{where}: '{values['kind']}' is no kind of prompt; it is one of {', '.join(KINDS)}.")
    point = _point(values, _POINT, where)
    if kind == "box":
        if tumor.box is not None:
            raise InputError(
                f"{where}: '{values['case']}' has a box already; a tumor takes one, and others need a name in the "
                "column segment."
            )
        corner = _point(values, _CORNER, where)
        if sum(a != b for a, b in zip(point, corner, strict=True)) < 2:
            raise InputError(f"{where}: the box's corners are the same along two axes or more; name opposite corners.")
        tumor.box = (point, corner)
        return
    if given := [name for name in _CORNER if values[name]]:
        raise InputError(f"{where}: a point has no '{given[0]}'; write r, a and s alone, or make the row a box.")
    (tumor.include if kind == "include" else tumor.exclude).append(point)


def _point(values: dict[str, str], names: Sequence[str], where: str) -> Point:
    numbers = []
    for name in names:
        try:
            number = float(values[name])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{where}: {name} is '{values[name]}', which is no number of millimeters.")
        numbers.append(number)
    return tuple(numbers)


def _frozen(tumors: dict[str, _Tumor], path: Path) -> CasePrompts:
    for name, tumor in tumors.items():
        if tumor.box is None and not tumor.include:
            raise InputError(
                f"'{path}', row {tumor.row}: there are only exclude points for '{name}'; add an include point or a box."
            )
    frozen = tuple(TumorPrompts(name, tuple(t.include), tuple(t.exclude), t.box) for name, t in tumors.items())
    return CasePrompts(frozen, min(tumor.row for tumor in tumors.values()))
