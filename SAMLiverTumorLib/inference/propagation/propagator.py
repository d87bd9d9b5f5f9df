"""Propagation from prompted slices through the volume: each slice is prompted by the previous one's mask.

`propagate` runs it to the end. `Propagator.steps` yields slice by slice, for sessions that show each one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property

from SAMLiverTumorLib.errors import Cancelled, ModelError, PromptError
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor, check_anchors
from SAMLiverTumorLib.inference.propagation.merge_directions import reconciled
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import Pass, Propagation, SlicePropagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits, SliceStepper
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules, Stop, judge
from SAMLiverTumorLib.inference.segment_slices import Settings, further_entry
from SAMLiverTumorLib.versions import versions

UP, DOWN = "up", "down"
DIRECTIONS = {"both": (UP, DOWN), UP: (UP,), DOWN: (DOWN,)}


class Propagator:
    """A propagation that runs step by step.

    :param stack: the planes.
    :param anchors: the slices that the user prompted, each once.
    :param settings: model, window, channels; their orientation is the stack's.
    :param direction: "both", "up" (along the normal: superior, anterior, right) or "down" from the outermost anchors.
        Between anchors it always runs in both directions.
    :param limits: liver mask and ROI that it does not leave.
    :param cancel: called before every slice and every layer of the encoder.
    :param previous: an earlier result on the same stack with the same settings and rules. What is still valid is
        reused, so that after a correction only the slices beyond it are recomputed.
    :raises PromptError: there are no anchors, two are on one slice, or one lies outside the stack.

    >>> propagator = Propagator(PlaneStack(volume, "axial"), [Anchor(40, prompts)], pool)   # doctest: +SKIP
    >>> for each in propagator.steps():                                                     # doctest: +SKIP
    ...     show(each.index, each.slice_mask)
    >>> propagator.result.mask()                                                            # doctest: +SKIP
    """

    def __init__(
        self,
        stack: PlaneStack,
        anchors: Sequence[Anchor],
        pool: PredictorPool,
        settings: Settings | None = None,
        rules: PropagationRules | None = None,
        direction: str = "both",
        limits: Limits | None = None,
        cancel: Callable[[], bool] | None = None,
        previous: Propagation | None = None,
    ) -> None:
        if direction not in DIRECTIONS:
            raise PromptError(f"Unknown direction '{direction}'; choose both, up or down.")
        check_anchors(stack, anchors)
        self.stack, self.rules, self.direction = stack, rules or PropagationRules(), direction
        self.settings = settings or Settings(orientation=stack.orientation)
        # in the order of the normal, whichever way the voxel index runs
        self.anchors = tuple(sorted(anchors, key=lambda anchor: anchor.index * stack.up))
        self.limits = limits or Limits()
        self._pool, self._cancel = pool, cancel
        self._stepper = SliceStepper(stack, pool, self.settings, self.rules, self.limits, cancel)
        self._anchor_slices: dict[str, SlicePropagation] = {}
        self._passes: dict[tuple[str, str], Pass] = {}
        self._known = previous if previous is not None and self._still_holds(previous) else None
        self._slices: dict[int, SlicePropagation] = {}
        self._stops: list[Stop] = []
        self._cancelled = False
        self._versions = versions()

    def steps(self) -> Iterator[SlicePropagation]:
        """Run it, yielding each slice when it is done, and slices between anchors again when merged.

        It ends early when `cancel` returns true; `result` has the finished slices then, too.

        :raises SAMLiverTumorError: unusable prompts, window or model.
        """
        try:
            yield from self._anchor_steps()
            for lower, upper in zip((None, *self.anchors), (*self.anchors, None), strict=True):
                if lower is None or upper is None:
                    yield from self._outward(upper or lower, DOWN if lower is None else UP)
                else:
                    yield from self._between(lower, upper)
        except Cancelled:
            self._cancelled = True

    @property
    def result(self) -> Propagation:
        """The result so far."""
        stops = tuple(self._stops)
        return Propagation(
            self.stack,
            dict(sorted(self._slices.items())),
            stops,
            self._cancelled,
            ("Cancelled; the slices done until then are kept.",) if self._cancelled else (),
            self._provenance(stops),
            self.anchors,
            dict(self._anchor_slices),
            dict(self._passes),
        )

    def _anchor_steps(self) -> Iterator[SlicePropagation]:
        for anchor in self.anchors:
            known = self._known.anchor_slices.get(anchor.key) if self._known is not None else None
            if known is None:
                self._stop_if_cancelled()
                known = self._stepper.anchor(anchor)
            self._anchor_slices[anchor.key] = self._slices[anchor.index] = known
            yield known

    def _outward(self, anchor: Anchor, direction: str) -> Iterator[SlicePropagation]:
        if direction in DIRECTIONS[self.direction]:
            try:
                for reached in self._walk(anchor, direction, None):
                    self._slices[reached.index] = reached
                    yield reached
            finally:
                self._note_stop(anchor, direction)

    def _between(self, lower: Anchor, upper: Anchor) -> Iterator[SlicePropagation]:
        """Propagate in both directions between two anchors; one that an earlier result has goes first."""
        ways = [(lower, UP, upper), (upper, DOWN, lower)]
        if self._known is not None and (upper.key, DOWN) in self._known.passes:
            ways.reverse()
        reached: dict[str, dict[int, SlicePropagation]] = {UP: {}, DOWN: {}}
        for n, (anchor, direction, other) in enumerate(ways):
            # without merging, each slice is reached from one side only; when run again, from the same side
            opposite = reached[ways[0][1]].values() if n else self._known_pass(*ways[1][:2]).slices
            met = set() if self.rules.reconcile else {each.index for each in opposite}
            for each in self._walk(anchor, direction, other, met):
                reached[direction][each.index] = each
                self._slices.setdefault(each.index, each)
                yield each
        step = self.stack.up
        if any(n not in self._slices for n in range(lower.index + step, upper.index, step)):
            for anchor, direction, _ in ways:
                self._note_stop(anchor, direction)
        for index in sorted(reached[UP].keys() & reached[DOWN].keys()):
            mixed = reconciled(index, (lower.index, reached[UP][index]), (upper.index, reached[DOWN][index]))
            self._slices[index] = mixed
            yield mixed

    def _walk(
        self, anchor: Anchor, direction: str, other: Anchor | None, met: set[int] = frozenset()
    ) -> Iterator[SlicePropagation]:
        """Propagate from an anchor until a rule stops it, or it meets the next anchor or a slice of `met`."""
        step = self.stack.up if direction == UP else -self.stack.up
        end = other.index if other is not None else (self.stack.last if step > 0 else self.stack.first) + step
        key, known = (anchor.key, direction), self._known_pass(anchor, direction)
        done: list[SlicePropagation] = []
        for each in known.slices:
            if each.index == end:
                self._passes[key] = Pass(tuple(done), None)
                return
            done.append(each)
            yield each
        stop = known.stop
        self._passes[key] = Pass(tuple(done), stop)
        if stop is not None and stop.index != end and stop.kind not in ("edge", "anchor", "cancelled"):
            return
        state = None
        index = (done[-1].index if done else anchor.index) + step
        while index != end and index not in met:
            try:
                self._stop_if_cancelled()
                state = state or self._resumed(anchor, done, direction)
                if state is None:
                    return
                each, measured, next_state = self._stepper.step(index, state, direction)
            except Cancelled:
                self._passes[key] = Pass(tuple(done), Stop(direction, index, "cancelled", "cancelled"))
                raise
            broken = judge(measured, self.rules)
            if broken is not None:
                self._passes[key] = Pass(tuple(done), Stop(direction, index, *broken))
                return
            done.append(each)
            state = next_state
            self._passes[key] = Pass(tuple(done), None)
            yield each
            index += step
        self._passes[key] = Pass(tuple(done), self._ended(index, end, other, direction))

    def _known_pass(self, anchor: Anchor, direction: str) -> Pass:
        """The pass of an earlier result from an anchor in a direction; an empty, unfinished one if there is none."""
        passes = self._known.passes if self._known is not None else {}
        return passes.get((anchor.key, direction), Pass((), None))

    def _resumed(self, anchor: Anchor, done: list[SlicePropagation], direction: str):
        """State for the next step after the slices reused from an earlier result."""
        state = self._stepper.begin(self._anchor_slices[anchor.key])
        return state if state is None or not done else self._stepper.resume(state, done)

    def _ended(self, index: int, end: int, other: Anchor | None, direction: str) -> Stop | None:
        if index != end:
            return None
        if other is None:
            return Stop(direction, index, "edge", "the volume ends")
        if not self._anchor_slices[other.key].result.pixels:
            return Stop(direction, index, "anchor", "the user left this slice empty")
        return None

    def _note_stop(self, anchor: Anchor, direction: str) -> None:
        """Record why a direction stopped, unless it met another anchor."""
        ended = self._passes.get((anchor.key, direction))
        if ended is not None and ended.stop is not None:
            self._stops.append(ended.stop)

    def _stop_if_cancelled(self) -> None:
        if self._cancel is not None and self._cancel():
            raise Cancelled("Cancelled; the slices done until then are kept.")

    def _still_holds(self, previous: Propagation) -> bool:
        """Whether an earlier result comes from the same voxels, networks, stack, settings, rules and limits."""
        if previous.provenance.get("basis") != self._basis:
            return False
        models = previous.provenance["models_by_name"]
        try:
            return all(self._pool.predictor(name).model.sha256 == model["sha256"] for name, model in models.items())
        except ModelError:  # a weight file that is gone
            return False

    @cached_property
    def _basis(self) -> dict:
        """All that a step depends on besides the last mask and the networks: JSON-ready."""
        window, roi = self.settings.window, self.limits.roi
        base = self.stack.base
        return {
            "volume": self.stack.volume.voxel_hash,
            "orientation": self.stack.orientation,
            "plane": None if base is None else [[round(float(x), 6) for x in row] for row in base.to_ras],
            "model": self.settings.model,
            "window": None if window is None else [window.low, window.high],
            "channels": self.settings.channels,
            **further_entry(self.settings),
            **({"quality": "best"} if self.settings.quality == "best" else {}),
            "rules": asdict(self.rules),
            "liver": self.limits.liver_hash,
            "roi": None
            if roi is None
            else {name: getattr(roi, name).round(3).tolist() for name in ("center", "axes", "size")},
        }

    def _provenance(self, stops: tuple[Stop, ...]) -> dict:
        models = {**(self._known.provenance["models_by_name"] if self._known is not None else {})}
        models.update(self._stepper.models)
        return {
            "mode": "volume",
            "models": list(models.values()),
            "models_by_name": models,
            "anchors": [anchor.as_dict() for anchor in self.anchors],
            "basis": self._basis,
            "stops": [asdict(stop) for stop in stops],
            "cancelled": self._cancelled,
            "versions": self._versions,
        }


def propagate(
    stack: PlaneStack,
    anchors: Sequence[Anchor],
    pool: PredictorPool,
    settings: Settings | None = None,
    rules: PropagationRules | None = None,
    direction: str = "both",
    limits: Limits | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    previous: Propagation | None = None,
) -> Propagation:
    """Run a `Propagator` to its end, or until it is cancelled.

    :param progress: called with (slices done, None); their total is not known beforehand.
    :return: the result; if it was cancelled, `cancelled` is true and the finished slices are included.
    :raises SAMLiverTumorError: see `Propagator`.
    """
    propagator = Propagator(stack, anchors, pool, settings, rules, direction, limits, cancel, previous)
    for done, _ in enumerate(propagator.steps(), start=1):
        if progress is not None:
            progress(done, None)
    return propagator.result
