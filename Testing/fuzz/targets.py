"""All targets by name. For a new reader, add a `Target` in one of these modules."""

from __future__ import annotations

from fuzz import cases, images, others, sequences, sets, weights
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target for module in (images, weights, others, sets, cases, sequences) for target in module.TARGETS
}
