"""The networks in training: simulate prompts, decode, compute the loss, simulate corrections and decode again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from SAMLiverTumorLib.inference.decoder import Decoder, ImageSide
from SAMLiverTumorLib.models.builders import SamModel
from SAMLiverTumorLib.models.clip.clip_text import ClipText
from SAMLiverTumorLib.models.networks.encoder_split import from_last, last_parts
from SAMLiverTumorLib.models.networks.text_tokens import TextTokens
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.models.preprocessing.network_input import network_input
from SAMLiverTumorLib.training.optimization.losses import (
    balanced_cross_entropy,
    iou_losses,
    mask_losses,
    to_frame,
)
from SAMLiverTumorLib.training.samples.embedded_samples import FRAME, Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import (
    POINT,
    TEXT,
    SimulatedPrompts,
    corrections,
    first_prompts,
)
from SAMLiverTumorLib.training.settings import FROZEN_ENCODER, LIVER, LIVER_TUMOR

# Lesions of a slice image that one example uses at most.
_MOST_LESIONS = 4
# Weight of the balanced cross entropy in the loss of text prompts.
_TEXT_BALANCED = 0.3


@dataclass(frozen=True, eq=False)
class TrainingExample:
    """One slice image of a step, with the kind of prompt to simulate.

    :param sample: the slice image.
    :param kind: of prompt, see `samples/simulated_prompts.py`.
    :param concept: that the text names, with kind "text".
    :param rounds: 1, plus one for each correction.
    :param seed: of all random numbers in it.
    """

    sample: Sample
    kind: str
    concept: str
    rounds: int
    seed: tuple[int, ...]


class TrainableModel(nn.Module):
    """A model of which the chosen part learns; called with examples, it returns their mean loss.

    :param model: a loaded model, whose networks are changed in place.
    :param concepts: that text prompts learn.
    :param train: which part learns, see `settings.TRAINABLE`.
    :param rank: of the adapters, with "lora".
    :param text: text encoder; by default the model's own, or learned tokens.
    """

    def __init__(
        self,
        model: SamModel,
        concepts: Sequence[str],
        train: str = "decoder",
        rank: int = 8,
        text: ClipText | None = None,
    ) -> None:
        super().__init__()
        self.info, self.train_part = model.info, train
        self.image_encoder, self.prompt_encoder = model.image_encoder, model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        self.text = text or model.text or TextTokens({})
        self.text.add(concepts, device=model.device)
        self.requires_grad_(False)
        for part in (self.prompt_encoder, self.mask_decoder, self.text):
            part.requires_grad_(True)
        if train == "lora":
            from SAMLiverTumorLib.models.lora import add_lora

            add_lora(self.image_encoder, rank)
        elif train == "last":
            for part in last_parts(self.image_encoder):
                part.requires_grad_(True)
        elif train == "all":
            self.image_encoder.requires_grad_(True)
        self._decoder = Decoder(self.prompt_encoder, self.mask_decoder)
        self.eval()  # batch normalization keeps its published statistics; there is no dropout

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.parameters()).device

    def forward(self, examples: Sequence[TrainingExample]) -> Tensor:
        """Mean loss of the examples."""
        return torch.stack([self.loss(example) for example in examples]).mean()

    def features(self, sample: Sample) -> Tensor:
        """The sample's embedding (1, 256, 64, 64)."""
        if self.train_part in FROZEN_ENCODER:
            cached = torch.from_numpy(sample.embedding()).to(self.device).float()
            return cached if self.train_part == "decoder" else from_last(self.image_encoder, cached)
        rgb, spacing = sample.rgb()
        geometry = input_geometry(rgb.shape[:2], spacing, self.info.input_size, self.info.resize)
        return self.image_encoder(network_input(rgb, geometry, self.info, self.device))

    def image_side(self, sample: Sample) -> ImageSide:
        """The part of decoding that depends on the slice image alone."""
        return self._decoder.image_side(self.features(sample))

    def loss(self, example: TrainingExample) -> Tensor:
        """Loss of one example: mean over lesions and rounds."""
        rng = np.random.default_rng(example.seed)
        image = self.image_side(example.sample)
        lesions = example.sample.lesions()
        if example.kind == TEXT:
            liver = example.sample.liver() if example.concept == LIVER else None
            concept, mask = (LIVER_TUMOR, lesions > 0) if liver is None else (LIVER, liver)
            targets = torch.from_numpy(mask[None]).to(image.keys)
            phrase = self.text.phrase(concept, rng)
            logits, iou = self.decode(image, None, None, phrase, ambiguous=False)
            losses, framed = self._losses(logits, iou, targets)
            # Starting from noise, text first learns that most of a slice image is background, and then predicts
            # nothing at all: there the other losses have no slope.
            return losses.mean() + _TEXT_BALANCED * balanced_cross_entropy(framed[:, 0], targets)
        numbers = list(example.sample.numbers)
        if len(numbers) > _MOST_LESIONS:
            numbers = sorted(rng.choice(numbers, _MOST_LESIONS, replace=False).tolist())
        masks = np.stack([lesions == number for number in numbers])
        targets = torch.from_numpy(masks).to(image.keys)
        prompts = first_prompts(masks, example.kind, rng)
        total, before = image.keys.new_zeros(()), None
        for number in range(example.rounds):
            alone = example.kind == POINT and number == 0
            logits, iou = self.decode(image, prompts, before, None, ambiguous=alone)
            losses, framed = self._losses(logits, iou, targets)
            # A single click is ambiguous: the best of the three proposals learns, and the others a little, so that
            # none is lost.
            best = losses.argmin(dim=1, keepdim=True)
            total = total + (0.9 * losses.gather(1, best) + 0.1 * losses.mean(dim=1, keepdim=True)).mean()
            if number + 1 < example.rounds:
                chosen = iou.argmax(dim=1) if alone else torch.zeros(len(iou), dtype=torch.long, device=iou.device)
                each = torch.arange(len(iou), device=iou.device)
                before = logits[each, chosen][:, None].detach().float()
                marked = (framed[each, chosen] > 0).cpu().numpy()
                prompts = prompts.with_clicks(*corrections(masks, marked, rng))
        return total / example.rounds

    def decode(
        self,
        image: ImageSide,
        prompts: SimulatedPrompts | None,
        before: Tensor | None,
        concept: str | None,
        ambiguous: bool,
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (n, m, 256, 256) and predicted IoU (n, m) for n lesions of one slice image."""
        points, boxes = (None, None) if prompts is None else prompts.to_input(self.info.input_size / FRAME, self.device)
        text = None if concept is None else self.text(concept)
        return self._decoder.decode(image, points, boxes, before, ambiguous, text)

    @staticmethod
    def _losses(logits: Tensor, iou: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (n, m), and the logits resampled to the frame."""
        framed = to_frame(logits, FRAME)
        return mask_losses(framed, targets) + iou_losses(iou, framed, targets), framed

    def learnable(self) -> dict[str, Tensor]:
        """The weights that learn, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}
