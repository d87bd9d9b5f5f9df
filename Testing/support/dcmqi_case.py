"""DICOM SEG as dcmqi reads it, the program through which Slicer loads it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk


def by_dcmqi(path, folder):
    """(image by segment number, dcmqi's description of it by segment number, what it complained of)."""
    program = Path(pytest.importorskip("dcmqi", reason="pip install sam-liver-tumor[dev]").__file__).parent / "bin"
    folder.mkdir()
    call = [program / "segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    described = json.loads((folder / "meta.json").read_text())["segmentAttributes"]
    images = {n: sitk.ReadImage(str(folder / f"{n}.nrrd")) for n in range(1, len(described) + 1)}
    return images, {n: group[0] for n, group in enumerate(described, 1)}, done.stderr


def marked(image, value):
    """LPS of an image's voxels of a value, sorted."""
    indices = np.argwhere(sitk.GetArrayFromImage(image) == value)[:, ::-1]
    directions = np.array(image.GetDirection()).reshape(3, 3)
    return in_order(image.GetOrigin() + (indices * image.GetSpacing()) @ directions.T)


def in_order(points):
    """Points (n, 3) sorted; hundredths of a mm apart, at the most, are the same place."""
    return points[np.lexsort(np.round(points, 2).T)]
