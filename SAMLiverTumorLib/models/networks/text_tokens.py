"""Text prompts from a closed vocabulary: a few tokens for each concept, trained with the decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np

TOKENS = 4
"""Tokens of a concept; as many as a box with two clicks has."""

WIDTH = 256
"""Of a token."""

TEXT_PREFIX = "text."
"""Prefix of the names of text weights in a file."""


class TextTokens(nn.Module):
    """Learned prompt tokens by concept, such as "liver tumor".

    They go to the mask decoder where tokens of points and boxes go, so that nothing else of the network changes. They
    need neither a text encoder nor the network connection to fetch one.

    >>> TextTokens({"liver": torch.zeros(4, 256)})("liver").shape
    torch.Size([4, 256])

    :param tokens: (n, 256) for each concept.
    """

    def __init__(self, tokens: Mapping[str, Tensor]) -> None:
        super().__init__()
        # names of parameters may not hold dots, and keep to what files of weights can hold
        self.tokens = nn.ParameterDict({key_of(concept): nn.Parameter(value) for concept, value in tokens.items()})

    @property
    def concepts(self) -> tuple[str, ...]:
        """What text can name."""
        return tuple(key.replace("_", " ") for key in self.tokens)

    def add(self, concepts: Iterable[str], device: torch.device | str = "cpu") -> None:
        """Add concepts that are not there yet, with small random tokens; the same each time."""
        for concept in concepts:
            if key_of(concept) in self.tokens:
                continue
            generator = torch.Generator().manual_seed(sum(concept.encode()))
            values = 0.02 * torch.randn(TOKENS, WIDTH, generator=generator)
            self.tokens[key_of(concept)] = nn.Parameter(values.to(device))

    def forward(self, concept: str) -> Tensor:
        """(tokens, 256) of a concept.

        :raises KeyError: there is no such concept.
        """
        return self.tokens[key_of(concept)]

    def phrase(self, concept: str, rng: np.random.Generator) -> str:
        """The phrase for a concept in training: always the concept itself."""
        return concept


def split_text(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A weight file's content without text tokens, and the tokens by concept."""
    tokens = {
        name[len(TEXT_PREFIX) :].removeprefix("tokens.").replace("_", " "): value
        for name, value in state.items()
        if name.startswith(TEXT_PREFIX)
    }
    return {name: value for name, value in state.items() if not name.startswith(TEXT_PREFIX)}, tokens


def key_of(concept: str) -> str:
    """A concept as part of a parameter's name."""
    return " ".join(concept.lower().split()).replace(" ", "_")
