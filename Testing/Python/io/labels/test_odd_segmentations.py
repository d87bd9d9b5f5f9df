"""Segmentations as Slicer, slicerio, pynrrd, MONAI Label and ITK-SNAP leave them are read as Slicer reads them."""

import numpy as np
import pytest
from support.cli_case import read_in_slicer
from support.nifti_files import AFFINE, scan
from support.segmentation_files import named, write_segmentation

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource

_, LABELS = scan()
LIVER, TUMOR = (LABELS > 0).astype(np.uint8), (LABELS == 2).astype(np.uint8)
BOTH = np.stack([LIVER, TUMOR])


def counts(labels):
    return {name: int(mask.sum()) for name, mask in labels.segments.items()}


def by_slicer(path):
    """Name -> number of voxels of each segment, by Slicer's own storage node."""
    node = read_in_slicer(path)
    segmentation = node.GetSegmentation()
    found = {}
    for n in range(segmentation.GetNumberOfSegments()):
        source = segmentSource(node, segmentation.GetNthSegmentID(n))
        found[source.name] = int(np.count_nonzero(source.array == source.value))
    return found


@pytest.mark.parametrize("ending", ["seg.nrrd", "nrrd", "nii.gz"])
def test_layers_are_segments_under_whatever_ending(tmp_path, ending):
    segments = [named("liver"), named("tumor", layer=1)]
    labels = read_labels(write_segmentation(tmp_path / f"case.{ending}", BOTH, segments))
    assert counts(labels) == {"liver": LIVER.sum(), "tumor": TUMOR.sum()}
    assert np.array_equal(labels.segments["tumor"], TUMOR > 0)
    assert labels.notes == ()
    if ending == "seg.nrrd":
        assert by_slicer(tmp_path / "case.seg.nrrd") == counts(labels)


@pytest.mark.parametrize(
    "left_out", [("ID",), ("Name",), ("Layer",), ("LabelValue",), ("LabelValue", "Layer"), ("ID", "Layer")]
)
def test_minimal_fields_are_enough(tmp_path, left_out):
    segments = [{k: v for k, v in named("liver").items() if k not in left_out}]
    labels = read_labels(write_segmentation(tmp_path / "case.seg.nrrd", LIVER, segments))
    assert list(counts(labels).values()) == [LIVER.sum()]


@pytest.mark.parametrize("kinds", ["", "??? domain domain domain", "none domain domain domain"])
def test_a_list_axis_without_its_name_is_one(tmp_path, kinds):
    """Slicer 5.13's reader ends the process over these, so it cannot be asked."""
    path = write_segmentation(tmp_path / "case.seg.nrrd", BOTH, [named("liver"), named("tumor", layer=1)], kinds=kinds)
    labels = read_labels(path)
    assert counts(labels) == {"liver": LIVER.sum(), "tumor": TUMOR.sum()}
    assert np.allclose(labels.ijk_to_ras, AFFINE)


def test_a_header_apart_from_its_voxels_is_read_without_the_names_of_its_axes_too(tmp_path):
    segments = [named("liver"), named("tumor", layer=1)]
    whole = write_segmentation(tmp_path / "case.seg.nrrd", BOTH, segments, kinds="", further=["data file: case.raw.gz"])
    header, _, voxels = whole.read_bytes().partition(b"\n\n")
    whole.rename(tmp_path / "case.nhdr").write_bytes(header + b"\n\n")
    (tmp_path / "case.raw.gz").write_bytes(voxels)
    assert counts(read_labels(tmp_path / "case.nhdr")) == {"liver": LIVER.sum(), "tumor": TUMOR.sum()}


def test_a_file_that_does_not_say_where_it_lies_says_so(tmp_path):
    path = write_segmentation(tmp_path / "bare.nrrd", LABELS, [])
    lines = [line for line in path.read_bytes().split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(b"\n".join(lines))
    labels = read_labels(path)
    assert labels.label_values == {"1": 1, "2": 2}
    assert "check left and right" in labels.notes[0]


def test_bzip2_is_refused_with_what_to_save_it_as(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", LIVER, [named("liver")])
    path.write_bytes(path.read_bytes().replace(b"encoding: gzip", b"encoding: bzip2"))
    with pytest.raises(InputError, match=r"compressed with bzip2.*save it with gzip"):
        read_labels(path)


def test_a_list_axis_of_one_is_one_layer(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", TUMOR[None], [named("Liver tumor")])
    assert counts(read_labels(path)) == by_slicer(path) == {"Liver tumor": TUMOR.sum()}


@pytest.mark.parametrize("name", ["肝脏", '肿瘤 <b>"S4/8"</b> 2|x:y', "Läsion\tmit Tab", "a:=b", "  spaces  "])
def test_names_of_any_language_and_sign_are_kept(tmp_path, name):
    path = write_segmentation(tmp_path / "case.seg.nrrd", LIVER, [named(name)])
    assert list(read_labels(path).entries) == [name.strip()]


def test_segments_of_one_value_in_one_layer_are_the_same_voxels_and_it_is_said(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", LIVER, [named("liver"), named("tumor")])
    labels = read_labels(path)
    assert counts(labels) == by_slicer(path) == {"liver": LIVER.sum(), "tumor": LIVER.sum()}
    assert labels.notes == (
        "In 'case.seg.nrrd' segments 'liver', 'tumor' have one value in one layer: the same voxels.",
    )


def test_a_segment_of_value_0_is_empty_and_it_is_said(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", LABELS, [named("liver"), named("background", 0)])
    labels = read_labels(path)
    assert counts(labels) == {"liver": (LABELS == 1).sum(), "background": 0}
    assert "'background' has the value 0" in labels.notes[0]


def test_voxels_that_no_segment_names_are_left_out_and_it_is_said(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", LABELS, [named("liver")])
    labels = read_labels(path)
    assert counts(labels) == {"liver": (LABELS == 1).sum()}
    assert labels.notes == (
        f"{(LABELS == 2).sum():,} voxels of 'case.seg.nrrd' belong to no segment (values 2); they are left out.",
    )


def test_an_empty_segment_among_others_is_empty(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", LIVER, [named("liver"), named("to do", 5)])
    assert counts(read_labels(path)) == {"liver": LIVER.sum(), "to do": 0}


def test_values_above_8_bits_are_values(tmp_path):
    array = LIVER.astype(np.uint16) * 700
    path = write_segmentation(tmp_path / "case.seg.nrrd", array, [named("liver", 700)])
    assert counts(read_labels(path)) == {"liver": LIVER.sum()}


def test_a_cropped_file_lies_where_its_voxels_are_whatever_its_extent_says(tmp_path):
    box = tuple(slice(a.min(), a.max() + 1) for a in np.nonzero(TUMOR))
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [box[2].start, box[1].start, box[0].start, 1])[:3]
    segments = [named("Liver tumor", Extent="0 39 0 31 0 11")]
    path = write_segmentation(tmp_path / "case.seg.nrrd", TUMOR[box], segments, affine)
    moved, notes = onto_grid(read_labels(path), AFFINE, LABELS.shape[::-1])
    assert np.array_equal(moved.segments["Liver tumor"], TUMOR > 0)
    assert notes == ()


def test_a_layer_that_is_not_there_is_refused(tmp_path):
    path = write_segmentation(tmp_path / "case.seg.nrrd", BOTH, [named("liver", layer=2)])
    with pytest.raises(InputError, match="no layer 2, where Segment0 should be"):
        read_labels(path)
