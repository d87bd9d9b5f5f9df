"""`PredictorPool`: models by id, downloaded and loaded on first use, sharing one embedding cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache, default_disk_cache
from SAMLiverTumorLib.inference.embeddings.memory_cache import EmbeddingCache
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import load_registry

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor

_DEFAULT: DiskCache | None = DiskCache(Path())  # stands for "not given"; never used


class PredictorPool:
    """Predictors by model id or checkpoint file, each loaded once.

    :param confirm: called with a question before anything is downloaded; returns whether to go on.
    :param store: of weight files; the user's own if not given.
    :param device: "auto", "cpu", "cuda", ...
    :param progress: called with the bytes of a download (done, total).
    :param disk: cache that keeps embeddings between sessions; the user's own if not given, None for no disk cache.
    """

    def __init__(
        self,
        confirm: Callable[[str], bool] = lambda question: False,
        store: ModelStore | None = None,
        device: str = "auto",
        progress: Callable[[int, int | None], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        disk: DiskCache | None = _DEFAULT,
    ) -> None:
        self.store = store or ModelStore()
        self.cache = EmbeddingCache(disk=default_disk_cache() if disk is _DEFAULT else disk)
        self._confirm, self._device, self._progress, self._cancel = confirm, device, progress, cancel
        self._predictors: dict[str, Predictor] = {}
        self._stamps: dict[str, tuple[int, int]] = {}

    def is_loaded(self, model: str) -> bool:
        """Whether the model is loaded already."""
        return model in self._predictors

    def predictor(self, model: str) -> Predictor:
        """The predictor for a model id or a checkpoint file, which is loaded again if the file has changed.

        :raises ModelError: unknown id, download declined or failed, damaged or unsuitable checkpoint.
        """
        info = load_registry().get(model)
        stamp = _stamp(Path(model)) if info is None else None
        if model not in self._predictors or (stamp is not None and stamp != self._stamps.get(model)):
            # torch is imported here, not with the module: choosing and listing models does not need it
            from SAMLiverTumorLib.inference.predictor import Predictor
            from SAMLiverTumorLib.models.builders import load_model

            if info is not None:
                path = self.store.fetch(info, confirm=self._confirm, progress=self._progress, cancel=self._cancel)
            else:
                path = Path(model)
                if not path.is_file():
                    raise ModelError(
                        f"'{model}' is neither a known model ({', '.join(load_registry())}) nor a checkpoint file."
                    )
            loaded = load_model(path, info, device=self._device, confirm=self._confirm)
            self._predictors[model] = Predictor(loaded, self.cache)
            self._stamps[model] = stamp
        return self._predictors[model]


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and modification time, to notice a changed file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
