"""What goes into a session's propagation and what comes out of it, slice by slice; light to import."""

from __future__ import annotations

from dataclasses import dataclass

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.prompts import PlanePrompts


@dataclass(frozen=True, eq=False)
class PromptedSlice:
    """A slice that the user prompted, or whose mask is to be followed.

    :param index: its place in the stack.
    :param prompts: what the plane sees of the prompts; None where there is only a mask.
    :param mask: what is shown for it, to be kept as it is; None has the network make it.
    """

    index: int
    prompts: PlanePrompts | None = None
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class Followed:
    """One slice's voxels, None where the tumor does not reach it any more, and the model (JSON-ready) or None."""

    index: int
    mask: Mask | None
    model: dict | None
