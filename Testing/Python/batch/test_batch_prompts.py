"""Prompts of a cohort in a table, and which scans they and the labels belong to."""

from pathlib import Path

import pytest

from SAMLiverTumorLib.batch.inputs import find_jobs, models_of
from SAMLiverTumorLib.batch.jobs import BatchSettings, TumorPrompts
from SAMLiverTumorLib.batch.prompts_csv import read_prompts_csv
from SAMLiverTumorLib.errors import InputError

HEADER = "case,kind,r,a,s,r2,a2,s2,segment\n"


@pytest.fixture
def table(tmp_path):
    """Write a table and read it."""

    def read(text, encoding="utf-8"):
        path = tmp_path / "prompts.csv"
        path.write_bytes(text.encode(encoding))
        return read_prompts_csv(path)

    return read


def test_rows_of_one_case_and_segment_are_one_tumor(table):
    cases = table(
        HEADER
        + "liver_7,box,12.5,-80,40,38,-55,61,\n"
        + "liver_7,exclude,20,-60,50,,,,\n"
        + "liver_9,include,-4,-71.2,118,,,,left lobe\n"
        + "liver_7,include,1,2,3,,,,second\n"
    )
    assert list(cases) == ["liver_7", "liver_9"]
    first, second = cases["liver_7"].tumors
    assert first == TumorPrompts("Liver tumor", (), ((20, -60, 50),), ((12.5, -80, 40), (38, -55, 61)))
    assert second == TumorPrompts("second", ((1, 2, 3),))
    assert (cases["liver_7"].row, cases["liver_9"].row) == (2, 4)


def test_the_box_reaches_from_corner_to_corner(table):
    tumor = table(HEADER + "a,box,10,20,30,-10,60,30,\n")["a"].tumors[0]
    box = tumor.prompts().box
    assert box.center.tolist() == [0, 40, 30]
    assert box.size.tolist() == [20, 40, 0]


@pytest.mark.parametrize(
    "text",
    [
        "case;kind;r;a;s\na;include;1;2;3\n",
        "case\tkind\tr\ta\ts\r\na\tinclude\t1\t2\t3\r\n",
        "\ufeffS,A,R,Kind,Case\n\n3,2,1,INCLUDE,a\n\n",
    ],
    ids=["semicolons", "tabs", "other order and a byte order mark"],
)
def test_spreadsheets_write_tables_in_their_own_way(table, text):
    assert table(text)["a"].tumors == (TumorPrompts("Liver tumor", ((1, 2, 3),)),)


