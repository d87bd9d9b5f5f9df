"""The store of training cases: what is kept of a scan, what is not, and that no half case is ever there."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from training_case import scan

from SAMLiverTumorLib.datasets.cases import find_cases, load_case
from SAMLiverTumorLib.datasets.store.anonymous_case import TrainingCase, case_id, content_of, plain_voxels
from SAMLiverTumorLib.datasets.store.case_store import NEW, REPLACED, UNCHANGED, CaseStore, default_root, is_store
from SAMLiverTumorLib.datasets.store.nifti_export import export_case
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.volume import Volume

ROOT = Path(__file__).resolve().parents[3]
SECRET = "Doe^Jane"
SHA = "ab" * 32
PROVENANCE = [
    {
        "models": [{"id": "file:Doe^Jane.pt", "sha256": SHA, "window": [-160.0, 240.0], "path": f"/home/{SECRET}"}],
        "prompts": {"include": [[11.0, -19.0, 35.0]], "exclude": [], "note": SECRET},
        "versions": {"torch": "2.13.0", SECRET: "1", "sam-liver-tumor": SECRET},
        "basis": {"volume": SECRET},
        SECRET: SECRET,
    },
    {"models": [{"id": "lite-medsam", "sha256": SECRET}], "prompts": {"text": SECRET}, "channels": "single"},
    SECRET,
]


def case(origin=(10.0, -20.0, 30.0), provenance=(), seed=1, **options):
    """The case of a scan 64 x 64 x 5 whose first voxel lies at `origin`."""
    volume, labels = scan(seed=seed, **options)
    affine = np.array(volume.ijk_to_ras)
    affine[:3, 3] = origin
    return TrainingCase(Volume(volume.array, affine, SECRET), labels.array.copy(), provenance)


@pytest.fixture
def store(tmp_path):
    return CaseStore(tmp_path / "store")


def everything(folder):
    """All bytes of a folder, and all names."""
    return (
        b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        + " ".join(str(path.relative_to(folder)) for path in folder.rglob("*")).encode()
    )


def test_voxels_labels_spacing_and_directions_come_back_as_they_were(store):
    given = case()
    kept = store.add(given).case
    read = load_case(find_cases(store.root, store.root)[0])
    assert (read.volume.array == given.volume.array).all() and read.volume.array.dtype == np.int16
    assert (read.tumor == (given.labels == 2)).all() and (read.liver == (given.labels > 0)).all()
    assert np.allclose(read.volume.ijk_to_ras[:3, :3], given.volume.ijk_to_ras[:3, :3], atol=1e-9)
    # a voxel is 2 x 2 x 5 mm
    assert kept.tumor_ml == pytest.approx((given.labels == 2).sum() * 0.02)
    assert kept.liver_ml == pytest.approx((given.labels > 0).sum() * 0.02)
    assert (kept.voxels, kept.spacing_mm, kept.window) == ((64, 64, 5), (2.0, 2.0, 5.0), None)


def test_nothing_that_tells_whose_it_is_is_kept(store):
    kept = store.add(case(provenance=PROVENANCE)).case
    assert SECRET.encode() not in everything(store.root) and b"/home" not in everything(store.root)
    first, second = kept.origin
    assert first["models"] == [{"id": "own", "sha256": SHA, "window": [-160.0, 240.0]}]
    assert second == {"models": [{"id": "lite-medsam"}], "channels": "single"}
    assert first["versions"] == {"torch": "2.13.0"}
    for path in (kept.image, kept.label):
        image = sitk.ReadImage(str(path))
        assert image.GetOrigin() == (0.0, 0.0, 0.0)
        assert not [key for key in image.GetMetaDataKeys() if not key.startswith(("NRRD_", "ITK_"))]
    record = json.loads((kept.folder / "case.json").read_text())
    assert time.strftime("%Y-%m-%d") == record["stored"] == kept.stored


def test_prompts_move_with_the_first_voxel(store):
    (entry, _) = store.add(case(provenance=PROVENANCE)).case.origin
    # R 11, A -19, S 35 where the first voxel is at 10, -20, 30
    assert entry["prompts"] == {"include": [[1.0, 1.0, 5.0]]}
    box = {"center": [10.0, -20.0, 30.0], "axes": np.eye(3).tolist(), "size": [4.0, 4.0, 0.0]}
    (entry,) = store.add(case(provenance=[{"prompts": {"box": box}}])).case.origin
    assert entry["prompts"]["box"]["center"] == [0.0, 0.0, 0.0] and entry["prompts"]["box"]["size"] == [4.0, 4.0, 0.0]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_the_folder_is_readable_by_the_user_alone(store):
    before = os.umask(0)
    try:
        kept = store.add(case()).case
    finally:
        os.umask(before)
    for path in (store.root, kept.folder, kept.image, kept.label, kept.folder / "case.json"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_scan_is_known_by_its_voxels_and_its_newer_outlines_replace_the_older(store):
    first = store.add(case())
    again = store.add(case(origin=(0.0, 0.0, 0.0)))
    assert (first.state, again.state, again.case) == (NEW, UNCHANGED, first.case)
    newer = case()
    newer.labels[0, 30:34, 30:34] = 2
    replaced = store.add(newer)
    assert (replaced.state, replaced.case.id, replaced.case.version) == (REPLACED, first.case.id, 2)
    assert store.list() == [replaced.case] and not first.case.folder.exists()
    assert (read_volume(replaced.case.label).array == newer.labels).all()
    other = store.add(case(seed=2))
    assert other.state == NEW and len(store.list()) == 2


def test_the_same_scan_as_floats_or_wider_integers_is_the_same_scan(store):
    volume = case().volume
    assert not store.holds(volume)
    store.add(case())
    for kind in (np.float64, np.float32, np.int32):
        assert store.holds(Volume(volume.array.astype(kind), np.eye(4), "elsewhere"))
    assert not store.holds(Volume(volume.array + 1, volume.ijk_to_ras, "brighter"))
    # floats that are no integers stay floats
    assert plain_voxels(Volume(volume.array + 0.5, np.eye(4), "x")).dtype == np.float32


def test_a_name_of_the_users_own_is_kept_unless_it_is_anothers(store):
    kept = store.add(case(), "study-017").case
    assert store.add(case()).case.name == "study-017"
    assert [each.name for each in find_cases(store.root, store.root)] == ["study-017"]
    with pytest.raises(InputError, match="Another scan is kept as 'study-017'"):
        store.add(case(seed=2), "study-017")
    for name in ("../x", "", "a b", "x" * 65, ".hidden"):
        with pytest.raises(InputError, match="cannot name a case"):
            store.add(case(), name)
    assert store.list() == [kept]
    with pytest.raises(InputError, match="study-017 is held out"):
        find_cases(store.root, store.root, frozenset({"study-017"}))


def test_cases_are_found_by_name_or_the_beginning_of_their_number_and_removed(store):
    kept = store.add(case()).case
    assert store.find(kept.id) == store.find(kept.id[:8]) == store.find(kept.id[5:12]) == kept
    for name in ("", "case-", "nobody"):
        with pytest.raises(InputError, match="There is no case"):
            store.find(name)
    assert store.remove(kept.id[:9]) == kept.id
    assert store.list() == [] and not list(store.root.glob("case-*"))
    with pytest.raises(InputError, match="No case is kept"):
        find_cases(store.root, store.root)


def test_scans_that_are_not_in_hounsfield_units_bring_their_window(store):
    volume, labels = scan()
    grey = Volume(np.clip(volume.array + 160, 0, 255).astype(np.uint8), volume.ijk_to_ras, "grey")
    store.add(TrainingCase(grey, labels.array, [{"models": [{"id": "liver-tumor", "window": [0.0, 255.0]}]}]))
    assert find_cases(store.root, store.root)[0].window == "0,255"


def test_a_folder_with_other_files_is_neither_filled_nor_read(tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(b"")
    with pytest.raises(OutputError, match="holds other files"):
        CaseStore(tmp_path).add(case())
    with pytest.raises(InputError, match="is no store"):
        CaseStore(tmp_path).list()
    assert not is_store(tmp_path) and [path.name for path in tmp_path.iterdir()] == ["ct.nii.gz"]
    assert CaseStore(tmp_path / "nowhere").list() == []


def test_scans_without_tumor_and_labels_of_another_scan_are_refused(store):
    volume, labels = scan()
    with pytest.raises(InputError, match="No tumor is outlined"):
        TrainingCase(volume, np.minimum(labels.array, 1))
    with pytest.raises(InputError, match="resample them"):
        TrainingCase(volume, labels.array[:-1])
    sheared = np.array(volume.ijk_to_ras)
    sheared[0, 2] = 1.0
    with pytest.raises(InputError, match="right angles"):
        store.add(TrainingCase(Volume(volume.array, sheared, "x"), labels.array))
    assert store.list() == [] and not list(store.root.glob(".sam*"))


def test_damaged_cases_are_passed_over_told_of_and_removed(store):
    good, bad = (store.add(case(seed=seed)).case for seed in (1, 2))
    for text in ("{", "[]", "{}", '{"format": 1, "spacing_mm": 3}'):
        (bad.folder / "case.json").write_text(text)
        assert store.list() == [good] and store.damaged() == [bad.folder.name]
    assert store.remove(bad.folder.name) == bad.id
    assert store.damaged() == [] and store.list() == [good]


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_writer_killed_at_any_moment_leaves_whole_cases_alone(store):
    """Children of one program add cases, and newer outlines of them, without end; each is killed."""
    program = """
