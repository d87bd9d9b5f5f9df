"""Files for tests of the console program: volumes as other programs write them, markups as Slicer does."""

import numpy as np
import SimpleITK as sitk
import slicer

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.mrml.application.headless_scene import createScene

# The phantom's lesion: a ball of 14 mm around voxel (34, 44, 10), slices 4 mm apart.
CENTER = (50.5, -25.75, -272.0)
ONE_SLICE = "--box=35.5,-41.75,-272,65.5,-9.75,-272"

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_volume(path, volume):
    """A volume to a file, through SimpleITK."""
    affine = _LPS @ volume.ijk_to_ras
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing)
    image.SetDirection((affine[:3, :3] / volume.spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path), True)
    return path


def write_points(path, points):
    """Points (RAS, mm) to a .mrk.json, by Slicer's own storage node, which stores them as LPS."""
    node = createScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    for point in points:
        node.AddControlPointWorld(*point)
    return _write_markups(path, node)


def write_roi(path, center, size):
    """A straight box (RAS, mm) to a .mrk.json, by Slicer's own storage node."""
    node = createScene().AddNewNodeByClass("vtkMRMLMarkupsROINode")
    node.SetCenter(*center)
    node.SetSize(*size)
    return _write_markups(path, node)


def _write_markups(path, node):
    storage_node = node.CreateDefaultStorageNode()
    storage_node.UnRegister(None)
    storage_node.SetFileName(str(path))
    assert storage_node.WriteData(node)
    return path


def read_segment(path):
    """(mask on the file's grid as bool (k, j, i), SimpleITK image) of a .seg.nrrd with one segment."""
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image) > 0, image


def read_in_slicer(path):
    """A segmentation node with the file's content, in a new scene."""
    node = createScene().AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage_node = slicer.vtkMRMLSegmentationStorageNode()
    storage_node.SetFileName(str(path))
    assert storage_node.ReadData(node)
    return node


def run(*words):
    """Exit status of `sam-liver-tumor segment ...`."""
    return main(["segment", *map(str, words)])


def refused(capsys, *words):
    """The one line that a run refuses with."""
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("sam-liver-tumor: error: ")
    return line


def files(folder):
    """Names of everything in a folder, hidden and nested ones included."""
    return sorted(p.name for p in folder.rglob("*"))
