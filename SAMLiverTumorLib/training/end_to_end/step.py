"""One step: losses of a student on examples, with corrections of its own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SAMLiverTumorLib.inference.mask_prompts import MOST_LOGIT
from SAMLiverTumorLib.training.end_to_end import prompts
from SAMLiverTumorLib.training.end_to_end.crops import normalized
from SAMLiverTumorLib.training.end_to_end.examples import Example
from SAMLiverTumorLib.training.end_to_end.student import Student

# Shares of the kinds of prompts; the rest are clicks.
_LASSO, _SCRIBBLE, _BOX = 0.08, 0.08, 0.42
# People click again where nothing has changed.
_AGAIN = 0.05
# Prompts decoded at once: more do not fit into a processor's cache.
_AT_ONCE = 6
_IOU = 0.1
# Pixels of background that count as much as one lesion: cross entropy of small ones would vanish in a mean.
_AREA = 600.0


def step_losses(
    student: Student,
    examples: Sequence[Example],
    rounds: int,
    rng: np.random.Generator,
    half: bool = True,
) -> dict[str, Tensor]:
    """Losses by name: "mask" of prompts, "text".

    :param rounds: 1, and one more for each correction.
    :param half: compute in bfloat16.
    """
    size = examples[0].images.shape[-1]
    device = next(student.parameters()).device
    images = normalized(torch.from_numpy(np.stack([example.images for example in examples])).to(device))
    corners = [example.corner for example in examples]
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        features = student.image_encoder.features(images)
        places = student.places(corners, size)
        losses: dict[str, Tensor] = {}
        asked = [(n, lesion) for n, example in enumerate(examples) for lesion in example.lesions]
        if asked:
            losses["mask"] = _prompted(student, features, places, asked, corners, rounds, rng)
        texts = [(n, *text) for n, example in enumerate(examples) for text in example.texts]
        if texts:
            image = torch.tensor([n for n, _, _ in texts], device=device)
            tokens = torch.stack([student.text(concept) for _, concept, _ in texts])
            targets = torch.from_numpy(np.stack([mask for _, _, mask in texts])).float()[:, None].to(device)
            logits, iou = student.decode(features, places, image, tokens, None)
            loss, _ = mask_loss(logits, iou, targets)
            losses["text"] = loss.mean()
    return losses


def mask_loss(logits: Tensor, iou: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Dice, cross entropy and the error of the predicted IoU, (p,); and the logits at the targets' size.

    :param logits: (p, 1, h / 2, w / 2).
    :param iou: (p, 1).
    :param targets: float (p, 1, h, w), 0 or 1.
    """
    shown = functional.interpolate(logits.float(), targets.shape[-2:], mode="bilinear", align_corners=False)
    probability = torch.sigmoid(shown)
    over = (1, 2, 3)
    area, shared = targets.sum(over), (probability * targets).sum(over)
    dice = 1.0 - (2.0 * shared + 10.0) / (probability.sum(over) + area + 10.0)
    entropy = functional.binary_cross_entropy_with_logits(shown, targets, reduction="none").sum(over)
    entropy = entropy / (2.0 * area + _AREA)
    with torch.no_grad():
        marked = shown > 0
        either = torch.logical_or(marked, targets > 0.5).sum(over)
        true = torch.where(either > 0, (marked & (targets > 0.5)).sum(over) / either.clamp(min=1), 1.0)
    return dice + 0.5 * entropy.clamp(max=8.0) + _IOU * (iou[:, 0].float() - true).square(), shown


@dataclass(eq=False)
class _Asked:
    """One prompt, and the clicks that correct its answers.

    :param image: number of the example.
    :param mask: bool (size, size), the lesion.
    :param clicks: (u, v, kind) in pixels of the crop.
    :param ends: the tokens after them: corners of a box, or the one that stands for nothing.
    :param lasso: bool (size, size), what a closed curve encloses.
    """

    image: int
    mask: np.ndarray
    clicks: list[tuple[float, float, int]]
    ends: list[tuple[float, float, int]]
    lasso: np.ndarray | None = None


