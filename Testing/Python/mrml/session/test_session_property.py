"""Whatever order the user does things in, the scene is what the prompts that are left would give from scratch."""

import random

import numpy as np
import slicer
from scipy import ndimage
from session_case import Case, discs, small_volume

from SAMLiverTumorLib.mrml.nodes.conversions import EXCLUDE, INCLUDE
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import promptNodesInScene
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, segmentArray
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession

SEQUENCES, STEPS = 1000, 9
SLICES = (1, 3, 4)


class Said:
    """What the user has said about one segment: positions (i, j, k); the box as its two corner voxels."""

    def __init__(self, include=(), exclude=(), box=None, accepted=()):
        self.include, self.exclude, self.box, self.accepted = include, exclude, box, accepted

    def but(self, **changes):
        return Said(**{**self.__dict__, **changes})

    @property
    def prompts(self):
        return self.include, self.exclude, self.box

    def voxels(self, base):
        """The voxels (k, j, i) by the rule of the fake network, worked out without the session.

        On a slice where only exclude points are, what is there already loses the pieces that they lie on.
        """
        whole, shape = base.copy(), base.shape
        for include, exclude, box in (*self.accepted, self.prompts):
            for k in SLICES:
                points = [p[:2] for p in include if p[2] == k] + [p[:2] for p in exclude if p[2] == k]
                labels = [1] * sum(p[2] == k for p in include) + [0] * sum(p[2] == k for p in exclude)
                edges = None
                if box is not None and box[0][2] <= k <= box[1][2]:
                    (i0, j0, _), (i1, j1, _) = box
                    edges = (i0 - 0.5, j0 - 0.5, i1 + 0.5, j1 + 0.5)
                if 1 not in labels and edges is None:
                    pieces, _ = ndimage.label(whole[k], np.ones((3, 3)))
                    hit = {pieces[j, i] for i, j in points} - {0}
                    whole[k] &= ~np.isin(pieces, list(hit))
                    continue
                picture = discs(shape[1:], points, labels, edges)
                if edges is not None:
                    j, i = np.mgrid[: shape[1], : shape[2]]
                    picture &= (i > edges[0]) & (i < edges[2]) & (j > edges[1]) & (j < edges[3])
                whole[k] |= picture
        return whole


class Player:
    """Plays a random sequence on a session, and keeps account of it with plain lists."""

    def __init__(self, case, base, seed):
        self.case, self.session, self.random = case, case.session, random.Random(seed)
        self.base = base
        self.said = {case.a: Said(), case.b: Said()}
        self.done, self.undone = [], []
        self.cancelled = False

    def step(self):
        actions = [self.point] * 5 + [self.undo] * 3 + [self.redo] * 2 + [self.switch] * 2 + [self.work] * 4
        actions += [self.move, self.delete, self.box, self.cancel, self.clear, self.accept]
        self.random.choice(actions)()

    @property
    def mine(self):
        return self.said[self.session.segmentId]

    def change(self, **changes):
        self.done.append(self.said)
        self.said = {**self.said, self.session.segmentId: self.mine.but(**changes)}
        self.undone.clear()

    def anywhere(self):
        return self.random.randrange(3, 21), self.random.randrange(3, 17), self.random.choice(SLICES)

    def point(self):
        role, at = self.random.choice((INCLUDE, INCLUDE, EXCLUDE)), self.anywhere()
        self.case.look(at[2])
        self.case.click(*at, role=role)
        self.change(**{role: (*getattr(self.mine, role), at)})

    def move(self):
        points = self.mine.include
        if points:
            n, at = self.random.randrange(len(points)), self.anywhere()
            if at != points[n]:
                self.case.look(at[2])
                self.session.promptNodes[0].SetNthControlPointPositionWorld(n, *self.case.ras(*at))
                self.change(include=(*points[:n], at, *points[n + 1 :]))

    def delete(self):
        points = self.mine.exclude
        if points:
            n = self.random.randrange(len(points))
            self.session.promptNodes[1].RemoveNthControlPoint(n)
            self.change(exclude=(*points[:n], *points[n + 1 :]))

    def box(self):
        k = self.random.choice(SLICES)
        i, j = self.random.randrange(2, 10), self.random.randrange(2, 8)
        box = ((i, j, k), (i + self.random.randrange(4, 10), j + self.random.randrange(4, 8), k))
        if box != self.mine.box:
            self.case.look(k)
            self.case.draw_box(*box)
            self.change(box=box)

    def clear(self):
        if self.mine.prompts != ((), (), None):
            self.session.clearAll()
            self.change(include=(), exclude=(), box=None)

    def undo(self):
        assert self.session.canUndo == bool(self.done) == self.session.undo()
        if self.done:
            self.undone.append(self.said)
            self.said = self.done.pop()

    def redo(self):
        assert self.session.canRedo == bool(self.undone) == self.session.redo()
        if self.undone:
            self.done.append(self.said)
            self.said = self.undone.pop()

    def switch(self):
        case = self.case
        self.session.setSegment(case.b if self.session.segmentId == case.a else case.a)

    def work(self):
        """The worker ends a job, any of them; the session may hear of it now or later."""
        if self.case.worker.waiting:
            self.case.worker.step(self.random.randrange(len(self.case.worker.waiting)))
        if self.random.random() < 0.7:
            self.session.poll()

    def cancel(self):
        if self.session.busy:
            self.cancelled = True
            self.session.cancel()
            before = {segment: self.case.array(segment) for segment in self.said}
            self.case.finish()
            for segment, array in before.items():
                assert np.array_equal(self.case.array(segment), array), "a cancelled result was written"

    def accept(self):
        # what a cancelled slice has when it is accepted is in no list
        if not self.cancelled and self.session.canAccept:
            assert self.session.accept()
            self.change(include=(), exclude=(), box=None, accepted=(*self.mine.accepted, self.mine.prompts))

    def finish(self):
        self.case.finish()
        if self.cancelled:
            # only a new wish brings back what was cancelled
            self.session.setPlane(None)
            for segment in self.said:
                self.session.setSegment(segment)
                self.session.segment()
                self.case.finish()
        assert not self.session.busy

    def check(self, bystander):
        for segment, said in self.said.items():
            expected = said.voxels(self.base)
            assert np.array_equal(self.case.array(segment), expected)
        assert np.array_equal(self.case.array(self.case.c), bystander)


