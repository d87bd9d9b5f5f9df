"""Tables as spreadsheet programs of all countries save them: their encodings, separators, and ways to write numbers."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from SAMLiverTumorLib.errors import InputError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_DELIMITERS = ",;\t|"
_HEADER_WITHIN = 10
"""Rows from the top in which the header is looked for, below a title say."""

_UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u2060\u00ad"))
_MINUS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\u2014\u2015\ufe63\uff0d"), "-")
_GROUPED = re.compile(r"(?<=\d)[ '\u2019](?=\d{3}(?!\d))")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")


@dataclass(frozen=True)
class Table:
    """A table's cells.

    :param header: number of the row with the names of the columns, and its cells.
    :param rows: (row number, cells) of those below that are not empty, counted as spreadsheets do.
    :param notes: what reading took.
    """

    header: tuple[int, list[str]]
    rows: list[tuple[int, list[str]]]
    notes: tuple[str, ...]


def read_table(path: Path, needed: Collection[str]) -> Table:
    """Rows of a table, none if the file is empty.

    :param needed: names of columns, by which header and separator are known.
    :raises InputError: no file, or no table.
    """
    text, notes = _decoded(path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    said = re.match(r'\s*"?sep=(.)"?[,;\t]*\n', text, re.IGNORECASE)
    if said:  # spreadsheets do not show this line
        text = text[said.end() :]
    delimiters = said[1] if said else _DELIMITERS
    lines = text.split("\n")[: 2 * _HEADER_WITHIN]
    delimiter = max(delimiters, key=lambda each: _best(lines, each, needed))
    try:
        rows = [
            (number, [clean(cell) for cell in cells])
            for number, cells in enumerate(
                csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 1
            )
        ]
    except csv.Error as error:
        raise InputError(f"'{path}' is no table of comma-separated values ({error}); save it anew as CSV.") from error
    rows = [(number, cells) for number, cells in rows if any(cells)]
    found = [n for n, (_, cells) in enumerate(rows[:_HEADER_WITHIN]) if set(needed) <= set(map(column_name, cells))]
    first = found[0] if found else 0
    return Table(rows[first] if rows else (1, []), rows[first + 1 :], tuple(notes))


def _best(lines: list[str], delimiter: str, needed: Collection[str]) -> tuple[int, int]:
    """How many columns a separator finds in any of the lines, of those needed and of all."""
    counts = []
    for line in lines:
        cells = [column_name(cell.strip().strip('"')) for cell in line.split(delimiter)]
        counts.append((len(set(needed) & set(cells)), len(cells)))
    return max(counts, default=(0, 0))


def _decoded(path: Path) -> tuple[str, list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"The prompts '{path}' cannot be read ({error.strerror}); check the path.") from error
    if data.startswith(_WORKBOOKS):
        raise InputError(f"'{path}' is a workbook, no text; in the spreadsheet program save it as 'CSV UTF-8'.")
    coding = next((name for mark, name in _BOMS if data.startswith(mark)), None)
    if coding is None and b"\0" in data[:400]:
        coding = "utf-16-be" if data[:400:2].count(0) > data[1:400:2].count(0) else "utf-16-le"
    notes = []
    try:
        text = data.decode(coding or "utf-8")
    except UnicodeDecodeError as error:
        if coding is not None:
            raise InputError(f"'{path}' is no whole text in {coding.upper()}; save it as 'CSV UTF-8'.") from error
        text, coding = _of_a_country(data)
        notes.append(
            f"The prompts are no text in UTF-8; names in them were read as {coding}, such as "
            f"'{_sample(text)}'. If that is wrong, save the table as 'CSV UTF-8'."
        )
    if re.search(r"[\0-\x08\x0e-\x1f]", text):
        raise InputError(f"'{path}' is no text; save the table as 'CSV UTF-8'.")
    return text, notes


def _of_a_country(data: bytes) -> tuple[str, str]:
    """Text in a code page, and what it is called.

    Chinese signs are pairs of bytes from 0xA1 on; Western letters mostly stand alone between plain ones.
    """
    runs = re.findall(rb"[\x80-\xff]+", data)
    if all(len(run) % 2 == 0 and min(run) >= 0xA1 for run in runs) and max(map(len, runs)) > 2:
        try:
            return data.decode("gb18030"), "GBK"
        except UnicodeDecodeError:
            pass
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def _sample(text: str) -> str:
    return next(
        (clean(cell)[:40] for cell in re.split(r"[,;\t|\r\n]", text) if not cell.isascii()),
        "",
    )


def clean(cell: str) -> str:
    """A cell's text without what cannot be seen around and in it."""
    return cell.translate(_UNSEEN).strip().strip("\u00a0")


