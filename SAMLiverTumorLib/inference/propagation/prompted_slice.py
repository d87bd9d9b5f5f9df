"""Input and output of a session's propagation, slice by slice; imports neither SciPy nor PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.prompts import PlanePrompts


@dataclass(frozen=True, eq=False)
class PromptedSlice:
    """A slice that the user prompted, or whose mask is to be propagated.

    :param index: in the stack.
    :param prompts: those on its plane; None if there is only a mask.
    :param mask: its present voxels, to be kept; None if the network is to segment it.
    """

    index: int
    prompts: PlanePrompts | None = None
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class PropagatedSlice:
    """A slice after propagation.

    :param index: in the stack.
    :param mask: its voxels; None if the tumor no longer reaches it.
    :param model: provenance of the model, JSON-ready, or None.
    """

    index: int
    mask: Mask | None
    model: dict | None
