"""What annotations of parameters are made of: validators, hints for widgets, and a range of numbers."""

import math
from dataclasses import dataclass


@dataclass
class Default:
    """The value of a parameter that a scene does not have."""

    value: object


@dataclass
class Decimals:
    """Digits after the point in a spin box."""

    value: int


@dataclass
class SingleStep:
    """The step of a spin box or slider."""

    value: float


class Choice:
    """One of the given values."""

    def __init__(self, choices) -> None:
        self.choices = choices

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is not one of {self.choices}")


class WithinRange:
    """From minimum to maximum, both included."""

    def __init__(self, minimum, maximum) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value!r} is not within [{self.minimum}, {self.maximum}]")


class Minimum(WithinRange):
    """At least."""

    def __init__(self, minimum) -> None:
        super().__init__(minimum, math.inf)


class Maximum(WithinRange):
    """At most."""

    def __init__(self, maximum) -> None:
        super().__init__(-math.inf, maximum)


class RangeBounds(WithinRange):
    """Both ends of a FloatRange from minimum to maximum; Slicer 5.12 misses an upper end that is too high."""

    def validate(self, value) -> None:
        for end in (value.minimum, value.maximum):
            super().validate(end)


@dataclass(frozen=True)
class FloatRange:
    """A lower and an upper number; fixed here, as a change in place is lost where Slicer would save it."""

    minimum: float = 0.0
    maximum: float = 0.0

    def __post_init__(self) -> None:
        if not self.minimum <= self.maximum:
            raise ValueError(f"FloatRange must have minimum <= maximum: {self.minimum} <= {self.maximum}")
