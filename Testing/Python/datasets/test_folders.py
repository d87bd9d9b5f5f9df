"""Folders of other tools, and with what systems leave in them, are paired as a person would; a CT is no label."""

import gzip
import struct

import numpy as np
import pytest
from cli_case import write_volume
from support.nifti_files import SPACING, nifti_bytes
from support.nifti_files import scan as small_scan
from training_case import scan, write_case

from SAMLiverTumorLib.batch.inputs import find_jobs
from SAMLiverTumorLib.datasets.cases import find_cases, load_case
from SAMLiverTumorLib.datasets.folder_content import holds_series, may_hold_dicom
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.folders import open_folder
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.labels.region import liver_on
from SAMLiverTumorLib.io.safe_archive import is_junk
from SAMLiverTumorLib.training.samples.embedded_samples import SampleStore
from SAMLiverTumorLib.training.samples.prepare import labeled_cases, prepare
from SAMLiverTumorLib.training.settings import TrainSettings
from SAMLiverTumorLib.volume import Volume

LEFTOVERS = [
    *("._p1.nii.gz", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", "~$p1.nii.gz", "p1.nii.gz~", "~p1.nii.gz"),
    *("p1.nii.gz:Zone.Identifier", "Thumbs.db:encryptable", "p1.nii.gz.part", "p1 - Shortcut.nii.gz.lnk"),
    *("__MACOSX/._p1.nii.gz", "__MACOSX/p1.nii.gz", "$RECYCLE.BIN/$R1.nii.gz", "System Volume Information/x.nii.gz"),
    *("@eaDir/p1.nii.gz", "#recycle/p1.nii.gz", ".ipynb_checkpoints/p1-checkpoint.nii.gz", ".Trashes/p1.nii.gz"),
    *(".Spotlight-V100/x.nii", "lost+found/p1.nii", "p1.json", "README.md", "notes.txt", "empty folder/", "docs/a.pdf"),
]


@pytest.fixture
def touch(tmp_path):
    """Make empty files, and folders where a name ends in a slash; the folder above."""

    def touch(*names):
        for name in names:
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path

    return touch


def pairs(found, folder):
    return [
        (
            each.name,
            *(None if path is None else path.relative_to(folder).as_posix() for path in (each.image, each.label)),
        )
        for each in found
    ]


def livers(found, folder):
    return [
        (job.name, job.image.relative_to(folder).as_posix(), job.liver.relative_to(folder).as_posix()) for job in found
    ]


ORGANS = ("liver", "spleen", "kidney_left")


def totalsegmentator(touch, between=""):
    names = [f"out/s{n}{between}/{organ}.nii.gz" for n in (1, 2) for organ in ORGANS]
    return touch(*names, *(f"scans/s{n}/ct.nii.gz" for n in (1, 2)))


@pytest.mark.parametrize("between", ["", "/segmentations"])
def test_totalsegmentators_masks_belong_to_the_scan_of_their_folder(touch, between):
    folder = totalsegmentator(touch, between)
    expected = [(f"s{n}", f"scans/s{n}/ct.nii.gz", f"out/s{n}{between}") for n in (1, 2)]
    assert pairs(find_cases(folder / "scans", folder / "out"), folder) == expected
    jobs, _ = find_jobs([folder / "scans"], folder / "results", liver=folder / "out")
    assert livers(jobs, folder) == expected


@pytest.mark.parametrize("extra", ["", "mri.nii.gz"])
def test_totalsegmentators_data_set_is_paired(touch, extra):
    names = [f"s{n}/segmentations/{organ}.nii.gz" for n in (1, 2) for organ in ORGANS]
    folder = touch(*names, *(f"s{n}/ct.nii.gz" for n in (1, 2)), "meta.csv")
    expected = [(f"s{n}", f"s{n}/ct.nii.gz", f"s{n}/segmentations") for n in (1, 2)]
    assert pairs(find_cases(folder, folder), folder) == expected
    assert [each.image.name for each in find_cases(folder, None)] == ["ct.nii.gz"] * 2
    jobs, _ = find_jobs([folder], folder / "results", liver=folder)
    assert livers(jobs, folder) == expected


def test_one_scan_goes_with_its_folder_of_masks(touch):
    folder = totalsegmentator(touch)
    ct, masks = folder / "scans" / "s1" / "ct.nii.gz", folder / "out" / "s1"
    assert pairs(find_cases(ct, masks), folder) == [("s1", "scans/s1/ct.nii.gz", "out/s1")]
    jobs, _ = find_jobs([ct], folder / "results", liver=masks)
    assert livers(jobs, folder) == [("s1", "scans/s1/ct.nii.gz", "out/s1")]


def test_masks_beside_the_ct_are_no_scans(touch):
    folder = touch(*(f"p{n}/{name}.nii.gz" for n in (1, 2) for name in ("ct", "liver", "tumor", "spleen")))
    assert pairs(find_cases(folder, folder), folder) == [(f"p{n}", f"p{n}/ct.nii.gz", f"p{n}") for n in (1, 2)]


def test_a_ct_is_never_taken_for_its_own_label(touch):
    folder = touch("a/ct.nii.gz", "b/ct.nii.gz")
    for labels in (folder, folder / "a" / ".."):
        with pytest.raises(InputError, match=r"no label"):
            find_cases(folder, labels)
        with pytest.raises(InputError, match=r"no label|no liver"):
            find_jobs([folder], folder / "results", liver=labels)
    # nor where the labels' folder is the one above
    with pytest.raises(InputError, match=r"no label"):
        find_cases(folder / "a", folder)


def test_a_folder_of_masks_is_liver_and_tumor(tmp_path):
    ct, label = scan()
    for name, mask in (("liver", label.array > 0), ("liver_tumor", label.array == 2), ("spleen", label.array == 0)):
        (tmp_path / "p" / "masks").mkdir(parents=True, exist_ok=True)
        write_volume(
            tmp_path / "p" / "masks" / f"{name}.nii.gz", Volume(mask.astype(np.uint8) * 255, label.ijk_to_ras, name)
        )
    write_volume(tmp_path / "p" / "ct.nii.gz", ct)
    (files,) = find_cases(tmp_path, tmp_path)
    case = load_case(files)
    assert (case.tumor == (label.array == 2)).all() and (case.liver == (label.array > 0)).all()
    assert any("liver.nii.gz, liver_tumor.nii.gz" in note for note in case.notes)
    assert list(read_labels(files.label).entries) == ["liver", "liver tumor"]
    assert (liver_on(files.label, ct) == (label.array > 0)).all()


def test_masks_of_another_grid_are_refused(tmp_path):
    _, label = scan()
    for name, cut in (("liver", 0), ("liver_tumor", 1)):
        write_volume(tmp_path / f"{name}.nii.gz", Volume(label.array[cut:], label.ijk_to_ras, name))
    with pytest.raises(InputError, match="other voxels than the masks beside it"):
        read_labels(tmp_path)


def test_the_first_channel_of_nnunet_is_the_scan_and_the_others_are_said(touch):
    names = [f"imagesTr/HCC_{n:03d}_{c:04d}.nii.gz" for n in (1, 2) for c in range(3)]
    folder = touch(*names, *(f"labelsTr/HCC_{n:03d}.nii.gz" for n in (1, 2)), "dataset.json")
    expected = [(f"HCC_{n:03d}", f"imagesTr/HCC_{n:03d}_0000.nii.gz", f"labelsTr/HCC_{n:03d}.nii.gz") for n in (1, 2)]
    for images, labels in ((folder, folder), (folder / "imagesTr", folder / "labelsTr")):
        found = find_cases(images, labels)
        assert pairs(found, folder) == expected
        (note,) = found[0].notes
        assert "HCC_001_0001.nii.gz" in note and note.endswith("and 1 more.")
    _, notes = find_jobs([folder / "imagesTr"], folder / "out")
    assert any("Further channels" in each for each in notes)


def test_a_number_of_four_digits_alone_is_a_patient(touch):
    folder = touch("images/case_0001.nii.gz", "images/case_0002.nii.gz")
    assert [each.name for each in find_cases(folder / "images", None)] == ["case_0001", "case_0002"]


def test_leftovers_of_systems_are_no_cases(touch):
    names = [f"{kind}/{name}" for kind in ("images", "labels") for name in ("p1.nii.gz", *LEFTOVERS)]
    folder = touch(*names, *LEFTOVERS)
    for other in LEFTOVERS[:12]:
        assert is_junk(other), other
    assert pairs(find_cases(folder / "images", folder / "labels"), folder) == [
        ("p1", "images/p1.nii.gz", "labels/p1.nii.gz")
    ]
    assert pairs(find_cases(folder / "images", None), folder) == [("p1", "images/p1.nii.gz", None)]
    assert sorted(open_folder(folder / "images").folders) == ["docs", "empty folder"]


def test_a_series_is_one_whatever_systems_leave_beside_it(touch):
    folder = touch("s/1.2.840.1", "s/1.2.840.2", "s/DICOMDIR", "s/README", "s/Thumbs.db", "s/.DS_Store", "s/Icon\r")
    assert holds_series(folder / "s")
    # a readme alone makes no series of a folder of cases
    assert not holds_series(touch("cases/README", "cases/LICENSE", "cases/p1.nii.gz", "cases/p2.nii.gz") / "cases")
    assert [each.name for each in find_cases(folder / "cases", None)] == ["p1", "p2"]
    assert not may_hold_dicom(touch("papers/a.pdf", "papers/b/c.txt") / "papers")


def test_names_in_chinese_with_brackets_are_paired(touch):
    names = [f"影像/病人 {n} (CT).nii.gz" for n in (1, 2)] + [f"标签/病人 {n} (CT)_label.nii.gz" for n in (1, 2)]
    folder = touch(*names)
    expected = [(f"病人_{n}", names[n - 1], names[n + 1]) for n in (1, 2)]
    assert pairs(find_cases(folder / "影像", folder / "标签"), folder) == expected
    assert pairs(find_cases(folder, folder), folder) == expected
    folder = touch("set/病人甲_影像.nii.gz", "set/病人甲_标注.nii.gz") / "set"
    assert [each[0] for each in pairs(find_cases(folder, folder), folder)] == ["病人甲"]


@pytest.mark.parametrize(
    ("image", "label"),
    [("Patient1_ct", "patient1_label"), ("m\u00fcller", "mu\u0308ller_seg"), ("p1 (portal)", "p1_portal_mask")],
)
def test_one_patient_spelled_in_two_ways_is_one(touch, image, label):
    folder = touch(f"images/{image}.nii.gz", f"labels/{label}.nii.gz")
    assert len(find_cases(folder / "images", folder / "labels")) == 1


def test_patients_of_two_centers_are_told_apart(touch):
    folder = touch(*(f"{c}/{kind}/{n}.nii.gz" for c in "AB" for kind in ("images", "labels") for n in ("001", "002")))
    expected = [(f"{c}_{n}", f"{c}/images/{n}.nii.gz", f"{c}/labels/{n}.nii.gz") for c in "AB" for n in ("001", "002")]
    assert pairs(find_cases(folder, folder), folder) == expected
    images = tuple(str(folder / c / "images") for c in "AB")
    labels = tuple(str(folder / c / "labels") for c in "AB")
    assert sorted(pairs(labeled_cases(TrainSettings(images, labels)), folder)) == expected
    jobs, _ = find_jobs([folder / c / "images" for c in "AB"], folder / "out")
    assert sorted(job.name for job in jobs) == [each[0] for each in expected]


@pytest.mark.parametrize("held", ["001", "A_001"])
def test_a_held_out_patient_stays_so_under_the_name_of_its_center(touch, held):
    folder = touch(*(f"{c}/{kind}/001.nii.gz" for c in "AB" for kind in ("images", "labels")))
    with pytest.raises(InputError, match="held out"):
        find_cases(folder, folder, frozenset([held]))


def test_one_scan_in_two_folders_does_not_train_and_validate(tmp_path):
    for center in "AB":
        write_case(tmp_path / center, "001")
    store = SampleStore(tmp_path / "store", "0" * 64, "longest", lambda *_: np.zeros((256, 64, 64), np.float16))
    folders = tuple(str(tmp_path / center) for center in "AB")
    with pytest.raises(InputError, match="A_001 and B_001 are the same scan"):
        prepare(TrainSettings(folders, folders, validation=("B_001",), copies=0), store)


def test_a_scan_and_its_compressed_copy_are_one(tmp_path):
    (tmp_path / "images").mkdir()
    plain = tmp_path / "images" / "volume-0.nii"
    plain.write_bytes(bytes(range(256)) * 10)
    packed = tmp_path / "images" / "volume-0.nii.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    (case,) = find_cases(tmp_path / "images", None)
    assert case.image == plain and case.notes[0].endswith("left out: volume-0.nii.gz.")
    packed.write_bytes(gzip.compress(plain.read_bytes() + b"x"))
    with pytest.raises(InputError, match="look like the same patient, '0'"):
        find_cases(tmp_path / "images", None)


def test_a_mask_of_0_and_255_is_the_liver_or_asks_what_it_is(tmp_path):
    ct, label = scan()
    tumor = label.array == 2
    for folder, volume in (("images", ct), ("labels", Volume(tumor.astype(np.uint8) * 255, label.ijk_to_ras, "m"))):
        (tmp_path / folder).mkdir()
        write_volume(tmp_path / folder / "p1.nii.gz", volume)
    (files,) = find_cases(tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"value 255, whose meaning .*--label 255=tumor"):
        load_case(files)
    assert (load_case(files, {"255": "tumor"}).tumor == tumor).all()
    assert (liver_on(files.label, ct) == tumor).all()


def test_dicom_patients_lie_in_a_folder_of_images(touch):
    folder = touch(
        *(f"images/pt{n}/S4/{k}.dcm" for n in (1, 2) for k in (1, 2)), "labels/pt1.nii.gz", "labels/pt2.nii.gz"
    )
    expected = [(f"pt{n}", f"images/pt{n}", f"labels/pt{n}.nii.gz") for n in (1, 2)]
    assert pairs(find_cases(folder / "images", folder / "labels"), folder) == expected
    assert pairs(find_cases(folder, folder), folder) == expected


def test_a_long_list_of_what_is_missing_is_cut(touch):
    folder = touch(*(f"images/p{n}.nii.gz" for n in range(300)), "labels/other.nii.gz")
    with pytest.raises(InputError, match=r"for p0\.nii\.gz, p1\.nii\.gz, p2\.nii\.gz and 297 more"):
        find_cases(folder / "images", folder / "labels")


def write_pair(path, array, zipped=False):
    """A pair of NIfTI, header and voxels apart, as SPM and AFNI write them."""
    whole = bytearray(nifti_bytes(array))
    struct.pack_into("<f", whole, 108, 0.0)
    whole[344:348] = b"ni1\0"
    path.parent.mkdir(exist_ok=True)
    for ending, part in ((".hdr", whole[:348]), (".img", whole[352:])):
        name = f"{path.name}{ending}{'.gz' * zipped}"
        (path.parent / name).write_bytes(gzip.compress(bytes(part)) if zipped else bytes(part))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pair_of_header_and_voxels_is_one_file(tmp_path, zipped):
    ct, labels = small_scan()
    for name in ("p1", "p2"):
        write_pair(tmp_path / f"{name}_ct", ct, zipped)
        write_pair(tmp_path / f"{name}_label", labels, zipped)
    cases = find_cases(tmp_path, tmp_path)
    assert [case.name for case in cases] == ["p1", "p2"]
    for each in cases:
        case = load_case(each)
        assert (case.volume.array == ct).all() and (case.tumor == (labels == 2)).all()
        assert case.volume.spacing == pytest.approx(SPACING)
    # named by either file, or by both as a shell does, it is one scan
    zip_ending = ".gz" * zipped
    files = [tmp_path / f"p1_ct{ending}{zip_ending}" for ending in (".hdr", ".img")]
    jobs, _ = find_jobs(files, tmp_path / "out")
    assert [(job.name, job.image.name) for job in jobs] == [("p1", files[0].name)]
    (one,) = find_cases(files[1], tmp_path / f"p1_label.img{zip_ending}")
    assert one.name == "p1" and (load_case(one).tumor == (labels == 2)).all()
