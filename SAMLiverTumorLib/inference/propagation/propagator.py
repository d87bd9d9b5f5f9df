"""From prompted slices through the volume: each slice is prompted by the mask of the one before.

`propagate` runs it whole. `Propagator.steps` does the same slice by slice, for sessions that show each one.
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
from SAMLiverTumorLib.inference.propagation.slice_step import Follower, Limits
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules, Stop, judge
from SAMLiverTumorLib.inference.segment_slices import Settings, further_entry
from SAMLiverTumorLib.versions import versions

UP, DOWN = "up", "down"
DIRECTIONS = {"both": (UP, DOWN), UP: (UP,), DOWN: (DOWN,)}


class Propagator:
    """A propagation that is done step by step.

    :param stack: the planes to walk through.
    :param anchors: what the user prompted, one per slice.
    :param settings: model, window, channels; its orientation is the stack's.
    :param direction: "both", or "up" (along the normal: superior, anterior, right) or "down" from the outermost
        anchors. Between anchors it always goes both ways.
    :param limits: liver mask and ROI that it does not leave.
    :param cancel: asked before every slice and every layer of the encoder.
    :param previous: an earlier result on the same stack with the same settings and rules; what still holds of it
        is kept, so that after a correction only what lies beyond is done again.
    :raises PromptError: no anchors, two on one slice, or one outside the stack.

    >>> propagator = Propagator(PlaneStack(volume, "axial"), [Anchor(40, prompts)], pool)   # doctest: +SKIP
    >>> for each in propagator.steps():                                                     # doctest: +SKIP
    ...     show(each.index, each.picture)
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
        self.total: int | None = None
        """Slices there will be at most, for progress."""
        self._pool, self._cancel = pool, cancel
        self._follower = Follower(stack, pool, self.settings, self.rules, self.limits, cancel)
        self._anchor_slices: dict[str, SlicePropagation] = {}
        self._passes: dict[tuple[str, str], Pass] = {}
        self._known = previous if previous is not None and self._still_holds(previous) else None
        self._slices: dict[int, SlicePropagation] = {}
        self._stops: list[Stop] = []
        self._cancelled = False
        self._versions = versions()

    def steps(self) -> Iterator[SlicePropagation]:
        """Do it, yielding each slice when it is known; one between anchors again when both ways have met.

        Ends early when `cancel` says so: what is done is in `result` all the same.

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
        """What is known so far."""
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
                known = self._follower.anchor(anchor)
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
        """Both ways between two anchors; the one that is known already goes first."""
        ways = [(lower, UP, upper), (upper, DOWN, lower)]
        if self._known is not None and (upper.key, DOWN) in self._known.passes:
            ways.reverse()
        reached: dict[str, dict[int, SlicePropagation]] = {UP: {}, DOWN: {}}
        for n, (anchor, direction, other) in enumerate(ways):
            # without reconciling, each slice is reached from one side alone, and again from the same one
            theirs = reached[ways[0][1]].values() if n else self._known_pass(*ways[1][:2]).slices
            met = set() if self.rules.reconcile else {each.index for each in theirs}
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
        """The slices from an anchor on, until a rule stops it or it meets the next anchor or a slice of `met`."""
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
        trail = None
        index = (done[-1].index if done else anchor.index) + step
        while index != end and index not in met:
            try:
                self._stop_if_cancelled()
                trail = trail or self._resumed(anchor, done, direction)
                if trail is None:
                    return
                each, measured, ahead = self._follower.step(index, trail, direction)
            except Cancelled:
                self._passes[key] = Pass(tuple(done), Stop(direction, index, "cancelled", "cancelled"))
                raise
            broken = judge(measured, self.rules)
            if broken is not None:
                self._passes[key] = Pass(tuple(done), Stop(direction, index, *broken))
                return
            done.append(each)
            trail = ahead
            self._passes[key] = Pass(tuple(done), None)
            yield each
            index += step
        self._passes[key] = Pass(tuple(done), self._ended(index, end, other, direction))

    def _known_pass(self, anchor: Anchor, direction: str) -> Pass:
        """What an earlier result has of a way; nothing, not ended, where it has none."""
        passes = self._known.passes if self._known is not None else {}
        return passes.get((anchor.key, direction), Pass((), None))

    def _resumed(self, anchor: Anchor, done: list[SlicePropagation], direction: str):
        """What the next step knows, where the slices before it are an earlier result's."""
        trail = self._follower.begin(self._anchor_slices[anchor.key])
        return trail if trail is None or not done else self._follower.resume(trail, done)

    def _ended(self, index: int, end: int, other: Anchor | None, direction: str) -> Stop | None:
        if index != end:
            return None
        if other is None:
            return Stop(direction, index, "edge", "the volume ends")
        if not self._anchor_slices[other.key].result.pixels:
            return Stop(direction, index, "anchor", "the user left this slice empty")
        return None

    def _note_stop(self, anchor: Anchor, direction: str) -> None:
        """List why a way ended, if it did for a reason."""
        ended = self._passes.get((anchor.key, direction))
        if ended is not None and ended.stop is not None:
            self._stops.append(ended.stop)

    def _stop_if_cancelled(self) -> None:
        if self._cancel is not None and self._cancel():
            raise Cancelled("Cancelled; the slices done until then are kept.")

    def _still_holds(self, previous: Propagation) -> bool:
        """Whether an earlier result was made with the same voxels, networks, stack, settings, rules and limits."""
        if previous.provenance.get("basis") != self._basis:
            return False
        models = previous.provenance["models_by_name"]
        try:
            return all(self._pool.predictor(name).model.sha256 == model["sha256"] for name, model in models.items())
        except ModelError:  # a weight file that is gone
            return False

    @cached_property
    def _basis(self) -> dict:
        """What a step depends on besides the mask before it and the networks: JSON-ready."""
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
        models.update(self._follower.models)
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
    """Run a `Propagator` to its end, or until Cancel.

    :param progress: told of (slices done, None): how many there will be is not known before.
    :return: the result; `cancelled` where Cancel cut it short, with the slices done until then.
    :raises SAMLiverTumorError: see `Propagator`.
    """
    propagator = Propagator(stack, anchors, pool, settings, rules, direction, limits, cancel, previous)
    for done, _ in enumerate(propagator.steps(), start=1):
        if progress is not None:
            progress(done, None)
    return propagator.result
