"""The models under comparison: promptable ones and the automatic baseline, each segmenting the trials of one slice.

Torch is imported only when a contestant is created, not with this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.datasets.reference_prompts import (
    box_around,
    box_too_large,
    deepest_point,
    largest_error,
    scribble_through,
    shares,
    wide_lasso,
)
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window, parse_window
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.inference.prediction import Embedding
    from SAMLiverTumorLib.inference.predictor import Predictor
    from SAMLiverTumorLib.models.networks.unet import Unet

# ways of prompting
AUTOMATIC, TEXT, ONE_POINT, THREE_POINTS = "automatic", "text", "1 point", "3 points"
BOX, LARGE_BOX, CORRECTED = "box", "box 20 % too large", "1 point + 3 corrections"
SCRIBBLE, LASSO = "scribble", "lasso"

# number of clicks -> way of prompting whose mask is then complete
_AFTER = {1: ONE_POINT, 3: THREE_POINTS, 4: CORRECTED}
UNET_PREFIX = "unet:"

LITS_NOTE = (
    "LiteMedSAM was probably trained on LiTS, which includes the Medical Segmentation Decathlon's liver cases and most "
    "of 3D-IRCADb: its figures there are not for unseen patients."
)


@dataclass(frozen=True, eq=False)
class TrialMasks:
    """The masks of one slice from one way of prompting.

    :param trials: one mask per trial, bool (rows, columns).
    :param whole: everything segmented on the slice, also outside all trials, bool (rows, columns).
    """

    trials: Sequence[np.ndarray]
    whole: np.ndarray


class Contestant(Protocol):
    """A model under comparison.

    :param name: for tables.
    :param sha256: of its weights.
    :param seen: patients on which it was trained or chosen, as far as its file lists them.
    :param seen_hashes: hashes of those patients' voxels.
    :param note: on its training.
    """

    name: str
    sha256: str
    seen: tuple[str, ...]
    seen_hashes: frozenset[str]
    note: str

    def segment_trials(
        self, case: Case, plane: Plane, trials: Sequence[np.ndarray], cancel: Callable[[], bool] | None = None
    ) -> dict[str, TrialMasks]:
        """Segment the trials of one axial slice in every way of prompting that the model supports."""
        ...


def contestant(
    name: str, pool: PredictorPool, window: Window | None = None, device: str = "cpu", quality: str = "full"
) -> Contestant:
    """A contestant by its name on the command line: a model id, a weight file, or `unet:FILE`.

    :param window: of promptable models; None for `shown_window`.
    :param quality: of promptable models, "full" or "best", see `inference/mirror_averaging.py`.
    :raises ModelError: there is no such model or file, or it cannot be downloaded or loaded.
    """
    if name.startswith(UNET_PREFIX):
        from SAMLiverTumorLib.models.networks.unet import load_unet

        path = Path(name.removeprefix(UNET_PREFIX))
        return UnetContestant(load_unet(path, device), path.name)
    from SAMLiverTumorLib.models.weights import read_about

    about = read_about(Path(name)) if Path(name).is_file() else None
    role = "" if quality == "full" else f"({quality})"
    return SamContestant(pool.predictor(name), window, (about or {}).get("card", {}), role=role, quality=quality)


def shown_window(volume: Volume, preset: str) -> Window:
    """The model's preset for a volume in HU; 0 to 255 for 8-bit grey values; otherwise the whole intensity range."""
    if volume.looks_like_hounsfield:
        return parse_window(preset)
    low, high = volume.intensity_range
    return Window(min(low, 0.0), max(high, 255.0)) if high <= 255 else Window(low, high)


@dataclass(frozen=True, eq=False)
class UnetContestant:
    """The automatic baseline, whose mask is clipped to the liver if the labels have one."""

    unet: Unet
    file_name: str

    @property
    def name(self) -> str:
        """For tables."""
        return f"U-Net {self.file_name}"

    @property
    def sha256(self) -> str:
        """Of the weight file."""
        return self.unet.sha256

    @property
    def seen(self) -> tuple[str, ...]:
        """Patients on which it was trained or validated."""
        return (*self.unet.card.get("training_cases", ()), *self.unet.card.get("validation_cases", ()))

    @property
    def seen_hashes(self) -> frozenset[str]:
        """Hashes of their voxels."""
        return frozenset(self.unet.card.get("data_sha256", {}).values())

    @property
    def note(self) -> str:
        """How it was trained."""
        card = self.unet.card
        return (
            f"MONAI 2D U-Net, {card.get('steps', '?')} steps in {card.get('seconds', '?')} s on "
            f"{len(card.get('training_cases', ()))} patients, validation Dice {card.get('best_validation_dice', '?')}."
        )

    def segment_trials(
        self, case: Case, plane: Plane, trials: Sequence[np.ndarray], cancel: Callable[[], bool] | None = None
    ) -> dict[str, TrialMasks]:
        """Segment the slice, and match the objects found with the trials."""
        from SAMLiverTumorLib.models.networks.unet import predict_planes

        whole = _in_liver(predict_planes(self.unet, case.volume, [plane])[0], case, plane)
        return {AUTOMATIC: TrialMasks(shares(whole, trials), whole)}

    def volume(
        self, case: Case, progress: Callable[[int, int | None], None] | None, cancel: Callable[[], bool] | None
    ) -> np.ndarray:
        """Tumor in the whole volume, bool (k, j, i)."""
        from SAMLiverTumorLib.models.networks.unet import predict_volume

        return predict_volume(self.unet, case.volume, case.liver, progress, cancel)


