"""One step: losses of a student on examples, with corrections of its own answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SAMLiverTumorLib.training.end_to_end import prompts
from SAMLiverTumorLib.training.end_to_end.crops import normalized
from SAMLiverTumorLib.training.end_to_end.examples import Example
from SAMLiverTumorLib.training.end_to_end.student import Student

_BOX = 0.45
_IOU = 0.1
# Pixels of background that count as much as one lesion: cross entropy of small ones would vanish in a mean.
_AREA = 600.0


def step_losses(
    student: Student,
    examples: Sequence[Example],
    rounds: int,
    rng: np.random.Generator,
    teacher: np.ndarray | None = None,
    half: bool = True,
) -> dict[str, Tensor]:
    """Losses by name: "mask" of prompts, "text", "teacher".

    :param rounds: 1, and one more for each correction.
    :param teacher: embeddings (n, 256, 64, 64) of whole images.
    :param half: compute in bfloat16.
    """
    size = examples[0].images.shape[-1]
    images = normalized(torch.from_numpy(np.stack([example.images for example in examples])))
    corners = [example.corner for example in examples]
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        features = student.image_encoder.features(images)
        places = student.places(corners, size)
        losses: dict[str, Tensor] = {}
        if teacher is not None and (known := [n for n, e in enumerate(examples) if e.teacher >= 0]):
            losses["teacher"] = _teacher_loss(features.embedding[known], [examples[n] for n in known], teacher, size)
        asked = [(n, lesion) for n, example in enumerate(examples) for lesion in example.lesions]
        if asked:
            losses["mask"] = _prompted(student, features, places, asked, corners, rounds, rng)
        texts = [(n, *text) for n, example in enumerate(examples) for text in example.texts]
        if texts:
            image = torch.tensor([n for n, _, _ in texts])
            tokens = torch.stack([student.text(concept) for _, concept, _ in texts])
            targets = torch.from_numpy(np.stack([mask for _, _, mask in texts])).float()[:, None]
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


def _prompted(student, features, places, asked, corners, rounds: int, rng: np.random.Generator) -> Tensor:
    image = torch.tensor([n for n, _ in asked])
    masks = [mask for _, mask in asked]
    offsets = np.array([[corners[n][1], corners[n][0]] for n, _ in asked], np.float32)
    targets = torch.from_numpy(np.stack(masks)).float()[:, None]
    clicks: list[list[tuple[float, float, int]]] = [[] for _ in asked]
    ends: list[list[tuple[float, float, int]]] = []
    for number, mask in enumerate(masks):
        kind = rng.random()
        if kind < _BOX:
            u0, v0, u1, v1 = prompts.box(mask, rng)
            ends.append([(u0, v0, prompts.FIRST_CORNER), (u1, v1, prompts.LAST_CORNER)])
        else:
            u, v = prompts.click(mask, rng)
            clicks[number].append((u, v, prompts.INCLUDE))
            ends.append([(0.0, 0.0, prompts.NOTHING)])
    # a click and the token that stands for nothing are two tokens, as a box is: all are decoded at once
    total, before = [], None
    for number in range(rounds):
        given = [c + e for c, e in zip(clicks, ends, strict=True)]
        at = torch.tensor([[(u, v) for u, v, _ in tokens] for tokens in given]) + torch.from_numpy(offsets)[:, None]
        kinds = torch.tensor([[kind for _, _, kind in tokens] for tokens in given])
        tokens = student.prompt_tokens(at, kinds)
        logits, iou = student.decode(features, places, image, tokens, before)
        loss, shown = mask_loss(logits, iou, targets)
        total.append(loss)
        if number + 1 < rounds:
            before = logits.detach().float()
            marked = (shown.detach() > 0)[:, 0].numpy()
            for own, mask, mark in zip(clicks, masks, marked, strict=True):
                own.append(prompts.correction(mask, mark, rng))
    return torch.stack(total).mean()


def _teacher_loss(embedding: Tensor, examples: Sequence[Example], teacher: np.ndarray, size: int) -> Tensor:
    """Squared error and cosine with the teacher's embedding (n, 256, 64, 64) of the same places."""
    n = size // 8
    wanted = []
    for example in examples:
        row, column = (c // 8 for c in example.corner)
        wanted.append(np.asarray(teacher[example.teacher][:, row : row + n, column : column + n]))
    goal = torch.from_numpy(np.stack(wanted)).float()
    embedding = embedding.float()
    cosine = functional.cosine_similarity(embedding, goal, dim=1).mean()
    return (embedding - goal).square().mean() / goal.var() + 1.0 - cosine
