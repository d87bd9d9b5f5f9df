"""Text prompts in an open vocabulary: a phrase's CLIP vector, projected to tokens by weights that are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.clip.clip_source import ClipChoice, ClipEncoder, find_clip, header_of, load_clip
from SAMLiverTumorLib.models.networks.text_tokens import TEXT_PREFIX, TOKENS, WIDTH, key_of

PHRASES: Mapping[str, tuple[str, ...]] = {
    "liver tumor": (
        *("liver tumor", "liver tumors", "liver lesion", "hepatic tumor", "hepatic lesion", "tumor in the liver"),
        *("liver metastasis", "hepatocellular carcinoma", "a CT scan of a liver tumor"),
    ),
    "liver": ("liver", "the liver", "hepatic parenchyma", "whole liver", "a CT scan of the liver"),
}
"""Synonyms of each concept for training, so that the projection learns what phrases have in common."""


class ClipText(nn.Module):
    """Tokens of any phrase, as `TextTokens` gives them of those it learned.

    CLIP itself is frozen and no part of the weights. It is loaded for a phrase whose vector is not stored; those of the
    training run are stored, so that they need neither open_clip nor its weights.

    >>> text = ClipText(16, lambda: encoder, about)                             # doctest: +SKIP
    >>> text("hypodense nodule").shape                                          # doctest: +SKIP
    torch.Size([4, 256])

    :param width: of CLIP's vectors.
    :param clip: loads the encoder; called once, when it is needed.
    :param about: what the header of a weight file says of it, see `clip_source.header_of`.
    """

    def __init__(
        self,
        width: int,
        clip: Callable[[], ClipEncoder],
        about: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.about = dict(about)
        self.projection = nn.Linear(width, TOKENS * WIDTH)
        # tokens begin as small as learned ones do, and differ from each other; the same each time
        generator = torch.Generator().manual_seed(width)
        with torch.no_grad():
            self.projection.weight.normal_(0.0, 0.02, generator=generator)
            self.projection.bias.normal_(0.0, 0.02, generator=generator)
        self.vectors = nn.Module()
        self._clip: Callable[[], ClipEncoder] | ClipEncoder = clip
        self._asked: dict[str, Tensor] = {}

    @property
    def concepts(self) -> tuple[str, ...]:
        """Phrases whose vectors are kept."""
        return tuple(key.replace("_", " ") for key in self.vectors.state_dict())

    def add(self, concepts: Iterable[str], device: torch.device | str = "cpu") -> None:
        """Keep the vectors of concepts, and of what else they are called."""
        for concept in concepts:
            for phrase in PHRASES.get(concept, (concept,)):
                if not hasattr(self.vectors, key_of(phrase)):
                    self.vectors.register_buffer(key_of(phrase), self._encoder().encode(phrase))
        self.to(device)

    def phrase(self, concept: str, rng: np.random.Generator) -> str:
        """One of the ways to say a concept: as often as not the concept itself."""
        others = PHRASES.get(concept, (concept,))
        return concept if rng.random() < 0.5 else others[int(rng.integers(len(others)))]

    def forward(self, phrase: str) -> Tensor:
        """(tokens, 256) of a phrase.

        :raises ModelError: it needs CLIP, which cannot be had.
        """
        return self.projection(self._vector(phrase)).reshape(TOKENS, WIDTH)

    def _vector(self, phrase: str) -> Tensor:
        key = key_of(phrase)
        if hasattr(self.vectors, key):
            return getattr(self.vectors, key)
        if key not in self._asked:
            self._asked[key] = self._encoder().encode(phrase)
        return self._asked[key].to(self.projection.weight.device)

    def _encoder(self) -> ClipEncoder:
        if not isinstance(self._clip, ClipEncoder):
            encoder = self._clip()
            if encoder.sha256 != self.about["sha256"] or encoder.width != self.projection.in_features:
                raise ModelError(
                    f"The CLIP weights '{encoder.name}' are not those of '{self.about['name']}' that this model was "
                    "trained with; give the same."
                )
            self._clip = encoder
        return self._clip

    def load_vectors(self, vectors: Mapping[str, Tensor]) -> None:
        """Keep vectors by key."""
        for key, vector in vectors.items():
            self.vectors.register_buffer(key, vector.float())


def new_clip_text(choice: ClipChoice, confirm: Callable[[str], bool]) -> ClipText:
    """Text to be trained with a CLIP model.

    :raises ModelError: see `load_clip`.
    """
    encoder = load_clip(choice, confirm)
    return ClipText(encoder.width, lambda: encoder, header_of(choice, encoder))


def clip_text_of_file(
    state: Mapping[str, Tensor], about: Mapping[str, Any], path: Path, confirm: Callable[[str], bool]
) -> ClipText:
    """The text of a weight file.

    :param state: its tensors; others than those of text are passed over.
    :param about: the header's "text_encoder".
    :raises ModelError: the header or the tensors are damaged.
    """
    state = {name.removeprefix(TEXT_PREFIX): value for name, value in state.items() if name.startswith(TEXT_PREFIX)}
    try:
        width = state["projection.weight"].shape[1]
        vectors = {name.removeprefix("vectors."): v for name, v in state.items() if name.startswith("vectors.")}
        missing = {"name", "model", "weights", "local", "sha256"} - about.keys()
        if missing or any(vector.shape != (width,) for vector in vectors.values()):
            raise ValueError("its text encoder")
        text = ClipText(width, partial(_find_and_load, dict(about), path, confirm), about)
        text.projection.load_state_dict({n: state[f"projection.{n}"].float() for n in ("weight", "bias")})
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ModelError(f"The weight file '{path.name}' is damaged ({error}); copy it again.") from error
    text.load_vectors(vectors)
    return text


def _find_and_load(about: dict[str, Any], path: Path, confirm: Callable[[str], bool]) -> ClipEncoder:
    return load_clip(find_clip(about, path.parent), confirm)
