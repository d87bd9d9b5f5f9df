"""One step: losses of the network on examples, round by round, with corrections of its own answers between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMLiverTumorLib.inference.whole_tumor.channels import stacked
from SAMLiverTumorLib.training.whole_tumor.corrections import correct
from SAMLiverTumorLib.training.whole_tumor.examples import Example

_ENTROPY = 0.5
# Voxels that count besides the lesion's own: lesions are as large in their crops, whatever their milliliters.
_VOLUME = 400.0


def learn_from(
    network: nn.Module, examples: Sequence[Example], rounds: int, rng: np.random.Generator
) -> dict[str, float]:
    """Add a step's gradients to the network's weights; mean losses "first" and, if there were more rounds, "corrected".

    Each round's gradients are computed at once, so that memory does not grow with the rounds.

    :param rounds: 1, and one more for each correction.
    """
    device = next(network.parameters()).device
    targets = torch.from_numpy(np.stack([each.target for each in examples])).float()[:, None].to(device)
    losses = []
    for number in range(rounds):
        seen = [stacked(e.grey, e.previous, e.slices, e.include, e.exclude) for e in examples]
        logits = network(torch.from_numpy(np.stack(seen)).to(device))
        loss = lesion_loss(logits, targets).mean()
        (loss / rounds).backward()
        losses.append(float(loss.detach()))
        if number + 1 < rounds:
            for example, marked in zip(examples, (logits.detach() > 0)[:, 0].cpu().numpy(), strict=True):
                correct(example, marked, rng)
    return {"first": losses[0], **({"corrected": float(np.mean(losses[1:]))} if rounds > 1 else {})}


def lesion_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice and cross entropy, both by the lesion's volume in its crop, (b,).

    :param logits: (b, 1, n, n, n).
    :param targets: the same shape, 0 or 1.
    """
    over = (1, 2, 3, 4)
    probability = torch.sigmoid(logits)
    volume, shared = targets.sum(over), (probability * targets).sum(over)
    dice = 1.0 - (2.0 * shared + 10.0) / (probability.sum(over) + volume + 10.0)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(over)
    return dice + _ENTROPY * (entropy / (2.0 * volume + _VOLUME)).clamp(max=8.0)
