"""Tables as spreadsheet programs of all countries save them are read as meant, or the cell is named."""

import pytest

from SAMLiverTumorLib.batch.inputs import find_jobs
from SAMLiverTumorLib.batch.prompts_csv import read_prompts_csv
from SAMLiverTumorLib.errors import InputError

POINT = (-9.5, 3.25, -252.0)
HEAD = "case,kind,r,a,s,r2,a2,s2,segment"
ROW = "pt_0,include,-9.5,3.25,-252,,,,"


@pytest.fixture
def table(tmp_path):
    """Write a table and read it."""

    def read(text, encoding="utf-8"):
        path = tmp_path / "prompts.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_prompts_csv(path)

    return read


def only(cases):
    """The one include point of the one tumor, and the tumor's name."""
    ((_, said),) = cases.items()
    (tumor,) = said.tumors
    (point,) = tumor.include
    return point, tumor.segment


def german(text):
    return text.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize(
    "text",
    [
        german(f"{HEAD}\r\n{ROW}\r\n"),
        f"{HEAD}\r{ROW}\r",
        f"sep=;\r\n{HEAD}\r\n{ROW}\r\n".replace(",", ";"),
        '"sep=\t"\n' + german(f"{HEAD}\n{ROW}\n").replace(";", "\t"),
        f"sep=|\n{HEAD}\n{ROW}\n".replace(",", "|"),
        f"{HEAD}\n{ROW}\n".replace(",", "|"),
        f"{HEAD},,,\n,,,,,,,,,,,\n , ,,,\n{ROW},,,\n,,,\n",
        f"{HEAD}\n{ROW},,,,\n",
        f"Prompts of our study,,,,\n,,,\n{HEAD}\n{ROW}\n",
        "Case, Kind ,R (mm),A [mm], S\npt_0, Include , -9.5 mm,3.25,-252\n",
        'case,kind,r,a,s\npt_0,include,"-9,5","3,25","-252"\n',
        "case,kind,r,a,s\npt_0,include,\u22129.5,3.25,\u2212252\n",
        "case,kind,r,a,s\npt_0,include,\u20139.5,3.25,\u2013252\n",
        "case,kind,r,a,s\npt_0,include,\uff0d9.5,\u200e3.25,\ufe63252\n",
        "case,kind,r,a,s\npt_0,include,\uff0d\uff19\uff0e\uff15,3.25,\u2212\u00a0252\n",
        "case;kind;r;a;s\npt_0;include;\u00a0-9,5;3,25\u202f;-252,0\n",
        "case;kind;r;a;s\npt_0;include;-9,5E+00;3,25;-2,52E+02\n",
        "case,kind,r,a,s\npt_0,include,-.95e1,+3.25,-252.\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_point_is_read_as_meant(table, text, encoding):
    assert only(table(text, encoding))[0] == POINT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_without_its_mark(table, encoding):
    assert only(table(f"{HEAD}\n{ROW}\n", encoding))[0] == POINT


@pytest.mark.parametrize(
    ("name", "encoding", "called"),
    [("\u5de6\u809d \u80bf\u7624", "gbk", "GBK"), ("L\u00e4sion gro\u00df", "cp1252", "Windows-1252")],
)
def test_a_code_page_is_read_and_said(table, name, encoding, called):
    cases = table(f"{HEAD}\n{ROW}{name}\n", encoding)
    assert only(cases) == (POINT, name)
    (note,) = cases.notes
    assert f"read as {called}, such as '{name}'" in note
    assert table(f"{HEAD}\n{ROW}{name}\n").notes == ()


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (("1,234", "-9,5"), 1.234),
        (("1,234", "-9.5"), 1234),
        (("1.234,5", "1"), 1234.5),
        (("1,234.5", "1"), 1234.5),
        (("1 234,5", "1"), 1234.5),
        (("1\u00a0234,5", "1"), 1234.5),
        (("1\u202f234,5", "1"), 1234.5),
        (("1'234.5", "1"), 1234.5),
        (("1\u2019234.5", "1"), 1234.5),
        (("1.234.567", "1"), 1234567),
        (("1.234", "2"), 1.234),
        (("0,123", "1"), 0.123),
        (("-0,5", "1.5"), -0.5),
    ],
)
def test_a_comma_is_what_the_table_shows_it_to_be(table, cells, number):
    first, second = cells
    assert only(table(f'case,kind,r,a,s\np,include,"{first}","{second}",0\n'))[0][0] == number


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("1,234", "1", r"row 2: r is '1,234', which may be 1\.234 or 1234"),
        ("1.234", "-9,5", r"row 2: r is '1\.234', which may be 1\.234 or 1234"),
        ("1,23,4", "1", "row 2: r is '1,23,4', which is no number"),
        ("1 2", "1", "r is '1 2'"),
        ("1_000", "1", "r is '1_000'"),
        ("1e999", "1", "r is '1e999'"),
        ("#VALUE!", "1", "r is '#VALUE!'"),
        ("- -5", "1", "r is '- -5'"),
        ("5 cm", "1", "r is '5 cm'"),
        ("01.02.2024", "1", "r is '01.02.2024'"),
        ("9" * 300, "x" * 300, "a is 'x{40}', which"),
    ],
)
def test_what_is_no_number_or_could_be_two_is_named(table, first, second, said):
    with pytest.raises(InputError, match=said):
        table(f'case,kind,r,a,s\np,include,"{first}","{second}",0\n')


