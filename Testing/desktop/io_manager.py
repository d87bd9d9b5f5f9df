"""`slicer.app.coreIOManager()`: what slicer.util's loadVolume, loadLabelVolume, loadSegmentation, loadScene and
saveScene need, over the real logics. Loading puts nothing into views; scenes are MRB files."""

from pathlib import Path

import slicer


class CoreIOManager:
    """Reads volumes, segmentations and MRB scenes."""

    def fileType(self, path: str) -> str:
        return "SegmentationFile" if ".seg." in Path(path).name else "VolumeFile"

    def loadNodes(self, fileType: str, properties: dict, loadedNodes=None, messages=None) -> bool:
        """Load one file; False if it cannot be read."""
        path = properties["fileName"]
        if fileType == "SceneFile":
            return self.loadScene(path, properties.get("clear", False))
        node = self._load(fileType, path, properties)
        if node is None:
            return False
        if properties.get("name"):
            node.SetName(properties["name"])
        if loadedNodes is not None:
            loadedNodes.AddItem(node)
        return True

    def loadScene(self, path: str, clear: bool = True) -> bool:
        scene = slicer.mrmlScene
        if clear:
            scene.Clear(False)
        return bool(scene.ReadFromMRB(str(Path(path).absolute()), clear))

    def saveScene(self, path: str) -> bool:
        return bool(slicer.mrmlScene.WriteToMRB(str(Path(path).absolute()), None))

    def saveNodes(self, fileType: str, properties: dict, messages=None) -> bool:
        """Save the scene; single nodes the panel does not save."""
        if fileType != "SceneFile" or not properties["fileName"].endswith(".mrb"):
            raise AttributeError(f"Testing/desktop: only MRB scenes are saved, not {fileType}; add it to io_manager.py")
        return self.saveScene(properties["fileName"])

    def _load(self, fileType: str, path: str, properties: dict):
        if fileType == "SegmentationFile":
            logic = slicer.modules.segmentations.logic()
            return logic.LoadSegmentationFromFile(path, True, properties.get("name", ""))
        if fileType != "VolumeFile":
            raise AttributeError(f"Testing/desktop: no file type {fileType}; add it to io_manager.py")
        name = properties.get("name") or Path(path).name.split(".")[0]
        options = 1 if properties.get("labelmap") else 0
        node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        if node is not None and not options:
            # the application's Colors logic, which is not here, would have given it the grey table
            node.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        return node
