"""What the section Fine-tune says of a training."""

from __future__ import annotations

from html import escape

from slicer.i18n import tr as _

from SAMLiverTumorLib.training.record import CANCELLED, DONE, FAILED, NEW, PREPARING, TrainingRecord


def stateText(record: TrainingRecord, isWatched: bool, isCancelled: bool) -> str:
    """Where a training is; empty where there is none."""
    if isCancelled:
        return _("Ending after the present step; what was learned until then is saved ...")
    if isWatched and record.phase == NEW:
        return _("Starting: PyTorch is being loaded ...")
    if record.phase == PREPARING:
        patient, done, total = record.prepared
        return _("Preparing the pictures of {patient}: {done} of {total} ...").format(
            patient=patient or "-", done=done, total=total
        )
    if record.phase == FAILED:
        return _("Failed: {reason}").format(reason=record.failure)
    if record.phase == CANCELLED:
        return _("Cancelled after step {step}; Resume goes on from there.").format(step=record.step)
    if record.phase == DONE:
        return _("Done after {step} steps.").format(step=record.step)
    if not isWatched:
        return ""
    if record.eta_s is None:
        return _("Measuring the model that it starts from ...")
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
    """Dice before and after by kind of prompt, what became of the new model, and how it was measured."""
    parts = []
    if record.phase == DONE:
        head = f"<th align='left'>{_('Dice')}</th><th>{_('before')}</th><th>{_('after')}</th>"
        rows = "".join(
            f"<tr><td>{escape(kind)}</td><td>{_number(before)}</td><td>{_number(record.reached.get(kind))}</td></tr>"
            for kind, before in record.before.items()
        )
        parts.append(f"<table cellpadding='3'><tr>{head}</tr>{rows}</table>")
        parts.append(verdict(record))
    if record.split:
        parts.append(_("Note: {split}.").format(split=escape(record.split)))
    return "<br>".join(parts)


def verdict(record: TrainingRecord) -> str:
    """What became of the new model, and why."""
    if record.adopted:
        return _("The new model is better and was adopted: {weights}.").format(weights=record.weights)
    text = _("The new model is not better on these pictures, so it was kept aside ({weights}) and the old one stays.")
    return text.format(weights=record.weights)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return _("{count} s").format(count=round(seconds))
    hours, minutes = divmod(minutes, 60)
    return (
        _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)
        if hours
        else _("{count} min").format(count=minutes)
    )