import os, signal, sys, time
import numpy as np
from SAMLiverTumorLib.datasets.store.anonymous_case import TrainingCase
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.io import images, write_image
from SAMLiverTumorLib.volume import Volume
for line in sys.stdin:
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        n = int(line)
        while True:
            n += 1
            labels = np.zeros((5, 64, 64), np.uint8)
            labels[0, n % 64, :9] = 2
            voxels = np.random.default_rng(n % 2).integers(-200, 200, labels.shape).astype(np.int16)
            CaseStore(sys.argv[1]).add(TrainingCase(Volume(voxels, np.eye(4)), labels))
            os.write(told, b".")
    os.read(heard, 1)
    time.sleep(int(line) * 7e-4)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed", flush=True)
"""
    killer = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    for number in range(12):
        killer.stdin.write(f"{10 * number}\n")
        killer.stdin.flush()
        assert killer.stdout.readline() == "killed\n"
        for kept in store.list():
            assert content_of(read_volume(kept.label).array) == kept.outline
            assert case_id(content_of(read_volume(kept.image).array)) == kept.id
        assert store.damaged() == []
    killer.communicate()
    assert max(kept.version for kept in store.list()) > 2
    store.add(case(seed=9))
    # what the killed ones left is swept away
    left = sorted(path.name for path in store.root.iterdir())
    assert left == sorted([*(kept.folder.name for kept in store.list()), "sam-liver-tumor-cases.json"])


def test_two_writers_of_one_scan_take_turns(store):
    from concurrent.futures import ThreadPoolExecutor

    def add(n):
        newer = case()
        newer.labels[0, n, :9] = 2
        return store.add(newer).case.version

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(add, range(8)))
    assert sorted(versions) == list(range(1, 9))
    (kept,) = store.list()
    assert kept.version == 8 and content_of(read_volume(kept.label).array) == kept.outline


def test_exported_cases_pair_by_name(store, tmp_path):
    kept = store.add(case(), "study-017").case
    export_case(kept, tmp_path / "out")
    (found,) = find_cases(tmp_path / "out" / "images", tmp_path / "out" / "labels")
    assert found.name == "study_017"  # as all names of files are read
    assert (load_case(found).tumor == (case().labels == 2)).all()
    with pytest.raises(OutputError, match="exists already"):
        export_case(kept, tmp_path / "out")


def test_the_default_folder_is_named_by_a_variable_or_lies_in_the_users_data(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_LIVER_TUMOR_CASES", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("SAM_LIVER_TUMOR_CASES")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        assert default_root() == tmp_path / "sam-liver-tumor" / "cases"
        monkeypatch.setenv("XDG_DATA_HOME", "relative")
        assert default_root() == Path.home() / ".local" / "share" / "sam-liver-tumor" / "cases"
