"""Outputs appear whole or not at all; as root permission bits do not bind, refusals are simulated."""

import errno
import os
import zipfile
from pathlib import Path

import pytest
import SimpleITK as sitk

from SAMLiverTumorLib.errors import ModelError, OutputError
from SAMLiverTumorLib.io import atomic
from SAMLiverTumorLib.io.atomic import atomic_path, check_output


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_only_when_the_block_ends(tmp_path):
    target = tmp_path / "out.json"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["out.json"]


@pytest.mark.parametrize("name", ["case.1.seg.nrrd", "a.nii.gz", "scene.mrb", "noext", "L\u00e4sion.json"])
def test_temporary_file_has_the_outputs_own_name_on_the_same_disk(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.name == name
        assert temporary.parent.parent == tmp_path
        assert temporary.parent.name.startswith(".")
        write_whole(temporary)
    assert names(tmp_path) == [name]


def write_whole(path):
    """Something of the kind that the name says, as images and scenes are looked at before they are put in place."""
    if path.name.endswith((".nrrd", ".nii.gz")):
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(path), True)
    elif path.suffix == ".mrb":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("scene.mrml", "<MRML/>")
    else:
        path.write_bytes(b"x")


@pytest.mark.parametrize("name", ["case.seg.nrrd", "a.nii.gz", "a.nii", "a.mha", "scene.mrb"])
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_an_image_or_scene_that_is_not_whole_is_never_put_in_place(tmp_path, name, share):
    target = tmp_path / name
    if name in ("a.nii", "a.mha"):
        sitk.WriteImage(sitk.Image(20, 20, 20, sitk.sitkInt16), str(target))
    else:
        write_whole(target)
    before = target.read_bytes()
    with (
        pytest.raises(OutputError, match=r"was not written whole .*if the disk is full"),
        atomic_path(target, True) as path,
    ):
        path.write_bytes(before[: int(share * len(before))])
    assert target.read_bytes() == before
    assert names(tmp_path) == [name]


def test_existing_output_is_refused_without_overwrite_and_kept(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(OutputError, match="--overwrite"), atomic_path(target):
        pytest.fail("the block ran")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.json"]


def test_existing_output_is_replaced_with_overwrite(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with atomic_path(str(target), overwrite=True) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_output_that_appeared_meanwhile_is_not_overwritten(tmp_path):
    target = tmp_path / "out.json"
    with pytest.raises(OutputError, match="exists already"), atomic_path(target) as temporary:
        temporary.write_text("mine")
        target.write_text("someone else's")
    assert target.read_text() == "someone else's"
    assert names(tmp_path) == ["out.json"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "may write to"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "disk"),
    ],
)
def test_full_or_failing_disk_is_told_and_the_old_file_stays(tmp_path, code, advice):
    target = tmp_path / "out.nii.gz"
    target.write_text("old")
    with pytest.raises(OutputError, match=advice) as caught, atomic_path(target, overwrite=True) as temporary:
        temporary.write_text("half")
        raise OSError(code, os.strerror(code))
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.nii.gz"]


@pytest.mark.parametrize("error", [ValueError("bug"), ModelError("mend"), KeyboardInterrupt()])
def test_other_errors_pass_unchanged_and_leave_nothing(tmp_path, error):
    with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "out.json") as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert names(tmp_path) == []


def test_failing_final_move_keeps_the_old_file(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    target = tmp_path / "out.json"
    target.write_text("old")
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="Permission denied"), atomic_path(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.json"]


def test_disk_that_tells_only_at_the_end_that_it_is_full(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "out.json"
    target.write_text("old")
    monkeypatch.setattr(atomic.os, "fsync", refuse)
    with pytest.raises(OutputError, match="free some space"), atomic_path(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"


def test_folder_that_may_not_be_written_is_told(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(atomic.tempfile, "mkdtemp", refuse)
    with pytest.raises(OutputError, match="may write to"), atomic_path(tmp_path / "out.json"):
        pytest.fail("the block ran")


def test_writer_that_wrote_nothing_is_told(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(OutputError, match="was not written"), atomic_path(target, overwrite=True):
        pass
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.json"]


def test_side_files_of_a_failed_writer_are_removed(tmp_path):
    with pytest.raises(OutputError), atomic_path(tmp_path / "out.mhd") as temporary:
        temporary.with_suffix(".raw").write_bytes(b"1234")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_missing_folder_is_told_and_not_made(tmp_path):
    with pytest.raises(OutputError, match="does not exist; create it"), atomic_path(tmp_path / "a" / "out.json"):
        pytest.fail("the block ran")
    assert names(tmp_path) == []


def test_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError), atomic_path(tmp_path / "file" / "out.json"):
        pytest.fail("the block ran")


def test_folder_as_output_is_refused_even_with_overwrite(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="not a file"), atomic_path(tmp_path / "out", overwrite=True):
        pytest.fail("the block ran")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device file")
def test_device_is_refused_even_with_overwrite():
    # os.replace as root would put a plain file in the place of /dev/null
    with pytest.raises(OutputError, match="not a file"):
        check_output("/dev/null", overwrite=True)


def test_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out.json").write_text("old")
    link = tmp_path / "out.json"
    try:
        link.symlink_to(tmp_path / "real" / "out.json")
    except OSError:
        pytest.skip("no right to make symbolic links here")
    with atomic_path(link, overwrite=True) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.json").read_text() == "new"


def test_new_file_has_the_permissions_a_plain_one_gets(tmp_path):
    (tmp_path / "plain").write_text("x")
    with atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
