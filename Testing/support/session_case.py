"""A scene with a prompt session over a network that is a rule of thumb, for tests that need no weights.

The rule: a disc of RADIUS pixels around each include point, without the discs around exclude points; a box
alone is filled. Everything around it is the product's own: planes, windows, pool, segmenting, writing.
"""

import threading
from types import SimpleNamespace

import numpy as np
import slicer

from SAMLiverTumorLib.errors import Cancelled
from SAMLiverTumorLib.inference.threads.network_worker import Job, Outcome
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, promptsFromNodes
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, provenance, segmentArray
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession
from SAMLiverTumorLib.volume import Volume

RADIUS = 2.2


def discs(shape, points, labels, box=None):
    """What the fake network marks on a picture (rows, columns)."""
    v, u = np.mgrid[: shape[0], : shape[1]]
    picture = np.zeros(shape, bool)
    for wanted in (1, 0):
        for (pu, pv), label in zip(points, labels, strict=True):
            if label == wanted:
                picture[(u - pu) ** 2 + (v - pv) ** 2 <= RADIUS**2] = bool(wanted)
    if box is not None and not (np.asarray(labels) == 1).any():
        picture[(u >= box[0]) & (u <= box[2]) & (v >= box[1]) & (v <= box[3])] = True
    return picture


class FakePredictor:
    """Stands for `Predictor`; remembers what it was asked and in which thread."""

    def __init__(self):
        self.model = SimpleNamespace(info=get_model("mobile-sam"), sha256="0" * 64)
        self.seen, self.threads, self.embedded = [], [], 0
        self.error = None

    def embed(self, rgb, spacing, cancel=None, mirrored=False):
        self.threads.append(threading.get_ident())
        self.embedded += 1
        if cancel is not None and cancel():
            raise Cancelled("cancelled")
        return rgb.shape[:2]

    def predict(self, embedding, prompts):
        self.threads.append(threading.get_ident())
        self.seen.append(prompts)
        if self.error is not None:
            raise self.error
        mask = discs(embedding, prompts.points, prompts.labels, prompts.box)
        return SimpleNamespace(mask=mask, predicted_iou=0.5, stability=1.0)


class FakePool:
    """Stands for `PredictorPool`."""

    def __init__(self):
        self.fake = FakePredictor()

    def predictor(self, model):
        return self.fake


class SteppedWorker:
    """A worker that runs a job when told to, in the caller's thread."""

    def __init__(self):
        self.waiting, self.idle, self.outcomes, self.submitted = [], [], [], 0

    def submit(self, key, work, owner=None):
        for job in (*self.waiting, *(outcome.job for outcome in self.outcomes)):
            if job.key == key:
                job.cancel()
        job = Job(key, work, owner=owner)
        self.waiting.append(job)
        self.submitted += 1
        return job

    def submit_idle(self, key, work):
        job = Job(key, work, idle=True)
        self.idle.append(job)
        return job

    def drop_idle(self):
        self.idle.clear()

    def step(self, n=0):
        """Run one job that waits; its outcome lies ready to be polled."""
        job = self.waiting.pop(n)
        if not job.is_cancelled():
            try:
                self.outcomes.append(Outcome(job, value=job.work(job.is_cancelled)))
            except Exception as error:
                self.outcomes.append(Outcome(job, error=error))

    def finish(self):
        """Run all jobs that wait."""
        while self.waiting:
            self.step()

    def poll(self, owner=None):
        mine = [outcome for outcome in self.outcomes if outcome.job.owner == owner]
        self.outcomes = [outcome for outcome in self.outcomes if outcome.job.owner != owner]
        return [outcome for outcome in mine if not outcome.job.is_cancelled()]


def small_volume(dimensions=(24, 20, 8), name="CT") -> Volume:
    """Soft tissue with a dark corner, LPS-like axes and anisotropic voxels, so that no two axes can be confused."""
    i, j, k = dimensions
    array = np.full((k, j, i), 60, np.int16)
    array[0, 0, 0] = -1000
    affine = np.array([[-1.5, 0, 0, 21.5], [0, -1.25, 0, 40.25], [0, 0, 3.0, -12.0], [0, 0, 0, 1]])
    return Volume(array, affine, name)


class Case:
    """A scene with a volume, a segmentation of two segments and a session on segment A, looking at axial slices."""

    def __init__(self, worker=None, history=None, volume=None, scene=None):
        self.scene = createScene() if scene is None else scene
        self.volume = volume or small_volume()
        self.volume_node = addVolumeNode(self.scene, self.volume)
        self.node = createSegmentation(self.scene, self.volume_node)
        self.a, self.b = addTumorSegment(self.node, "A"), addTumorSegment(self.node, "B")
        self.worker, self.pool = worker or SteppedWorker(), FakePool()
        self.session = self.new_session(history)
        self.look(4)

    def new_session(self, history=None):
        session = PromptSession(self.scene, self.worker, self.pool, history)
        session.setVolume(self.volume_node)
        session.setSegmentation(self.node)
        session.setSegment(self.a)
        return session

    def look(self, index, name="axial"):
        self.session.setPlane(name, index)

    def ras(self, i, j, k):
        return (self.volume.ijk_to_ras @ [i, j, k, 1])[:3]

    def click(self, i, j, k, role="include"):
        """Place a point as the user does: the control point's position becomes defined."""
        nodes = dict(zip(("include", "exclude"), self.session.promptNodes, strict=False))
        nodes[role].AddControlPointWorld(*self.ras(i, j, k))

    def draw_box(self, low, high):
        """Draw the ROI around the voxels from `low` to `high`, both included."""
        roi = self.session.promptNodes[2]
        roi.InvokeCustomModifiedEvent(roi.PointStartInteractionEvent)
        a, b = self.ras(*np.subtract(low, 0.5)), self.ras(*np.add(high, 0.5))
        roi.SetCenter((a + b) / 2)
        roi.SetSize(np.abs(b - a))
        roi.InvokeCustomModifiedEvent(roi.PointEndInteractionEvent)

    def finish(self):
        """Let the worker finish and the session write."""
        self.worker.finish()
        return self.session.poll()

    def array(self, segment_id=None, volume_node=None):
        return segmentArray(self.node, segment_id or self.a, volume_node or self.volume_node)

    def expected(self, *points, k, exclude=()):
        """Voxels (k, j, i) of the discs around voxels (i, j) on axial slice k."""
        # an axial picture of this volume is its slice as stored: both run toward the left and posterior
        whole = np.zeros(self.volume.array.shape, bool)
        labels = [1] * len(points) + [0] * len(exclude)
        whole[k] = discs(whole.shape[1:], [*points, *exclude], labels)
        return whole

    def editor_node(self):
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "User's Segment Editor")
        node.SetAndObserveSegmentationNode(self.node)
        node.SetAndObserveSourceVolumeNode(self.volume_node)
        return node

    def paint(self, segment_id, array):
        """Add voxels by other means than the session."""
        have = self.array(segment_id)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            (have | array).astype(np.uint8), self.node, segment_id, self.volume_node
        )


def state(case):
    """Prompts, voxels and provenance of segment A, to compare."""
    prompts = promptsFromNodes(*case.session.promptNodes).as_dict()
    return prompts, case.array().tobytes(), repr(provenance(case.node, case.a))
