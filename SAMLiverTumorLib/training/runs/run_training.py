"""A whole training run: base model, samples, loop, comparison, and a new model that is adopted only if it is better."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.datasets.patient_aliases import aliases, without_patients
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.models.builders import SamModel
from SAMLiverTumorLib.models.clip.clip_source import PREFIX, parse_clip
from SAMLiverTumorLib.models.clip.clip_text import ClipText, new_clip_text
from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.networks.text_tokens import TextTokens
from SAMLiverTumorLib.models.registry import ModelInfo
from SAMLiverTumorLib.models.weights import describe, save_weights
from SAMLiverTumorLib.training.optimization.checkpoint_state import TrainingState, load_state
from SAMLiverTumorLib.training.optimization.distributed import Processes, join, leave, local_device
from SAMLiverTumorLib.training.optimization.loop import Diverged, epoch_kinds, score_of, train
from SAMLiverTumorLib.training.optimization.schedule import Schedule
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel
from SAMLiverTumorLib.training.optimization.validation import KINDS, overall, validate
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.base_model import check_trainable, open_base, sample_store
from SAMLiverTumorLib.training.runs.process import RESULTS, TrainingProcess, job_lock
from SAMLiverTumorLib.training.runs.resume_checks import check_resumable, check_same_data
from SAMLiverTumorLib.training.runs.weight_file import file_content, mixture
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.samples.prepare import TrainingSet, prepare
from SAMLiverTumorLib.training.samples.simulated_prompts import TEXT
from SAMLiverTumorLib.training.settings import TOKENS, TrainSettings

ADOPTED, NOT_ADOPTED = RESULTS

# Shares of the new weights in mixtures with the old ones; Wortsman et al., "Robust fine-tuning of zero-shot models",
# CVPR 2022.
_BLENDS = (0.85, 0.7, 0.5)


@dataclass(frozen=True)
class Outcome:
    """The result of a training run.

    :param adopted: whether the new model is better on the comparison.
    :param weights: its file; None if the run was cancelled.
    :param before, after: kind of prompt -> patient -> Dice.
    """

    adopted: bool
    weights: Path | None
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]


def run_training(
    settings: TrainSettings,
    report: Reporter,
    resume: bool = False,
    confirm: Callable[[str], bool] = lambda question: False,
    cancel: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train with these settings, in the folder `settings.out`.

    :param resume: continue the run in the folder.
    :param confirm: called with a question before the base model is downloaded.
    :raises SAMLiverTumorError: the user can fix it.
    """
    processes = join()
    try:
        folder = _run_folder(settings, resume)
        with job_lock(folder, TrainingProcess) if processes.first else nullcontext():
            return _run(folder, settings, report, resume, confirm, cancel, processes)
    finally:
        leave()


def _run(
    folder: Path,
    settings: TrainSettings,
    report: Reporter,
    resume: bool,
    confirm: Callable[[str], bool],
    cancel: Callable[[], bool],
    processes: Processes,
) -> Outcome:
    state = load_state(folder) if resume else TrainingState(settings=settings.as_dict())
    check_resumable(state.settings, settings.as_dict())
    torch.manual_seed(settings.seed)
    device = local_device(settings.device)
    resolve_device(device)
    model = open_base(settings.base, confirm, device)
    check_trainable(settings.train, model)
    store = sample_store(Path(settings.cache) if settings.cache else folder / "pictures", model, settings.train)
    report("start", settings=settings.as_dict(), base=model.sha256, resumed_at=state.step)
    samples = prepare(
        settings,
        store,
        lambda name, done, total: report("prepare", patient=name, done=done, total=total),
        cancel,
        lambda text: report("note", text=text),
        channels=model.info.channels,
    )
    report(
        "data",
        train=len(samples.train),
        validation=len(samples.validation),
        test=len(samples.test),
        encoded=store.encoded,
        split=samples.split.note,
    )
    if processes.any(cancel(), model.device):
        report("cancelled", step=state.step)
        return Outcome(False, None, {}, {})
    check_same_data(state.data, samples.hashes)
    state.data = samples.hashes
    trainable = TrainableModel(model, settings.concepts, settings.train, settings.rank, _text(settings, model, confirm))
    old = {name: weight.detach().cpu().clone() for name, weight in trainable.learnable().items()}
    compared = samples.test or samples.validation
    kinds = [kind for kind in KINDS if settings.concepts or kind != TEXT]
    before = validate(trainable, compared, kinds, cancel)
    if state.best_epoch == 0 and not state.best:
        state.best, state.best_score = old, score_of(_epoch_scores(trainable, samples.validation, settings, cancel))
        report("validation", epoch=0, step=0, score=state.best_score, dice=overall(before))
    # scores on part of the slice images must neither be compared nor saved
    if processes.any(cancel(), model.device):
        report("cancelled", step=state.step)
        return Outcome(False, None, {}, {})
    schedule = Schedule(settings, samples.train)
    try:
        state = train(trainable, schedule, samples.validation, settings, state, folder, report, cancel, processes)
    except Diverged as error:
        report("note", text=str(error))
        if not state.best_epoch:
            raise
    if cancel():
        return Outcome(False, None, before, {})
    share = _blend(trainable, old, state, samples.validation, settings, report, cancel)
    after = validate(trainable, compared, kinds, cancel)
    if cancel():
        report("cancelled", step=state.step)
        return Outcome(False, None, before, {})
    adopted = state.best_epoch > 0 and score_of(after) > score_of(before)
    path = folder / (ADOPTED if adopted else NOT_ADOPTED)
    if processes.first:
        card = _card(settings, model, trainable.text, samples, state, before, after, share, adopted)
        weights, origin = file_content(model, trainable, settings.rank)
        if not settings.names:
            card = without_patients(card, aliases(samples.hashes))
        save_weights(path, weights, {**describe(_new_info(model, settings)), **origin, "card": card}, settings.half)
        report("done", adopted=adopted, before=overall(before), after=overall(after), weights=path.name)
    return Outcome(adopted, path, before, after)