def _drawn_prompt(image: int, mask: np.ndarray, rng: np.random.Generator) -> _Asked:
    nothing = [(0.0, 0.0, prompts.NOTHING)]
    kind = rng.random()
    if kind < _LASSO:
        enclosed = prompts.lasso(mask, rng)
        return _Asked(image, mask, [], _corners(prompts.bounds(enclosed)), enclosed)
    if kind < _LASSO + _SCRIBBLE:
        return _Asked(image, mask, [(u, v, prompts.INCLUDE) for u, v in prompts.scribble(mask, rng)], nothing)
    if kind < _LASSO + _SCRIBBLE + _BOX:
        return _Asked(image, mask, [], _corners(prompts.box(mask, rng)))
    return _Asked(image, mask, [(*prompts.click(mask, rng), prompts.INCLUDE)], nothing)


def _corners(box: tuple[float, float, float, float]) -> list[tuple[float, float, int]]:
    return [(*box[:2], prompts.FIRST_CORNER), (*box[2:], prompts.LAST_CORNER)]


def _prompted(student, features, places, lesions, corners, rounds: int, rng: np.random.Generator) -> Tensor:
    asked = [_drawn_prompt(n, mask, rng) for n, mask in lesions]
    device = features.embedding.device
    targets = torch.from_numpy(np.stack([each.mask for each in asked])).float()[:, None].to(device)
    before, has_before = _enclosed(asked, device)
    total = []
    for number in range(rounds):
        logits, iou = _answers(student, features, places, asked, corners, before, has_before)
        loss, shown = mask_loss(logits, iou, targets)
        total.append(loss)
        if number + 1 < rounds:
            before, has_before = logits.detach().float(), None
            marked = (shown.detach() > 0)[:, 0].cpu().numpy()
            for each, mark in zip(asked, marked, strict=True):
                if each.clicks and rng.random() < _AGAIN:
                    each.clicks.append(each.clicks[-1])
                else:
                    each.clicks.append(prompts.correction(each.mask, mark, rng))
    return torch.stack(total).mean()


def _enclosed(asked: Sequence[_Asked], device) -> tuple[Tensor | None, Tensor | None]:
    """Lassos as masks so far, (p, 1, size / 2, size / 2), and whose they are, bool (p,)."""
    if not any(each.lasso is not None for each in asked):
        return None, None
    drawn = np.stack([each.mask * 0 if each.lasso is None else each.lasso for each in asked]).astype(np.float32)
    logits = functional.avg_pool2d(torch.from_numpy(drawn)[:, None], 2) * 2.0 - 1.0
    return (MOST_LOGIT * logits).to(device), torch.tensor([e.lasso is not None for e in asked], device=device)


def _answers(student, features, places, asked: Sequence[_Asked], corners, before, has_before) -> tuple[Tensor, Tensor]:
    """Logits and IoU of all prompts; a few of those with as many tokens are decoded at once."""
    device = features.embedding.device
    sizes = [len(each.clicks) + len(each.ends) for each in asked]
    alike = [[n for n, own in enumerate(sizes) if own == size] for size in sorted(set(sizes))]
    parts = []
    for chosen in [each[start : start + _AT_ONCE] for each in alike for start in range(0, len(each), _AT_ONCE)]:
        given = [asked[n].clicks + asked[n].ends for n in chosen]
        # in pixels of the frame, where the crop's corner is (row, column)
        offsets = torch.tensor([corners[asked[n].image][::-1] for n in chosen], dtype=torch.float32)
        at = torch.tensor([[(u, v) for u, v, _ in tokens] for tokens in given]) + offsets[:, None]
        kinds = torch.tensor([[kind for _, _, kind in tokens] for tokens in given])
        index = torch.tensor(chosen, device=device)
        logits, iou = student.decode(
            features,
            places,
            torch.tensor([asked[n].image for n in chosen], device=device),
            student.prompt_tokens(at.to(device), kinds.to(device)),
            None if before is None else before[index],
            None if has_before is None else has_before[index],
        )
        parts.append((chosen, logits, iou))
    order = torch.tensor(np.argsort(np.concatenate([chosen for chosen, _, _ in parts])), device=device)
    return torch.cat([part[1] for part in parts])[order], torch.cat([part[2] for part in parts])[order]