@pytest.mark.parametrize(
    ("rows", "row", "said"),
    [
        ("a,dot,1,2,3,,,,\n", 2, "no kind of prompt"),
        ("a,include,1,2,3,,,,\na,include,1,x,3,,,,\n", 3, "a is 'x'"),
        ("a,include,1,nan,3,,,,\n", 2, "a is 'nan'"),
        ("a,include,1,inf,3,,,,\n", 2, "a is 'inf'"),
        ("a,include,1,2,,,,,\n", 2, "s is ''"),
        ("a,box,1,2,3,4,5,,\n", 2, "s2 is ''"),
        ("a,include,1,2,3,4,,,\n", 2, "a point has no 'r2'"),
        ("a,box,1,2,3,4,2,3,\n", 2, "same along two axes"),
        ("a,box,1,2,3,4,5,6,\n\na,box,1,2,3,4,5,6,\n", 4, "has a box already"),
        ("a,exclude,1,2,3,,,,\n", 2, "only exclude points"),
        (",include,1,2,3,,,,\n", 2, "no case is named"),
        ("a,include,1,2,3,,,,,,9\n", 2, "11 values for 9 columns"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(table, rows, row, said):
    with pytest.raises(InputError, match=f"row {row}: .*{said}"):
        table(HEADER + rows)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "row 1: there is no column 'case'"),
        (b"case,kind,r,a\n", "row 1: there is no column 's'"),
        (b"case,kind,r,a,s,x\n", "row 1: there is a column 'x'"),
        (b"case,kind,r,a,s,s\n", "row 1"),
        (HEADER.encode(), "holds no prompt"),
        (HEADER.encode() + b"\x01\xfe,include,1,2,3\n", "UTF-8"),
        (b"PK\x03\x04" + bytes(100), "is a workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "is a workbook"),
        (b"\xff\xfea", "no whole text in UTF-16"),
        (HEADER.encode() + b'a,"include,1,2,3\n', "no table"),
        (HEADER.encode() + b"a" * 200_000 + b",include,1,2,3\n", "no table"),
    ],
)
def test_what_is_no_table_of_prompts_is_refused(tmp_path, data, said):
    path = tmp_path / "prompts.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_prompts_csv(path)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts_csv(tmp_path / "none.csv")


@pytest.fixture
def scans(tmp_path) -> Path:
    """Three scans and a folder that is a DICOM series by its looks."""
    for name in (
        "scans/ct_1.nii.gz",
        "scans/2_ct.nrrd",
        "scans/p3/image.mha",
        "scans/4/0001.dcm",
        "labels/seg-1.nii.gz",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return tmp_path / "scans"


def test_scans_labels_and_rows_of_one_patient_belong_together(table, scans, tmp_path):
    prompts = table(HEADER + "ct_1.nii.gz,include,1,2,3,,,,\nct_2,include,4,5,6,,,,\nnobody,include,4,5,6,,,,\n")
    jobs, notes = find_jobs([scans], tmp_path / "out", prompts, references=tmp_path / "labels")
    assert [job.name for job in jobs] == ["1", "2", "4", "p3"]
    assert [len(job.tumors) for job in jobs] == [1, 1, 0, 0]
    assert [job.reference and job.reference.name for job in jobs] == ["seg-1.nii.gz", None, None, None]
    assert notes == (
        "There is no reference for '2', '4', 'p3'.",
        "Row 4 of the prompts: none of the scans is named 'nobody'.",
        "There is no prompt for '4', 'p3', which will fail.",
    )


def test_two_scans_of_one_name_are_refused(scans, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match="both be case '1'"):
        find_jobs([scans, tmp_path / "more"], tmp_path / "out")


def test_a_scan_without_its_liver_is_refused(scans, tmp_path):
    with pytest.raises(InputError, match=r"no liver in .* for '2', '4', 'p3'"):
        find_jobs([scans], tmp_path / "out", liver=tmp_path / "labels")


def test_prompts_of_other_scans_altogether_are_refused(table, scans, tmp_path):
    with pytest.raises(InputError, match="'nobody' in row 2"):
        find_jobs([scans], tmp_path / "out", table(HEADER + "nobody,include,4,5,6,,,,\n"))


def test_results_inside_the_scans_folder_are_no_scans(scans):
    (scans / "out" / "records").mkdir(parents=True)
    (scans / "out" / "image.nrrd").write_bytes(b"")
    jobs, _ = find_jobs([scans], scans / "out")
    assert [job.name for job in jobs] == ["1", "2", "4", "p3"]


def test_auto_leads_to_the_models_that_the_prompts_may_ask(table, scans, tmp_path):
    boxes = table(HEADER + "1,box,1,2,3,4,5,6,\n")
    points = table(HEADER + "1,include,1,2,3,,,,\n")
    asked = {
        name: sorted(models_of(find_jobs([scans], tmp_path / "out", prompts)[0], BatchSettings(mode=mode)))
        for name, prompts, mode in (
            ("box", boxes, "slice"),
            ("point", points, "slice"),
            ("point followed", points, "volume"),
        )
    }
    asked["text"] = sorted(models_of(find_jobs([scans], tmp_path / "out")[0], BatchSettings(text="liver tumor")))
    assert asked == {
        "box": ["lite-medsam"],
        "point": ["liver-tumor"],
        "point followed": ["lite-medsam", "liver-tumor"],
        "text": ["liver-tumor"],
    }
