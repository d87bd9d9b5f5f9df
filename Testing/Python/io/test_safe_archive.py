"""Zip files that mean harm, or are damaged, are refused; nothing is written anywhere."""

import io
import stat
import struct
import zipfile

import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io import safe_archive
from SAMLiverTumorLib.io.folders import open_folder


def zipped(entries, **options):
    """Bytes of an archive of (name or ZipInfo, content)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", options.get("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def put(tmp_path):
    """Write bytes into a folder of their own; the file, beside which nothing may appear."""

    def put(content, name="a.zip"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    yield put
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted({"in", *(p.name for p in (tmp_path / "in").iterdir())})


def everything(folder):
    """Path -> content of all files under a folder."""
    found = {file.shown: file.read() for file in folder.files.values()}
    for each in folder.folders.values():
        found |= everything(each)
    return found


def test_files_of_nested_archives_are_read_in_memory(put):
    inner = zipped([("B/one", b"1"), ("B/C/two", b"22")])
    path = put(zipped([("A/B.zip", inner), ("A/three", b"333"), ("__MACOSX/A/._three", b"x"), ("A/.DS_Store", b"x")]))
    found = everything(open_folder(path))
    shown = {f"{path}/A/three": b"333", f"{path}/A/B.zip/B/one": b"1", f"{path}/A/B.zip/B/C/two": b"22"}
    assert found == shown
    assert everything(open_folder(path / "A" / "B.zip" / "B" / "C")) == {f"{path}/A/B.zip/B/C/two": b"22"}
    with pytest.raises(InputError, match="no folder 'D'"):
        open_folder(path / "A" / "D")


@pytest.mark.parametrize(
    "name",
    ["../up", "a/../../up", "/root", "\\root", "..\\up", "C:/up", "c:\\up", "a/..", "//host/share", "a\\..\\..\\up"],
)
def test_an_archive_with_a_path_that_leads_out_is_refused(put, name):
    path = put(zipped([("good", b"1"), (name, b"bad")]))
    with pytest.raises(InputError, match="leads out"):
        open_folder(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_an_archive_with_a_link_or_device_is_refused(put, kind):
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(InputError, match="link or a device"):
        open_folder(put(zipped([(info, b"/etc/passwd")])))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_one_file_twice_is_refused(put):
    with pytest.raises(InputError, match="twice"):
        open_folder(put(zipped([("a/one", b"1"), ("a/one", b"2")])))


@pytest.mark.parametrize("entries", [[("a", b"1"), ("a/b", b"2")], [("a/b", b"2"), ("a", b"1")]])
def test_a_file_that_is_a_folder_as_well_is_refused(put, entries):
    with pytest.raises(InputError, match="refused"):
        open_folder(put(zipped(entries)))


def test_a_bomb_is_not_unpacked(put):
    path = put(zipped([("bomb", bytes(32 << 20))]))
    assert path.stat().st_size < 40_000
    file = open_folder(path).files["bomb"]
    with pytest.raises(InputError, match="bomb"):
        file.read()


def test_a_bomb_in_an_archive_in_an_archive_is_not_unpacked(put):
    inner = zipped([("zeros", bytes(32 << 20))], compression=zipfile.ZIP_STORED)
    folder = open_folder(put(zipped([("B.zip", inner)])))
    with pytest.raises(InputError, match="bomb"):
        folder.folders["B"].files  # noqa: B018


def test_what_is_larger_than_a_slice_can_be_is_refused(put, monkeypatch):
    monkeypatch.setattr(safe_archive, "MAX_FILE", 1000)
    path = put(zipped([("large", bytes(range(256)) * 4), ("small", b"1" * 1000)]))
    put(b"2" * 1001, "on_disk")
    folder = open_folder(path)
    assert folder.files["small"].read(1000) == b"1" * 1000
    with pytest.raises(InputError, match="refused"):
        folder.files["large"].read(1000)
    with pytest.raises(InputError, match="larger than"):
        open_folder(path.parent).files["on_disk"].read()


@pytest.mark.parametrize(("limit", "value"), [("MAX_ENTRIES", 2), ("MAX_TOTAL", 5)])
def test_an_archive_that_promises_too_much_is_refused(put, monkeypatch, limit, value):
    path = put(zipped([(name, b"22") for name in "abc"]))
    open_folder(path)
    monkeypatch.setattr(safe_archive, limit, value)
    with pytest.raises(InputError, match="refused"):
        open_folder(path)


def test_archives_without_end_in_each_other_are_refused(put):
    content = zipped([("end", b"1")])
    for _ in range(6):
        content = zipped([("again.zip", content)])
    folder = open_folder(put(content))
    with pytest.raises(InputError, match="deep"):
        everything(folder)


def test_a_size_that_lies_does_not_unpack_more_than_it_says(put):
    content = bytearray(zipped([("a", b"1" * 5000)]))
    at = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 10)
    with pytest.raises(InputError, match="damaged"):
        open_folder(put(bytes(content))).files["a"].read()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97])
def test_an_archive_that_is_cut_off_is_refused(put, share):
    content = zipped([("a", bytes(range(256)) * 40)])
    with pytest.raises(InputError, match=r"damaged.*copy"):
        open_folder(put(content[: int(share * len(content))]))


def test_a_damaged_entry_is_refused_and_the_others_are_read(put):
    content = bytearray(
        zipped([("bad", b"some text that is long enough"), ("good", b"2")], compression=zipfile.ZIP_STORED)
    )
    content[content.index(b"long")] ^= 0xFF
    folder = open_folder(put(bytes(content)))
    with pytest.raises(InputError, match=r"damaged.*copy"):
        folder.files["bad"].read()
    assert folder.files["good"].read() == b"2"


def test_an_encrypted_entry_is_refused_with_what_to_do(put):
    content = bytearray(zipped([("a", b"1")]))
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(signature) + offset] |= 1
    with pytest.raises(InputError, match=r"encrypted; unpack"):
        open_folder(put(bytes(content))).files["a"].read()


def test_a_folder_that_was_unpacked_is_taken_instead_of_its_archive(tmp_path):
    (tmp_path / "A.zip").write_bytes(zipped([("one", b"old")]))
    assert set(everything(open_folder(tmp_path)).values()) == {b"old"}
    (tmp_path / "A").mkdir()
    assert set(everything(open_folder(tmp_path)).values()) == {b"old"}
    (tmp_path / "A" / "one").write_bytes(b"new")
    assert set(everything(open_folder(tmp_path)).values()) == {b"new"}


@pytest.mark.parametrize("name", ["none", "none.zip", "file.txt", "file.txt/more"])
def test_what_is_no_folder_and_no_archive_is_refused(tmp_path, name):
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(InputError, match="check the path"):
        open_folder(tmp_path / name)
