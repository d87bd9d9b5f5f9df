"""Seeds of the kinds that people have, as the tests make them: DICOM series, prompt tables, markups, dataset.json."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from unittest import mock

from fuzz.target import Files


def dicom_kinds() -> dict[str, Files]:
    """Series of three to five slices: tilted, uneven, in phases, rounded, de-identified, beside a scout, enhanced."""
    import dicom_case as case

    uids = (f"1.2.826.0.1.3680043.10.999.5.{n}" for n in itertools.count(1))
    fixed = {name: f"1.2.826.0.1.3680043.10.999.6.{name[1:3].encode().hex()}" for name in ("STUDY", "SERIES")}
    with (
        tempfile.TemporaryDirectory() as made,
        mock.patch.multiple(case, generate_uid=lambda: next(uids), FRAME_OF_REFERENCE="1.2.826.1.7", **fixed),
    ):
        top = Path(made)
        case.write_series(top / "tilt", 4, change=lambda k: case.at(case.STEP * k, down=0.4 * k))
        heights = (0, 2.5, 5, 10)
        case.write_series(top / "uneven", 4, change=lambda k: case.at(heights[k]))
        case.write_series(top / "rounded", 4, change=lambda k: case.at(round(1.25 * k, 1)), SliceThickness=1.25)
        case.write_series(top / "phases", 3, "a{}", AcquisitionNumber=1)
        case.write_series(top / "phases", 3, "b{}", AcquisitionNumber=2, RescaleIntercept=-1000)
        case.write_series(top / "identifiers", 4, change=lambda k: {"FrameOfReferenceUID": f"1.2.{k}"}, StudyID="1")
        case.write_series(top / "none", 4, FrameOfReferenceUID=None, PixelRepresentation=None, InstanceNumber=None)
        case.write_series(top / "scout", 3, "a{}")
        turned = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        case.write_series(top / "scout", 1, "scout", SeriesInstanceUID="1.2.3", SeriesNumber=1, **turned)
        for name in ("one", "two"):
            (top / f"enhanced {name}").mkdir()
        case.write_enhanced(top / "enhanced one" / "x.dcm", 4, order=[2, 0, 3, 1])
        case.write_enhanced(top / "enhanced two" / "x.dcm", 3, order=[0, 1, 2, 0, 1, 2], slopes=[1] * 3)
        # with the ending that the damage to elements is chosen by
        return {
            folder.name: {f"{Path(file.name).stem}.dcm": file.read_bytes() for file in sorted(folder.iterdir())}
            for folder in sorted(top.iterdir())
        }


def tables() -> dict[str, Files]:
    """Tables of prompts as spreadsheets save them."""
    rows = "case;kind;r;a;s;r2;a2;s2;segment\nliver_7;box;12,5;-80;40;38;\u221255;61;\nliver_7;exclude;20;-60;50;;;;\n"
    tabs = rows.replace(";", "\t")
    return {
        "three": {"x.csv": _TABLE},
        "german": {"x.csv": rows.replace("\u2212", "\u2013").encode("cp1252")},
        "sep": {"x.csv": b"\xef\xbb\xbfsep=;\r\n" + rows.replace("\n", "\r\n").encode()},
        "unicode text": {"x.csv": b"\xff\xfe" + tabs.encode("utf-16-le")},
        "old mac": {"x.csv": _TABLE.replace(b"\n", b"\r")},
        "gbk": {
            "x.csv": "病例,kind,r,a,s\nliver_7,include,1,2,3\n".encode("gbk").replace("病例".encode("gbk"), b"case")
        },
    }


_TABLE = b"""case,kind,r,a,s,r2,a2,s2,segment
liver_7,box,12.5,-80,40,38,-55,61,
liver_7,exclude,20,-60,50,,,,
liver_9,include,-4,-71.2,118,,,,left lobe
"""


def old_markups() -> dict[str, Files]:
    """Markups of Slicer 4, of the first schema, with a byte order mark and a number as the coordinate system."""
    columns = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    head = f"# Markups fiducial file version = 4.10\n# CoordinateSystem = 0\n# columns = {columns}\n"
    row = 'vtkMRMLMarkupsFiducialNode_0,9,-3,-252,0,0,0,1,1,1,0,"F-1, left",,\n'
    points = [{"id": "1", "label": "F-1", "position": [9.0, -3.0, -252.0]}]
    one = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
    schema = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    text = json.dumps({"@schema": f"{schema}markups-schema-v1.0.0.json#", "markups": [one]})
    numbered = json.dumps({"markups": [{**one, "coordinateSystem": 1}]})
    return {
        "fcsv": {"points.fcsv": (head + row).encode()},
        "1.0.0": {"points.mrk.json": text.encode()},
        "mark": {"points.mrk.json": b"\xef\xbb\xbf" + numbered.encode()},
    }


def dataset_jsons() -> dict[str, Files]:
    """A label map beside the `dataset.json` of a Decathlon set, of nnU-Net's second version, and with regions."""
    from fuzz import seeds

    label = seeds.image_bytes(".nii", labels=True)
    about = {
        "decathlon": {"name": "HepaticVessel", "labels": {"0": "background", "1": "Vessel", "2": "Tumour"}},
        "nnunet": {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1, "liver": 2}, "numTraining": 2},
        "regions": {"labels": {"background": 0, "whole liver": [1, 2], "tumor": 2}, "regions_class_order": [1, 2]},
    }
    # the files lie flat in a folder here, where the reader looks as well
    return {name: {"dataset.json": json.dumps(each).encode(), "x.nii": label} for name, each in about.items()}
