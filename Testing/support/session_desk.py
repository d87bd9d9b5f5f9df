"""A scene whose segments are known by their names, and the steps that a user takes there; see session_player."""

import copy
from dataclasses import dataclass

import numpy as np
from session_case import Case, small_volume
from text_search_case import Reader

from SAMLiverTumorLib.mrml.nodes.conversions import EXCLUDE, INCLUDE
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptNodes, PromptState
from SAMLiverTumorLib.mrml.segments.segments import (
    addTumorSegment,
    createSegmentation,
    provenance,
    segmentArray,
    setProvenance,
)
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession

SLICES = (1, 3, 4)
_NAMES = {
    INCLUDE: "include point",
    EXCLUDE: "exclude point",
    "move": "change of prompts",
    "delete": "removal of prompts",
    "clear": "removal of prompts",
    "accept": "acceptance",
    "search": "search",
}


@dataclass(frozen=True)
class Did:
    """One step.

    :param key: name of the segment.
    :param said: voxels (i, j, k) or numbers of points, as the kind needs them; of a new segment, which was chosen
        before and whether it is for a search.
    """

    kind: str
    key: str
    said: tuple = ()

    @property
    def name(self):
        """As the button Undo says it."""
        if self.kind == "new":
            return f"new segment {self.key}"
        action = ("change of the box" if self.said[2] else "box") if self.kind == "box" else _NAMES[self.kind]
        return f"{action} of {self.key}"


@dataclass(frozen=True)
class Held:
    """What a segment holds."""

    array: np.ndarray
    prompts: PromptState
    provenance: list


class Desk(Case):
    """A scene whose segments are known by their names."""

    def __init__(self, scene=None):
        super().__init__(volume=small_volume((24, 20, 6)), scene=scene)
        self.pool.fake = Reader()
        self.ids = {"A": self.a, "B": self.b}

    def copied(self, start):
        """Another session on another segmentation of the same scene, with segments as they were at the start."""
        other = copy.copy(self)
        other.node, other.ids = createSegmentation(self.scene, self.volume_node, "Replay"), {}
        for key, held in start.items():
            other.ids[key] = segment_id = addTumorSegment(other.node, key)
            if held.array.any():
                other.paint(segment_id, held.array)
            PromptNodes(self.scene, other.node, segment_id).write(held.prompts)
            for entry in held.provenance:
                setProvenance(other.node, segment_id, entry)
        other.session = PromptSession(self.scene, self.worker, self.pool)
        other.session.setVolume(self.volume_node)
        other.session.setSegmentation(other.node)
        for segment_id in other.ids.values():
            other.session.setSegment(segment_id)
        return other

    def array(self, segment_id=None, volume_node=None):
        return segmentArray(self.node, segment_id, volume_node or self.volume_node)

    def held(self, key):
        segment_id = self.ids[key]
        prompts = PromptNodes(self.scene, self.node, segment_id).read()
        return Held(self.array(segment_id), prompts, provenance(self.node, segment_id))

    def do(self, did):
        """Do a step; a search is only begun."""
        session = self.session
        if did.kind == "new":
            assert session.addSegment(did.key, isProvisional=did.said[1])
            self.ids[did.key] = session.segmentId
            return
        session.setSegment(self.ids[did.key])
        if did.kind in (INCLUDE, EXCLUDE):
            self.look(did.said[2])
            self.click(*did.said, role=did.kind)
        elif did.kind == "move":
            number, place = did.said
            self.look(place[2])
            session.promptNodes[0].SetNthControlPointPositionWorld(number, *self.ras(*place))
        elif did.kind == "delete":
            session.promptNodes[1].RemoveNthControlPoint(did.said[0])
        elif did.kind == "box":
            self.look(did.said[0][2])
            self.draw_box(*did.said[:2])
        elif did.kind == "clear":
            session.clearAll()
        elif did.kind == "accept":
            assert session.accept()
        else:
            assert session.find("mobile-sam")
