"""Further phases at the panel: what test programs begin with."""

PHASES = """
import numpy as np
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.segments import provenance
from SAMLiverTumorLib.volume import Volume

pictures = []
embed = user.network.embed
def watched(rgb, *arguments, **options):
    pictures.append(rgb.copy())
    return embed(rgb, *arguments, **options)
user.network.embed = watched

def phase(value, shift=(0, 0, 0), name="arterial"):
    array = np.full(user.volume.array.shape, value, np.int16)
    array[0, 0, 0] = -1000
    affine = user.volume.ijk_to_ras.copy()
    affine[:3, 3] += shift
    return addVolumeNode(slicer.mrmlScene, Volume(array, affine, name))

def registrations():
    nodes = slicer.util.getNodesByClass("vtkMRMLLinearTransformNode")
    return [node for node in nodes if node.GetAttribute("SAMLiverTumor.Registration")]

def settle():
    # what moves a phase is heard of in the next event
    user.finish()
    user.finish()

def grey(hu, low, high):
    return round(255 * min(max((hu - low) / (high - low), 0), 1))
"""
