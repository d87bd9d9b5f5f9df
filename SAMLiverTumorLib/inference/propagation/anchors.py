"""`Anchor`: a slice that the user prompted, drew or corrected; a propagation starts there and never changes it."""

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

    :param index: its place in the stack.
    :param prompts: what the user said there; the network makes a mask of it if no picture is given.
    :param picture: bool (rows, columns), the mask to take as it is. An empty one says that the tumor does not
        reach this slice: propagation ends there.
    :param model: the network that drew the picture from clicks; None where the user, or a rule, did.
    :raises PromptError: neither of them, or prompts that name nothing.

    >>> Anchor(12, PlanePrompts(box=(60, 40, 90, 75))).picture is None
    True
    """

    index: int
    prompts: PlanePrompts | None = None
    picture: np.ndarray | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if self.picture is None and (self.prompts is None or not self.prompts.says_where):
            raise PromptError(f"Nothing says where the tumor is on slice {self.index}; add an include point or a box.")
        if self.picture is not None:
            picture = np.array(self.picture, dtype=bool)
            picture.flags.writeable = False
            object.__setattr__(self, "picture", picture)

    @cached_property
    def key(self) -> str:
        """Hash of all it says: equal anchors give equal slices."""
        digest = hashlib.sha256(str(self.index).encode())
        if self.picture is not None:
            digest.update(repr(self.picture.shape).encode())
            digest.update(np.packbits(self.picture))
        elif self.prompts is not None:
            p = self.prompts
            box = None if p.box is None else [float(x) for x in p.box]
            digest.update(repr((p.points.tolist(), p.labels.tolist(), box)).encode())
            if p.mask is not None:
                digest.update(np.ascontiguousarray(p.mask))
        return digest.hexdigest()

    def as_dict(self) -> dict:
        """Slice, prompts in its pixels and whether the mask was given: JSON-ready."""
        said: dict = {"index": self.index, "mask": "given" if self.picture is not None else "predicted"}
        if self.model is not None:
            said["model"] = self.model
        if self.prompts is not None:
            said["points"] = np.round(self.prompts.points, 2).tolist()
            said["labels"] = self.prompts.labels.tolist()
            said["box"] = None if self.prompts.box is None else [round(float(x), 2) for x in self.prompts.box]
        return said


def anchors_of_mask(mask: Mask, stack: PlaneStack) -> tuple[Anchor, ...]:
    """An anchor for every plane of a stack that shows any of an existing mask.

    :raises PromptError: the mask is empty.
    """
    array = mask.full()
    pictures = ((n, stack.picture_of(array, stack.plane(n))) for n in range(stack.first, stack.last + 1))
    anchors = tuple(Anchor(n, picture=picture) for n, picture in pictures if picture.any())
    if not anchors:
        raise PromptError("The mask to start from is empty; outline the tumor on at least one slice.")
    return anchors


def check_anchors(stack: PlaneStack, anchors: Sequence[Anchor]) -> None:
    """:raises PromptError: no anchors, two on one slice, or one outside the stack."""
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