@dataclass(frozen=True, eq=False)
class SamContestant:
    """A promptable model, prompted in each way for which it was trained.

    :param window: None for `shown_window`.
    :param about: the card in its weight file, if it was fine-tuned with this program.
    :param windows: by name of a case; these take precedence over `window`.
    :param role: added to its name in tables, such as "zero-shot".
    :param quality: "full", or "best" to average with the mirror image.
    """

    predictor: Predictor
    window: Window | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    windows: Mapping[str, Window] = field(default_factory=dict)
    role: str = ""
    quality: str = "full"

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.predictor.model.info.id} {self.role}".strip()

    @property
    def sha256(self) -> str:
        """Of the weight file."""
        return self.predictor.model.sha256

    @property
    def seen(self) -> tuple[str, ...]:
        """Patients on which it was fine-tuned or validated, by its card."""
        split = self.about.get("split", {})
        return (*split.get("train", ()), *split.get("validation", ()))

    @property
    def seen_hashes(self) -> frozenset[str]:
        """Hashes of their voxels."""
        hashes = self.about.get("data_sha256", {})
        return frozenset(hashes[name] for name in self.seen if name in hashes)

    @property
    def note(self) -> str:
        """A note on its training."""
        return LITS_NOTE if self.predictor.model.info.id == "lite-medsam" else self.predictor.model.info.notes

    def segment_trials(
        self, case: Case, plane: Plane, trials: Sequence[np.ndarray], cancel: Callable[[], bool] | None = None
    ) -> dict[str, TrialMasks]:
        """Segment each trial by a box, by points and by corrective clicks; by text, the whole slice at once."""
        info = self.predictor.model.info
        window = self.windows.get(case.name) or self.window or shown_window(case.volume, info.default_window)
        rgb, best = plane_to_rgb(case.volume, plane, window, info.channels), self.quality == "best"
        embedding = self.predictor.embed(rgb, plane.spacing[1::-1], cancel, mirrored=best)
        found: dict[str, TrialMasks] = {}
        if "text" in info.prompts:
            whole = _in_liver(self.predictor.predict_text(embedding, _concept(info.concepts)).mask, case, plane)
            found[TEXT] = TrialMasks(shares(whole, trials), whole)
        by_trial: dict[str, list[np.ndarray]] = {}
        for mask in trials:
            for way, prompts in self._drawn(mask, plane).items():
                by_trial.setdefault(way, []).append(self.predictor.predict(embedding, prompts).mask)
            if "points" in info.prompts:
                for way, predicted in self._clicked(embedding, mask).items():
                    by_trial.setdefault(way, []).append(predicted)
        for way, masks in by_trial.items():
            found[way] = TrialMasks(masks, np.logical_or.reduce(masks))
        return found

    def liver(self, case: Case, cancel: Callable[[], bool] | None = None) -> np.ndarray | None:
        """The liver in the whole volume, bool (k, j, i); None where the model knows no text for it.

        :raises Cancelled: `cancel` answers true.
        """
        from SAMLiverTumorLib.inference.model_choice import shown_channels
        from SAMLiverTumorLib.inference.text_search import ORGAN, as_organ, axial_slices, search_slices

        info, volume = self.predictor.model.info, case.volume
        if ORGAN not in info.concepts:
            return None
        window = self.windows.get(case.name) or self.window or shown_window(volume, info.default_window)
        shown = shown_channels("single", info)
        indices = axial_slices(volume, None)
        mask, done = search_slices(volume, self.predictor, ORGAN, indices, window, shown, cancel=cancel)
        if done < len(indices):
            raise Cancelled("Cancelled; nothing was written.")
        return as_organ(mask, volume).full()

    def _drawn(self, mask: np.ndarray, plane: Plane) -> dict[str, PlanePrompts]:
        """Prompts that are answered once: boxes, and the curves that the model understands."""
        from SAMLiverTumorLib.inference.mask_prompts import lasso_prompts

        info, made = self.predictor.model.info, {}
        if "box" in info.prompts:
            made[BOX] = PlanePrompts(box=box_around(mask))
            made[LARGE_BOX] = PlanePrompts(box=box_too_large(mask))
        if "points" in info.prompts:
            path = scribble_through(mask)
            made[SCRIBBLE] = PlanePrompts(path, [1] * len(path))
        if {"box", "mask"} <= info.prompts:
            made[LASSO] = lasso_prompts(wide_lasso(mask), plane, info)
        return made

    def _clicked(self, embedding: Embedding, mask: np.ndarray) -> dict[str, np.ndarray]:
        """The masks after one, three and four clicks; a mask without an error is not corrected further."""
        points, labels, before, states = [deepest_point(mask)], [1], None, {}
        for clicks in range(1, max(_AFTER) + 1):
            prediction = self.predictor.predict(embedding, PlanePrompts(points, labels, mask=before))
            error = largest_error(prediction.mask, mask)
            for after, way in _AFTER.items():
                if after == clicks or (error is None and after > clicks):
                    states[way] = prediction.mask
            if error is None:
                break
            (row, column), include = error
            points, labels = [*points, (column, row)], [*labels, int(include)]
            if "mask" in self.predictor.model.info.prompts:
                before = prediction.low_resolution
        return states


def _in_liver(mask: np.ndarray, case: Case, plane: Plane) -> np.ndarray:
    return mask if case.liver is None else mask & voxels_to_slice_mask(case.liver, plane)


def _concept(concepts: Sequence[str]) -> str:
    """The first of a model's concepts that names a tumor.

    :raises InputError: there is none.
    """
    for concept in concepts:
        if "tumor" in concept or "lesion" in concept:
            return concept
    raise InputError(f"The model's text prompts are {', '.join(concepts)}; none of them names a tumor.")
