"""`PanelPool`: provides networks to the panel's session; reports missing weights instead of downloading them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.model_choice import AUTO, LIVER_TUMOR, choose_model
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.threads.torch_import import import_torch_quietly
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.models.weights import HEADER

#: Stands for the user's own weight file, named by the parameter `modelFile`.
FILE = "file"
_LONGEST_HEADER = 100_000_000
PACKAGES = ("torch", "torchvision", "segment_anything")


class PanelPool:
    """A `PredictorPool` that uses only weights that are on disk already.

    :param store: the store of weights; the user's own by default.
    """

    def __init__(self, store: ModelStore | None = None) -> None:
        self.store = store or ModelStore()
        self._device = "auto"
        self._pool: object | None = None
        self._isComplete = False
        self._fileInfos: dict[str, ModelInfo] = {}

    def use(self, pool: object) -> None:
        """Use another pool that needs neither weight files nor packages."""
        self._pool, self._isComplete = pool, True

    def setDevice(self, device: str) -> None:
        """Load networks to this device from now on."""
        if device != self._device:
            self._device = device
            if not self._isComplete:
                self._pool = None

    def missingPackages(self) -> list[str]:
        """The Python packages that have to be installed first."""
        if self._isComplete:
            return []
        return [name for name in PACKAGES if importlib.util.find_spec(name) is None]

    def missingModels(self, model: str, kinds: Iterable[str]) -> list[ModelInfo]:
        """The models needed for these kinds of prompts that have to be downloaded first."""
        if self._isComplete:
            return []
        return [info for info in modelsFor(model, kinds) if info.is_downloadable and not self.store.is_present(info)]

    def predictor(self, model: str) -> object:
        """The predictor for a model's id or a weight file's path; called in the worker's thread.

        :raises ModelError: the weights or a package are missing; the message names the button to press.
        """
        info = load_registry().get(model)
        if info is None and not self._isComplete:
            self._checkFile(model)
        if info is not None and info.is_downloadable and not self._isComplete and not self.store.is_present(info):
            raise ModelError(f"{info.title} is not on this computer yet: press Segment, or Download in section Model.")
        if missing := self.missingPackages():
            raise ModelError(f"Missing: {', '.join(missing)}. Press Segment to have the Python packages installed.")
        if self._pool is None:
            self._pool = PredictorPool(store=self.store, device=self._device)
        try:
            if not self._isComplete:
                import_torch_quietly()
            predictor = self._pool.predictor(model)
        except (ImportError, OSError) as error:
            raise ModelError(f"PyTorch or segment-anything cannot be loaded, reinstall them: {error}") from error
        if info is None:
            self._fileInfos[model] = predictor.model.info
        return predictor

    def recognized(self, path: str) -> ModelInfo:
        """Load a weight file and identify its network; called in the worker's thread.

        :raises ModelError: it is missing, damaged, or of an unknown network.
        """
        return self.predictor(path).model.info

    def fileInfo(self, path: str) -> ModelInfo | None:
        """What is known about a weight file; None until it has been loaded."""
        return self._fileInfos.get(path)

    def _checkFile(self, path: str) -> None:
        if not path:
            raise ModelError("No weight file is chosen: press 'Use file…' in section Model.")
        isLoaded = self._pool is not None and self._pool.is_loaded(path)
        if not isLoaded and not Path(path).is_file():
            raise ModelError(
                f"The weight file {path} is gone: in section Model press 'Use file…' to choose it again, or "
                "choose another model."
            )


def modelsFor(model: str, kinds: Iterable[str]) -> list[ModelInfo]:
    """The models that a choice stands for; "auto" chooses one per kind of prompt ("points", "box")."""
    registry = load_registry()
    chosen = {choose_model(model, {kind}) for kind in sorted(kinds)} if model == AUTO else {model}
    return [info for model_id, info in registry.items() if model_id in chosen]


def textModel(model: str, concept: str = LIVER_TUMOR) -> str:
    """The model to search for a concept: the chosen one if it knows it, else a registered one; empty if none does.

    :param model: as `chosenModel`.
    """
    registry = load_registry()
    known = registry[model].concepts if model in registry else aboutFile(model).get("concepts", ())
    return model if concept in known else next((id for id, info in registry.items() if concept in info.concepts), "")


def aboutFile(path: str) -> dict[str, Any]:
    """The metadata of a weight file: "concepts", "default_window", ...; empty if it has none.

    Only its header is read: the library for these files would import PyTorch in the GUI thread.
    """
    try:
        status = Path(path).stat()
        isOurs = path.endswith(".safetensors")
        return _aboutFile(path, status.st_size, status.st_mtime_ns) if isOurs else {}
    except OSError:
        return {}


@lru_cache(maxsize=8)
def _aboutFile(path: str, size: int, modified: int) -> dict[str, Any]:
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, _LONGEST_HEADER):
            return {}
        try:
            about = parse_json(parse_json(file.read(length))["__metadata__"][HEADER])
        except (ValueError, KeyError, TypeError):
            return {}
    return about if isinstance(about, dict) else {}


def chosenModel(parameters: Any) -> str:
    """The model that a parameter node names: "auto", a model's id, or the path of a weight file."""
    return parameters.modelFile if parameters.model == FILE else parameters.model
