"""A phantom CT of any length in a scene, a click in it, and the memory in use."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings, segment_slice
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import Box, PlanePrompts, Prompts
from SAMLiverTumorLib.volume import Volume, apply_affine


def phantom(slices: int, edge: int = 512, seed: int = 0) -> Volume:
    """A CT in HU, (slices, edge, edge) int16: body, liver and a dark tumor through the middle half of the slices."""
    random = np.random.default_rng(seed)
    v, u = np.mgrid[-1 : 1 : edge * 1j, -1 : 1 : edge * 1j]
    body = (u / 0.9) ** 2 + (v / 0.7) ** 2 < 1
    liver = ((u + 0.3) / 0.5) ** 2 + ((v + 0.05) / 0.45) ** 2 < 1
    hu = np.where(body, 20, -1000) + np.where(liver, 90, 0)
    noise = random.normal(0, 10, (16, edge, edge))
    voxels = np.empty((slices, edge, edge), np.int16)
    for k in range(slices):
        depth = abs(k - (slices - 1) / 2) / (slices / 4)
        radius = 0.1 * np.sqrt(max(1 - depth**2, 0.2))
        tumor = (u + 0.35) ** 2 + (v + 0.05) ** 2 < radius**2 if depth < 1 else np.zeros_like(body)
        voxels[k] = hu - 55 * tumor + np.roll(noise[k % 16], k, axis=1)  # no two slices are the same
    spacing = 358.0 / edge
    affine = np.diag([-spacing, -spacing, 1.0, 1.0])
    affine[:3, 3] = spacing * edge / 2, spacing * edge / 2, -slices / 2
    return Volume(voxels, affine, f"{edge} x {edge} x {slices}")


def tumor_box(volume: Volume, index: int | None = None, grow: float = 0.0) -> PlanePrompts:
    """A box around the phantom's tumor on an axial slice."""
    edge = volume.dimensions[0]
    center_u, center_v, half = (0.325 * edge, 0.475 * edge, 0.055 * edge + 2 + grow)
    return PlanePrompts(box=(center_u - half, center_v - half, center_u + half, center_v + half))


def box_through(volume: Volume, slices: int) -> Prompts:
    """A box around the tumor through the middle `slices` slices."""
    first = (volume.dimensions[2] - slices) // 2
    u0, v0, u1, v1 = tumor_box(volume).box
    corners = apply_affine(volume.ijk_to_ras, np.array([[u0, v0, first], [u1, v1, first + slices - 1]]))
    return Prompts(box=Box.from_corners(corners[0], corners[1]))


class SceneClick:
    """A scene with a volume and a segment; `click` updates the segment for other prompts on one encoded slice."""

    def __init__(self, volume: Volume, pool: PredictorPool, model: str = "mobile-sam") -> None:
        from SAMLiverTumorLib.mrml.application.headless_scene import createScene
        from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
        from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, createSegmentation

        self._scene = createScene()
        self._node = addVolumeNode(self._scene, volume)
        self._volume, self._pool, self._settings = volumeFromNode(self._node), pool, Settings(model=model)
        segmentation = createSegmentation(self._scene, self._node)
        self._segment = addTumorSegment(segmentation, "Tumor")
        self._writer = SegmentWriter(self._scene, segmentation, self._node)
        self._plane = slice_plane(self._volume, "axial", self._volume.dimensions[2] // 2)
        self._added, self._count = None, 0

    def click(self) -> None:
        """Change the box a little, decode, and write what changed."""
        self._count += 1
        seen = tumor_box(self._volume, grow=self._count % 4)
        found = segment_slice(self._volume, self._plane, seen, self._pool, self._settings)
        self._added = self._writer.write(self._segment, found.mask, previous=self._added)


def present_bytes() -> int | None:
    """Resident memory of this process; None if the system does not provide it."""
    try:
        fields = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in fields if line.startswith("VmRSS")), None)
