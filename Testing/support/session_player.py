"""A user who does things at random, and after each the scene is what a replay of all that is still done gives.

The replay says what is still done to a new session and a new segmentation, one thing after the other, so that nothing
of undo, redo, deleted segments, searches that were cancelled or results that came late is in it.
"""

import random
import re
import tempfile
from pathlib import Path

import numpy as np
from session_desk import SLICES, Desk, Did

from SAMLiverTumorLib.mrml.nodes.conversions import EXCLUDE, INCLUDE
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import (
    SEGMENT_ATTRIBUTE,
    SEGMENTATION_REFERENCE,
    PromptNodes,
    PromptState,
    promptNodesInScene,
)
from SAMLiverTumorLib.mrml.scene_files import loadScene, saveScene


class Player:
    """Plays a random sequence at a desk, and keeps account of it.

    :param seed: of all random choices.
    """

    def __init__(self, desk, seed):
        self.desk, self.random = desk, random.Random(seed)
        self.start = {key: desk.held(key) for key in desk.ids}
        self.done, self.undone, self.played = [], [], []
        self.searching, self.added = None, 0

    @property
    def session(self):
        return self.desk.session

    @property
    def chosen(self):
        """The chosen segment's name; None without one."""
        return next((key for key, one in self.desk.ids.items() if one == self.session.segmentId), None)

    def play(self, steps):
        """So many random actions; after each, if nothing is running, the scene and what is said are checked."""
        usual = (
            [self.point] * 4 + [self.undo] * 4 + [self.redo] * 3 + [self.switch, self.move, self.delete, self.box] * 2
        )
        rare = [self.clear, self.accept, self.new, self.new, self.find, self.find, self.find_new, self.remove]
        for _ in range(steps):
            if self.chosen is None:
                action = self.switch if self.desk.ids else self.new
            else:
                # the scene is saved now and then, as that takes longest
                action = self.reload if self.random.random() < 0.03 else self.random.choice(usual + rare)
            self.played.append(action.__name__)
            action()
            self.work()
            self.check_said()
            if not self.session.busy:
                self.check_scene()
        self.finish()
        self.check_scene()

    def do(self, kind, *said):
        did = Did(kind, self.chosen, said)
        self.desk.do(did)
        self.note(did)

    def note(self, did):
        self.done.append(did)
        self.undone.clear()

    def anywhere(self):
        return self.random.randrange(3, 21), self.random.randrange(3, 17), self.random.choice(SLICES)

    def read(self):
        return PromptNodes(self.desk.scene, self.desk.node, self.session.segmentId).read()

    def point(self):
        self.do(self.random.choice((INCLUDE, INCLUDE, EXCLUDE)), *self.anywhere())

    def move(self):
        count, place = len(self.read().include), self.anywhere()
        if count:
            number = self.random.randrange(count)
            if not np.allclose(self.read().include[number][0], self.desk.ras(*place)):
                self.do("move", number, place)

    def delete(self):
        count = len(self.read().exclude)
        if count:
            self.do("delete", self.random.randrange(count))

    def box(self):
        k, i, j = self.random.choice(SLICES), self.random.randrange(2, 10), self.random.randrange(2, 8)
        high = (i + self.random.randrange(4, 10), j + self.random.randrange(4, 8), k)
        before = self.read().roi
        self.desk.look(k)
        self.desk.draw_box((i, j, k), high)
        if before is None or not before.isSameBox(self.read().roi):
            self.note(Did("box", self.chosen, ((i, j, k), high, before is not None)))

    def clear(self):
        if self.read() != PromptState():
            self.do("clear")

    def accept(self):
        if self.session.canAccept:
            self.do("accept")

    def new(self, isProvisional=False):
        self.added += 1
        did = Did("new", f"N{self.added}", (self.chosen, isProvisional))
        self.desk.do(did)
        self.note(did)
        assert self.chosen == did.key

    def find(self):
        if self.searching is None:
            self.searching = Did("search", self.chosen)
            self.desk.do(self.searching)

    def find_new(self):
        if self.searching is None:
            self.new(isProvisional=True)
            self.find()

    def undo(self):
        did = self.next_undo()
        assert self.session.undo() == (did is not None), "undo"
        if did is None:
            return
        self.undone.append(self.done.pop())
        if did.kind == "new":
            self.forget(did.key)
            assert did.said[0] not in self.desk.ids or self.chosen == did.said[0]
        else:
            assert self.chosen == did.key, "undo chooses its segment"
        self.check_step_said("Undone", did)

    def redo(self):
        did = self.next_redo()
        assert self.session.redo() == (did is not None), "redo"
        if did is None:
            return
        self.done.append(self.undone.pop())
        if did.kind == "new":
            self.desk.ids[did.key] = self.session.segmentId
        assert self.chosen == did.key, "redo chooses its segment"
        self.check_step_said("Redone", did)

    def check_step_said(self, word, did):
        """Whether the log and, unless it shows progress, the status line name the step."""
        said = f"{word}: {did.name}."
        assert self.session.log[-1].startswith(said), self.session.log[-1]
        assert self.session.busy or self.session.message.startswith(said), self.session.message

    def next_undo(self):
        while self.done and self.done[-1].key not in self.desk.ids:
            self.done.pop()
        return self.done[-1] if self.done else None

    def next_redo(self):
        while self.undone and self.undone[-1].kind != "new" and self.undone[-1].key not in self.desk.ids:
            self.undone.pop()
        return self.undone[-1] if self.undone else None

    def forget(self, key):
        """A segment is gone."""
        del self.desk.ids[key]
        if self.searching is not None and self.searching.key == key:
            self.searching = None

    def switch(self):
        key = self.random.choice(sorted(self.desk.ids))
        self.session.setSegment(self.desk.ids[key])
        assert self.chosen == key

    def remove(self):
        """By Slicer's own menu."""
        key = self.random.choice(sorted(self.desk.ids))
        self.desk.node.GetSegmentation().RemoveSegment(self.desk.ids[key])
        self.forget(key)
        self.start.pop(key, None)
        for steps in (self.done, self.undone):
            steps[:] = [did for did in steps if did.key != key]

    def work(self):
        """The worker ends some of its jobs, or the user cancels a search; sometimes the session hears of it later."""
        while self.desk.worker.waiting and self.random.random() < 0.9:
            self.desk.worker.step(self.random.randrange(len(self.desk.worker.waiting)))
        if self.random.random() < 0.8:
            self.poll()
        if self.searching is not None and self.random.random() < 0.4:
            self.cancel()

    def poll(self):
        self.session.poll()
        if self.searching is not None and not self.session.jobs.searches.busy:
            self.note(self.searching)
            self.searching = None

    def cancel(self):
        """Cancel a search, when all slices are done: what a cancelled slice has is in no list."""
        jobs = self.desk.worker.waiting
        for number in reversed(range(len(jobs))):
            if jobs[number].key[1] != "find":
                self.desk.worker.step(number)
        self.poll()
        if self.searching is None:
            return
        did, self.searching = self.searching, None
        self.session.cancel()
        last = self.next_undo()
        if last is not None and last.kind == "new" and last.key == did.key and last.said[1]:
            self.done.pop()
            self.forget(did.key)
            assert did.key not in self.names(), "a cancelled search leaves no segment"
            assert last.said[0] not in self.desk.ids or self.chosen == last.said[0]
        assert not self.session.busy

    def finish(self):
        self.desk.worker.finish()
        self.poll()
        assert not self.session.busy

    def reload(self):
        """Save the scene, close it and load it."""
        self.finish()
        before = {key: self.desk.held(key) for key in self.desk.ids}
        chosen, desk = self.chosen, self.desk
        with tempfile.TemporaryDirectory() as folder:
            saveScene(desk.scene, Path(folder) / "scene.mrb")
            desk.scene.Clear(0)
            assert not self.session.canUndo and not self.session.canRedo and self.session.segmentationNode is None
            loadScene(desk.scene, Path(folder) / "scene.mrb")
        desk.volume_node = desk.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        desk.node = desk.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        self.session.setVolume(desk.volume_node)
        self.session.setSegmentation(desk.node)
        desk.ids = self.names()
        self.session.setSegment(desk.ids[chosen])
        desk.look(SLICES[0])
        self.start, self.done, self.undone = before, [], []

    def names(self):
        segmentation = self.desk.node.GetSegmentation()
        return {segmentation.GetSegment(each).GetName(): each for each in segmentation.GetSegmentIDs()}

    def check_said(self):
        """Whether the status line and the buttons Undo and Redo say what is there now."""
        session, undo, redo = self.session, self.next_undo(), self.next_redo()
        assert (session.undoName, session.canUndo) == (undo.name if undo else "", undo is not None)
        assert (session.redoName, session.canRedo) == (redo.name if redo else "", redo is not None)
        assert session.busy or "..." not in session.message, session.message
        said = re.search(r"(\w+)(?:: ([\d,]+) voxels\.| is empty\.| is new and empty\.)", session.message)
        if said:
            assert said[1] == self.chosen, f"{session.message} but {self.chosen} is chosen"
            count = int(self.desk.array(session.segmentId).sum())
            assert int((said[2] or "0").replace(",", "")) == count, f"{session.message} but it has {count}"

    def check_scene(self):
        """Whether the scene is what a replay gives."""
        desk = self.desk
        assert self.names() == desk.ids
        of_segments = {
            node.GetAttribute(SEGMENT_ATTRIBUTE)
            for node in promptNodesInScene(desk.scene)
            if node.GetNodeReference(SEGMENTATION_REFERENCE) is desk.node
        }
        assert of_segments <= set(desk.ids.values()), "prompts of a segment that is gone"
        other = desk.copied(self.start)
        for did in self.done:
            other.do(did)
            other.finish()
        assert sorted(other.ids) == sorted(desk.ids)
        for key in desk.ids:
            mine, replayed = desk.held(key), other.held(key)
            assert np.array_equal(mine.array, replayed.array), f"voxels of {key}"
            assert mine.prompts.isSameAs(replayed.prompts), f"prompts of {key}"
            assert mine.provenance == replayed.provenance, f"provenance of {key}"
        other.session.close()
        desk.scene.RemoveNode(other.node)
        for node in promptNodesInScene(desk.scene):
            if node.GetNodeReference(SEGMENTATION_REFERENCE) is None:
                desk.scene.RemoveNode(node)


def play(seed, steps=9, scene=None):
    """One sequence.

    :param scene: an empty one, which is empty again afterwards; None for a new one.
    :return: the player.
    :raises AssertionError: the scene is not what is still done, or what is said is not what is there; it names what
        was done.
    """
    desk = Desk(scene)
    player = Player(desk, seed)
    try:
        player.play(steps)
    except Exception as error:
        raise AssertionError(f"sequence {seed}, {', '.join(player.played)}: {type(error).__name__}: {error}") from error
    finally:
        desk.session.close()
        desk.scene.Clear(0)
    return player
