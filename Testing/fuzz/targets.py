"""All targets by name. A reader that comes new gets a `Target` in one of the modules here."""

from __future__ import annotations

from fuzz import images, others, sets, weights
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target for module in (images, weights, others, sets) for target in module.TARGETS
}
