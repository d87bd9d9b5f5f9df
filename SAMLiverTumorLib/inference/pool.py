"""`PredictorPool`: loaded models by id, fetched on first use, sharing one embedding cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import ModelError, PromptError
from SAMLiverTumorLib.inference.cache import EmbeddingCache
from SAMLiverTumorLib.inference.disk_cache import DiskCache, default_disk_cache
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.models.store import ModelStore
from SAMLiverTumorLib.prompts import PlanePrompts

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor

AUTO = "auto"
LIVER_TUMOR = "liver tumor"
"""The concept that models are trained to find."""
_DEFAULT: DiskCache | None = DiskCache(Path())  # stands for "not given"; never used


def choose_model(model: str, kinds: Iterable[str]) -> str:
    """The model to use: `model` itself, or for "auto" the one the registry prefers for all prompt kinds given.

    Where none is preferred for them together, the first that was trained for all of them.

    :param kinds: of "points", "box", "mask", "text".
    :raises PromptError: no model knows them all.
    """
    if model != AUTO:
        return model
    wanted, registry = set(kinds), load_registry()
    for known in ("preferred_for", "prompts"):
        for model_id, info in registry.items():
            if wanted <= getattr(info, known):
                return model_id
    raise PromptError(
        f"No registered model was trained for {' and '.join(sorted(wanted))}; name a weight file that was."
    )


def check_prompts(prompts: PlanePrompts, info: ModelInfo | None) -> None:
    """Refuse prompts that name nothing, or that a model was not trained for.

    :param info: the model, or None where that is not known yet.
    :raises PromptError: saying which.
    """
    if not prompts.says_where:
        raise PromptError("Exclude points alone name no structure; add an include point or a box.")
    untrained = prompts.kinds - info.prompts if info is not None else ()
    if untrained:
        raise PromptError(
            f"Model '{info.id}' was trained for {' and '.join(sorted(info.prompts))} prompts, not for "
            f"{' or '.join(sorted(untrained))}; choose liver-tumor, or leave those prompts out."
        )


def check_concept(concept: str, info: ModelInfo) -> str:
    """The concept as the model spells it; any phrase where the model takes any.

    :raises PromptError: the model knows no text, or not this concept.
    """
    wanted = " ".join(concept.lower().split())
    if not info.concepts:
        raise PromptError(f"Model '{info.id}' knows no text prompts; choose liver-tumor, or one trained with text.")
    if info.open_text and wanted:
        return wanted
    if wanted not in info.concepts:
        known = " and ".join(f"'{each}'" for each in info.concepts)
        raise PromptError(f"Model '{info.id}' does not know '{concept}'; text can name {known}.")
    return wanted


class PredictorPool:
    """Predictors by model id or checkpoint file, each loaded once.

    :param confirm: asked before anything is downloaded; gets the question, returns the answer.
    :param store: where weights lie; the user's own store if not given.
    :param device: "auto", "cpu", "cuda", ...
    :param progress: told of a download's bytes (done, total).
    :param disk: where embeddings are kept from one session to the next; the user's own cache if not given, None
        for nowhere.
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
        """Whether `predictor` has the model at hand."""
        return model in self._predictors

    def predictor(self, model: str) -> Predictor:
        """The predictor for a model id or the path of a checkpoint file, which is loaded again when it has changed.

        :raises ModelError: unknown id, download declined or failed, damaged or foreign checkpoint.
        """
        info = load_registry().get(model)
        stamp = _stamp(Path(model)) if info is None else None
        if model not in self._predictors or (stamp is not None and stamp != self._stamps.get(model)):
            # torch loads here, not with the module: choosing and listing models needs none of it
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
    """Changes with the file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
