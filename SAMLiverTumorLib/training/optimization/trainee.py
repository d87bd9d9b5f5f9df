"""The networks in training: prompts simulated, decoded, compared, corrected and decoded again."""

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
    confident_loss,
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
from SAMLiverTumorLib.training.settings import KEPT, LIVER, LIVER_TUMOR

_MOST_LESIONS = 4
_TEXT_BALANCED = 0.3


@dataclass(frozen=True, eq=False)
class Exercise:
    """One picture of a step: what is asked of the network.

    :param sample: the picture.
    :param kind: of prompt; see `simulate.py`.
    :param concept: what text names, with kind "text".
    :param rounds: 1, and one more for each correction.
    :param seed: of everything drawn at random in it.
    :param target: for an unlabeled picture the teacher's probabilities (1, 1, 256, 256), see `teacher.py`.
    :param weight: of its loss.
    """

    sample: Sample
    kind: str
    concept: str
    rounds: int
    seed: tuple[int, ...]
    target: Tensor | None = None
    weight: float = 1.0


class Trainee(nn.Module):
    """A model whose wanted part learns; called with exercises it gives their losses.

    :param model: a loaded model, whose networks are changed.
    :param concepts: what text can name.
    :param train: which part learns, see `settings.py`.
    :param rank: of the adapters with "lora".
    :param text: what makes tokens of text; the model's own, or tokens to learn, if not given.
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
        self.eval()  # batch normalization keeps the statistics it was published with; there is no dropout

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    def forward(self, exercises: Sequence[Exercise]) -> Tensor:
        """Mean loss of exercises."""
        return torch.stack([self.loss(exercise) for exercise in exercises]).mean()

    def features(self, sample: Sample) -> Tensor:
        """The sample's embedding (1, 256, 64, 64)."""
        if self.train_part in KEPT:
            kept = torch.from_numpy(sample.embedding()).to(self.device).float()
            return kept if self.train_part == "decoder" else from_last(self.image_encoder, kept)
        rgb, spacing = sample.rgb()
        geometry = input_geometry(rgb.shape[:2], spacing, self.info.input_size, self.info.resize)
        return self.image_encoder(network_input(rgb, geometry, self.info, self.device))

    def image_side(self, sample: Sample) -> ImageSide:
        """What of decoding is the picture's own."""
        return self._decoder.image_side(self.features(sample))

    def loss(self, exercise: Exercise) -> Tensor:
        """Mean over lesions and rounds of one exercise."""
        if exercise.target is not None:
            image = self.image_side(exercise.sample)
            logits, _ = self.decode(image, None, None, exercise.concept, ambiguous=False)
            return exercise.weight * confident_loss(logits, exercise.target)
        rng = np.random.default_rng(exercise.seed)
        image = self.image_side(exercise.sample)
        lesions = exercise.sample.lesions()
        if exercise.kind == TEXT:
            liver = exercise.sample.liver() if exercise.concept == LIVER else None
            concept, mask = (LIVER_TUMOR, lesions > 0) if liver is None else (LIVER, liver)
            targets = torch.from_numpy(mask[None]).to(image.keys)
            phrase = self.text.phrase(concept, rng)
            logits, iou = self.decode(image, None, None, phrase, ambiguous=False)
            losses, shown = self._compared(logits, iou, targets)
            # begun from noise, text first learns that most of a picture is nothing, and nothing is all it then says:
            # there the other losses have no slope
            return losses.mean() + _TEXT_BALANCED * balanced_cross_entropy(shown[:, 0], targets)
        numbers = list(exercise.sample.numbers)
        if len(numbers) > _MOST_LESIONS:
            numbers = sorted(rng.choice(numbers, _MOST_LESIONS, replace=False).tolist())
        masks = np.stack([lesions == number for number in numbers])
        targets = torch.from_numpy(masks).to(image.keys)
        prompts = first_prompts(masks, exercise.kind, rng)
        total, before = image.keys.new_zeros(()), None
        for number in range(exercise.rounds):
            alone = exercise.kind == POINT and number == 0
            logits, iou = self.decode(image, prompts, before, None, ambiguous=alone)
            losses, shown = self._compared(logits, iou, targets)
            # a single click leaves open what is meant: the best of three answers learns, and the others a little,
            # so that none is lost
            best = losses.argmin(dim=1, keepdim=True)
            total = total + (0.9 * losses.gather(1, best) + 0.1 * losses.mean(dim=1, keepdim=True)).mean()
            if number + 1 < exercise.rounds:
                chosen = iou.argmax(dim=1) if alone else torch.zeros(len(iou), dtype=torch.long, device=iou.device)
                each = torch.arange(len(iou), device=iou.device)
                before = logits[each, chosen][:, None].detach().float()
                marked = (shown[each, chosen] > 0).cpu().numpy()
                prompts = prompts.with_clicks(*corrections(masks, marked, rng))
        return total / exercise.rounds

    def decode(
        self,
        image: ImageSide,
        prompts: SimulatedPrompts | None,
        before: Tensor | None,
        concept: str | None,
        ambiguous: bool,
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (n, m, 256, 256) and predicted IoU (n, m) for n lesions of one picture."""
        points, boxes = (None, None) if prompts is None else prompts.to_input(self.info.input_size / FRAME, self.device)
        text = None if concept is None else self.text(concept)
        return self._decoder.decode(image, points, boxes, before, ambiguous, text)

    @staticmethod
    def _compared(logits: Tensor, iou: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (n, m) and the masks' logits in the frame."""
        shown = to_frame(logits, FRAME)
        return mask_losses(shown, targets) + iou_losses(iou, shown, targets), shown

    def learning(self) -> dict[str, Tensor]:
        """What learns, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}
