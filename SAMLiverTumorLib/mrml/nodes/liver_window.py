"""The display window of a volume: whether it shows the liver, and the window that does."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

WIDTH, LEVEL = 350, 60
"""Window for looking at a CT, in HU: -115 to 235.

Wider and brighter than the radiologist's 150/30: enhanced liver (100 to 120 HU in the portal venous phase) stays grey,
so that lesions in it can be seen.
"""

# Lesions and liver lie between these values (HU). In a wider window they differ by less than a tenth of the grey scale.
_SHOWN_HU = (30.0, 90.0)
_WIDEST_HU = 700.0

# Marks volumes whose window was looked at: what the user chooses later is kept, also in a saved scene.
_SEEN_ATTRIBUTE = "SAMLiverTumor.Window"


@dataclass(frozen=True, eq=False)
class DisplayWindow:
    """The window of a volume's display as a value, for undo.

    :param isAuto: whether Slicer chooses the window from the histogram.
    """

    volumeNode: slicer.vtkMRMLScalarVolumeNode
    isAuto: bool
    width: float
    level: float

    @classmethod
    def of(cls, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> DisplayWindow:
        """The present window; a display node is made if there is none."""
        if volumeNode.GetDisplayNode() is None:
            volumeNode.CreateDefaultDisplayNodes()
        node = volumeNode.GetDisplayNode()
        return cls(volumeNode, bool(node.GetAutoWindowLevel()), node.GetWindow(), node.GetLevel())

    @classmethod
    def ofLiver(cls, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> DisplayWindow:
        """The window that shows the liver of a CT."""
        return cls(volumeNode, False, WIDTH, LEVEL)

    @property
    def exists(self) -> bool:
        """Whether the volume is still in the scene."""
        return self.volumeNode.GetScene() is not None

    @property
    def showsLiver(self) -> bool:
        """Whether lesions can be told from liver in this window of a CT."""
        low, high = self.level - self.width / 2, self.level + self.width / 2
        return low <= _SHOWN_HU[0] and high >= _SHOWN_HU[1] and self.width <= _WIDEST_HU

    @property
    def edges(self) -> dict[str, str]:
        """The values shown black and white, for the user."""
        return {"low": f"{self.level - self.width / 2:g}", "high": f"{self.level + self.width / 2:g}"}

    def isSame(self, other: DisplayWindow) -> bool:
        """Whether both show the volume alike."""
        return (self.isAuto, self.width, self.level) == (other.isAuto, other.width, other.level)

    def apply(self) -> None:
        """Show the volume so."""
        node = DisplayWindow.of(self.volumeNode).volumeNode.GetDisplayNode()
        wasModified = node.StartModify()
        node.SetAutoWindowLevel(self.isAuto)
        if not self.isAuto:
            node.SetWindowLevel(self.width, self.level)
        node.EndModify(wasModified)


def isFirstLook(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the volume's window is looked at for the first time; notes that it was."""
    if volumeNode.GetAttribute(_SEEN_ATTRIBUTE):
        return False
    volumeNode.SetAttribute(_SEEN_ATTRIBUTE, "1")
    return True