def test_after_any_sequence_the_scene_is_what_a_replay_from_scratch_gives():
    volume = small_volume((24, 20, 6))
    case = Case(volume=volume)
    base = np.zeros(volume.array.shape, bool)
    base[3:5, 8:11, 8:14] = True
    case.c = addTumorSegment(case.node, "C")
    bystander = np.zeros_like(base)
    bystander[1:5, 4:16, 4:16] = True
    case.paint(case.c, bystander)
    case.paint(case.a, base)
    case.paint(case.b, base)
    case.session.close()
    kinds = set()
    for seed in range(SEQUENCES):
        case.session = case.new_session()
        player = Player(case, base, seed)
        try:
            for _ in range(STEPS):
                player.step()
            player.finish()
            player.check(bystander)
            if seed % 10 == 0:
                check_replay(case, player.said, base)
        except AssertionError as error:
            raise AssertionError(f"sequence {seed}") from error
        kinds.add((player.cancelled, bool(player.undone), any(s.accepted for s in player.said.values())))
        while case.session.undo():
            case.finish()
        for segment in (case.a, case.b):
            assert np.array_equal(case.array(segment), base), f"sequence {seed}: undo does not lead back"
        case.session.close()
        for node in promptNodesInScene(case.scene):
            case.scene.RemoveNode(node)
    assert len(kinds) >= 6, "the sequences are all alike"


def check_replay(case, said, base):
    """Say the same to a new session in a new segmentation, one thing after the other."""
    node = createSegmentation(case.scene, case.volume_node, "Replay")
    session, played = PromptSession(case.scene, case.worker, case.pool), case.session
    session.setVolume(case.volume_node)
    session.setSegmentation(node)
    case.session = session
    for segment, mine in said.items():
        replayed = addTumorSegment(node, "replayed")
        slicer.util.updateSegmentBinaryLabelmapFromArray(base.astype(np.uint8), node, replayed, case.volume_node)
        session.setSegment(replayed)
        for include, exclude, box in (*mine.accepted, mine.prompts):
            for role, points in ((INCLUDE, include), (EXCLUDE, exclude)):
                for at in points:
                    case.look(at[2])
                    case.click(*at, role=role)
            if box is not None:
                case.look(box[0][2])
                case.draw_box(*box)
            case.finish()
            if not session.accept():
                session.clearAll()
        found = segmentArray(node, replayed, case.volume_node)
        assert np.array_equal(found, case.array(segment))
    session.close()
    case.session = played
    case.scene.RemoveNode(node)