def column_name(cell: str) -> str:
    """What a column is called: small letters, without a unit in brackets.

    >>> column_name(" R (mm)")
    'r'
    """
    return re.sub(r"\s*[(\[].*[)\]]$", "", clean(cell).lower())


class Numbers:
    """Reads a table's numbers: with point or comma, whichever the whole table shows to be the decimal one.

    >>> Numbers(["-9,5", "1,234"]).read("1,234"), Numbers(["-9.5", "1,234"]).read("1,234")
    (1.234, 1234.0)
    """

    def __init__(self, cells: Iterable[str]):
        plain = [_plain(cell) for cell in cells]
        self._comma = any(map(_is_decimal_comma, plain))
        self._point = any(map(_is_decimal_point, plain))

    def read(self, cell: str) -> float:
        """The number.

        :raises ValueError: it is none, or could be two; the text says which.
        """
        text = _plain(cell)
        comma, point = text.count(","), text.count(".")
        if comma and point:
            # the last one is the decimal one
            thousands = "," if text.rfind(".") > text.rfind(",") else "."
            text = _without(text, thousands)
        elif comma > 1 or point > 1:
            text = _without(text, "," if comma else ".")
        elif comma and _is_decimal_comma(text):
            text = text.replace(",", ".")
        elif comma:
            text = self._either(text, ",", self._comma, self._point)
        elif point and self._comma and not self._point and _could_group(text, "."):
            raise ValueError(f"which may be {text} or {text.replace('.', '')}: write it with a decimal comma")
        text = text.replace(",", ".")
        if not _NUMBER.fullmatch(text):
            raise ValueError("which is no number of millimeters")
        return float(text)

    @staticmethod
    def _either(text: str, sign: str, decimal: bool, thousands: bool) -> str:
        if decimal == thousands:
            one, other = text.replace(sign, "."), text.replace(sign, "")
            raise ValueError(f"which may be {one} or {other}: write it as {one} or {other}")
        return text.replace(sign, "." if decimal else "")


def _plain(cell: str) -> str:
    text = unicodedata.normalize("NFKC", cell.translate(_UNSEEN).translate(_MINUS)).translate(_MINUS)
    text = re.sub(r"\s*mm$", "", " ".join(text.split()).lower())
    return re.sub(r"^([+-]) ", r"\1", _GROUPED.sub("", text))


def _could_group(text: str, sign: str) -> bool:
    return re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{sign}\d{{3}})+", text) is not None


def _is_decimal_comma(text: str) -> bool:
    """Whether a comma cannot be one between thousands."""
    text = re.sub(r"(?<=\d)\.(?=\d{3}([.,]))", "", text)
    return re.fullmatch(r"[+-]?\d*,\d+(e[+-]?\d+)?", text) is not None and not _could_group(text, ",")


def _is_decimal_point(text: str) -> bool:
    text = re.sub(r"(?<=\d),(?=\d{3}([.,]))", "", text)
    return re.fullmatch(r"[+-]?\d*\.\d+(e[+-]?\d+)?", text) is not None and not _could_group(text, ".")


def _without(text: str, thousands: str) -> str:
    """The number without signs between thousands, where these stand in the right places; else unchanged."""
    whole = re.split(r"[.,](?!.*[.,])", text)[0] if {",", "."} <= set(text) else text
    return text.replace(thousands, "") if _could_group(whole, thousands) else "?"