def _text(settings: TrainSettings, model: SamModel, confirm: Callable[[str], bool]) -> ClipText | None:
    """CLIP's text encoder if the settings ask for it; None for that of the base model, or for learned tokens."""
    if settings.text_encoder == TOKENS or not settings.concepts:
        if isinstance(model.text, ClipText) and settings.concepts:
            raise InputError(
                f"'{settings.base}' encodes text with CLIP; add --text-encoder {PREFIX}, or start from another model."
            )
        return None
    choice = parse_clip(settings.text_encoder)
    if not isinstance(model.text, ClipText):
        return new_clip_text(choice, confirm)
    if settings.text_encoder != PREFIX and choice.name != model.text.about["name"]:
        raise InputError(
            f"'{settings.base}' uses the text encoder CLIP {model.text.about['name']}, which cannot be replaced."
        )
    return None


def _run_folder(settings: TrainSettings, resume: bool) -> Path:
    if not settings.out:
        raise InputError("Choose a folder for the training run: --out RUN.")
    folder = Path(settings.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Folder '{folder}' cannot be created ({error.strerror}); choose another.") from error
    used = [name for name in ("last.pt", ADOPTED, NOT_ADOPTED) if (folder / name).exists()]
    if used and not resume:
        raise OutputError(f"'{folder}' already holds a training run; continue with --resume, or choose another folder.")
    return folder


def _epoch_scores(trainable: TrainableModel, validation: Sequence[Sample], settings: TrainSettings, cancel):
    return validate(trainable, validation, epoch_kinds(settings), cancel)


@torch.no_grad()
def _blend(trainable: TrainableModel, old, state: TrainingState, validation, settings, report, cancel) -> float:
    """Load the best epoch's weights, or their best mixture with the old ones; the share of the new weights."""
    learnable = trainable.learnable()

    def put(share: float) -> None:
        for name, weight in mixture(old, state.best, share).items():
            learnable[name].copy_(weight)

    best, best_score = 1.0, state.best_score
    if settings.blend and state.best_epoch:
        for share in _BLENDS:
            put(share)
            score = score_of(_epoch_scores(trainable, validation, settings, cancel))
            report("note", text=f"{share:.0%} of the new weights with the old ones: {score:.4f}")
            if score > best_score:
                best, best_score = share, score
    put(best)
    return best


def _new_info(model: SamModel, settings: TrainSettings) -> ModelInfo:
    info = model.info
    prompts = {"points", "box", "mask"} | ({"text"} if settings.concepts else set())
    base = info.title
    return replace(
        info,
        title=f"{base}, fine-tuned",
        prompts=frozenset(prompts | (info.prompts & {"text"})),
        default_window=settings.window,
        notes=f"Fine-tuned from {base} ({settings.base}); see the card in the file.",
        concepts=tuple(dict.fromkeys((*info.concepts, *settings.concepts))),
    )


def _card(
    settings: TrainSettings,
    model: SamModel,
    text: TextTokens | ClipText,
    samples: TrainingSet,
    state: TrainingState,
    before: dict,
    after: dict,
    share: float,
    adopted: bool,
) -> dict[str, Any]:
    values = settings.as_dict()
    # the weight file may be passed on: it must reveal neither folders nor a patient's identifiers
    for name in ("images", "labels", "out", "cache", "hold_out", "series"):
        values.pop(name)
    if isinstance(text, ClipText):
        values["text_encoder"] = f"{PREFIX}:{text.about['name']}"
    return {
        "base": {"id": model.info.id, "sha256": model.sha256},
        "settings": values,
        "split": {
            "train": list(samples.split.train),
            "validation": list(samples.split.validation),
            "test": list(samples.split.test),
            "note": samples.split.note,
        },
        "data_sha256": samples.hashes,
        "pictures": {"train": len(samples.train), "validation": len(samples.validation), "test": len(samples.test)},
        "best_epoch": state.best_epoch,
        "share_of_new_weights": share,
        "history": [{"epoch": entry["epoch"], "score": entry["score"]} for entry in state.history],
        "compared_on": "test" if samples.test else "validation, which also chose the epoch",
        "before": before,
        "after": after,
        "adopted": adopted,
        "versions": {"sam-liver-tumor": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
