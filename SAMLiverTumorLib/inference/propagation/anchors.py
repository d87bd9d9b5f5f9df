"""`Anchor`: a slice that the user prompted, drew or corrected; propagation starts there and never changes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.prompts import PlanePrompts


@dataclass(frozen=True, eq=False)
class Anchor:
    """A prompted slice.

    :param index: in the stack.
    :param prompts: of the user on this slice; the network segments them if no mask is given.
    :param slice_mask: the in-plane mask, bool (rows, columns), taken unchanged. An empty one says that the tumor does
        not reach this slice: propagation stops there.
    :param model: the network that made the mask from clicks; None if the user drew it, or it follows from grey values.
    :raises PromptError: there is neither a mask nor an include point or box.

    >>> Anchor(12, PlanePrompts(box=(60, 40, 90, 75))).slice_mask is None
    True
    """

    index: int
    prompts: PlanePrompts | None = None
    slice_mask: np.ndarray | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if self.slice_mask is None and (self.prompts is None or not self.prompts.says_where):
            raise PromptError(f"Nothing says where the tumor is on slice {self.index}; add an include point or a box.")
        if self.slice_mask is not None:
            slice_mask = np.array(self.slice_mask, dtype=bool)
            slice_mask.flags.writeable = False
            object.__setattr__(self, "slice_mask", slice_mask)

    @cached_property
    def key(self) -> str:
        """Hash of index, mask and prompts: equal anchors give equal slices."""
        digest = hashlib.sha256(str(self.index).encode())
        if self.slice_mask is not None:
            digest.update(repr(self.slice_mask.shape).encode())
            digest.update(np.packbits(self.slice_mask))
        elif self.prompts is not None:
            p = self.prompts
            box = None if p.box is None else [float(x) for x in p.box]
            digest.update(repr((p.points.tolist(), p.labels.tolist(), box)).encode())
            if p.mask is not None:
                digest.update(np.ascontiguousarray(p.mask))
        return digest.hexdigest()

    def as_dict(self) -> dict:
        """Index, prompts in pixels of the slice, and whether the mask was given or predicted: JSON-ready."""
        fields: dict = {"index": self.index, "mask": "given" if self.slice_mask is not None else "predicted"}
        if self.model is not None:
            fields["model"] = self.model
        if self.prompts is not None:
            fields["points"] = np.round(self.prompts.points, 2).tolist()
            fields["labels"] = self.prompts.labels.tolist()
            fields["box"] = None if self.prompts.box is None else [round(float(x), 2) for x in self.prompts.box]
        return fields


def anchors_of_mask(mask: Mask, stack: PlaneStack) -> tuple[Anchor, ...]:
    """An anchor for every plane of a stack that an existing mask crosses.

    :raises PromptError: the mask is empty.
    """
    array = mask.full()
    slice_masks = ((n, stack.slice_mask_of(array, stack.plane(n))) for n in range(stack.first, stack.last + 1))
    anchors = tuple(Anchor(n, slice_mask=slice_mask) for n, slice_mask in slice_masks if slice_mask.any())
    if not anchors:
        raise PromptError("The mask to start from is empty; outline the tumor on at least one slice.")
    return anchors


def check_anchors(stack: PlaneStack, anchors: Sequence[Anchor]) -> None:
    """Refuse anchors that cannot be propagated.

    :raises PromptError: there is none, two are on one slice, or one lies outside the stack.
    """
    if not anchors:
        raise PromptError("Nothing to propagate from; prompt at least one slice.")
    indices = [anchor.index for anchor in anchors]
    for index in indices:
        if not stack.holds(index):
            raise PromptError(
                f"'{stack.volume.name}' has {stack.orientation} slices {stack.first} to {stack.last}; "
                f"there is no slice {index} to propagate from."
            )
        if indices.count(index) > 1:
            raise PromptError(f"Slice {index} is prompted twice; give one set of prompts per slice.")