def test_a_value_in_a_column_without_name_is_named(table):
    with pytest.raises(InputError, match="row 3: 'mean' is in column 7, which has no name"):
        table("case,kind,r,a,s,,\np,include,1,2,3,,\np,include,1,2,3,,mean\n")


def test_decimal_commas_between_commas_are_refused_with_the_way_out(table):
    with pytest.raises(InputError, match=r"row 2: there are 7 values for 5 columns.* decimal comma need semicolons"):
        table("case,kind,r,a,s\np,include,-9,5,3,25,-252\n")


def test_rows_are_counted_as_the_spreadsheet_shows_them(table):
    assert table(f"sep=,\n{HEAD}\n\n{ROW}\n")["pt_0"].row == 3


@pytest.mark.parametrize(
    ("scan", "case", "said"),
    [
        ("pt_0", "C:\\data\\scans\\pt_0.nii.gz", False),
        ("pt_0", "/data/scans/pt_0_ct.nii.gz", False),
        ("pt_0", "D:\\pt_0\\ct.nii.gz", False),
        ("pt_0", "PT_0", True),
        ("001", "1", True),
        ("m\u00fcller", "mu\u0308ller", True),
    ],
)
def test_a_case_is_known_by_its_path_and_by_what_spreadsheets_make_of_its_name(table, tmp_path, scan, case, said):
    (tmp_path / "scans").mkdir()
    for name in (scan, "other"):
        (tmp_path / "scans" / f"{name}.nii.gz").touch()
    jobs, notes = find_jobs([tmp_path / "scans"], tmp_path / "out", table(f"case,kind,r,a,s\n{case},include,1,2,3\n"))
    assert {job.name: len(job.tumors) for job in jobs} == {scan: 1, "other": 0}
    assert (f"Row 2 of the prompts: '{case}' is taken for '{scan}'." in notes) is said


def test_what_could_be_two_scans_is_none(table, tmp_path):
    (tmp_path / "scans").mkdir()
    for name in ("001", "01", "2"):
        (tmp_path / "scans" / f"{name}.nii.gz").touch()
    prompts = table("case,kind,r,a,s\n1,include,1,2,3\n2,include,1,2,3\n")
    jobs, notes = find_jobs([tmp_path / "scans"], tmp_path / "out", prompts)
    assert [job.name for job in jobs if job.tumors] == ["2"]
    assert "Row 2 of the prompts: none of the scans is named '1'." in notes
