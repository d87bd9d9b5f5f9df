"""The status texts of section Fine-tune."""

from __future__ import annotations

from html import escape

from slicer.i18n import tr as _

from SAMLiverTumorLib.training.runs.progress_record import CANCELLED, DONE, FAILED, NEW, PREPARING, TrainingRecord


def stateText(record: TrainingRecord, isWatched: bool, isCancelled: bool) -> str:
    """The state of a training run; empty if there is none."""
    if isCancelled:
        return _("Stopping after the current step; progress so far is saved ...")
    if isWatched and record.phase == NEW:
        return _("Starting: loading PyTorch ...")
    if record.phase == PREPARING:
        patient, done, total = record.prepared
        return _("Preparing the slice images of {patient}: {done} of {total} ...").format(
            patient=patient or "-", done=done, total=total
        )
    if record.phase == FAILED:
        return _("Failed: {reason}").format(reason=record.failure)
    if record.phase == CANCELLED:
        return _("Cancelled after step {step}; Resume continues from there.").format(step=record.step)
    if record.phase == DONE:
        return _("Done after {step} steps.").format(step=record.step)
    if not isWatched:
        return ""
    if record.eta_s is None:
        return _("Validating the base model ...")
    losses = record.curve(points=record.step // 10 or 1)
    text = _("Epoch {epoch}, step {step} of {steps}; loss {loss}; about {left} left; {memory} MB of memory.")
    return text.format(
        epoch=record.epoch,
        step=record.step,
        steps=record.steps or "?",
        loss=f"{losses[-1][1]:.3f}" if losses else "-",
        left=_duration(record.eta_s),
        memory=record.memory_mb,
    )


def resultHtml(record: TrainingRecord) -> str:
    """A table of Dice before and after training by kind of prompt; empty before the end."""
    if record.phase != DONE:
        return ""
    head = f"<th align='left'>{_('Dice')}</th><th>{_('before')}</th><th>{_('after')}</th>"
    rows = "".join(
        f"<tr><td>{escape(kind)}</td><td>{_number(before)}</td><td>{_number(record.reached.get(kind))}</td></tr>"
        for kind, before in record.before.items()
    )
    return f"<table cellpadding='3'><tr>{head}</tr>{rows}</table>"


def noteText(record: TrainingRecord) -> str:
    """How it is validated, once known, and the verdict on the new model."""
    parts = [verdict(record)] if record.phase == DONE else []
    if record.split:
        parts.append(_("Validation: {split}.").format(split=record.split))
    return "\n".join(parts)


def verdict(record: TrainingRecord) -> str:
    """Whether the new model was adopted, and why."""
    if record.adopted:
        return _("The new model is better and was adopted: {weights}.").format(weights=record.weights)
    text = _(
        "The new model is not better on these slice images, so it was set aside ({weights}) and the old one is kept."
    )
    return text.format(weights=record.weights)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return _("{count} s").format(count=round(seconds))
    hours, minutes = divmod(minutes, 60)
    text = _("{hours} h {minutes} min") if hours else _("{minutes} min")
    return text.format(hours=hours, minutes=minutes)
