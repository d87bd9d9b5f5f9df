"""The section Further phases: a phase that lies elsewhere is registered, in a thread, and let go if it is gone."""

import pytest
from phases_case import PHASES


@pytest.fixture
def run(at_panel):
    return lambda program, **options: at_panel(PHASES + program, **options)


def test_register_moves_the_phase_by_a_transform_in_the_scene(run):
    run(
        """
# a body of three blobs, nothing of it symmetric, of 3 x 3 x 4 mm
k, j, i = np.meshgrid(np.arange(30), np.arange(50), np.arange(60), indexing="ij")
hu = np.full(k.shape, -1000.0)
for ci, cj, ck, ri, rj, rk, value in (
    (30, 25, 15, 26, 20, 40, 20), (20, 22, 17, 12, 11, 9, 110), (42, 20, 20, 7, 6, 5, 60), (32, 37, 15, 4, 4, 40, 400),
):
    hu[((i - ci) / ri) ** 2 + ((j - cj) / rj) ** 2 + ((k - ck) / rk) ** 2 < 1] = value
hu += np.random.default_rng(0).normal(0, 8, hu.shape)
affine = np.array([[-3.0, 0, 0, 90], [0, -3.0, 0, 70], [0, 0, 4.0, -50], [0, 0, 0, 1]])
portal = addVolumeNode(slicer.mrmlScene, Volume(hu.astype(np.int16), affine, "portal"))
far = affine.copy()
far[:3, 3] += (300, 40, -20)
arterial = addVolumeNode(slicer.mrmlScene, Volume((hu + 12).astype(np.int16), far, "arterial"))
voxels = slicer.util.arrayFromVolume(arterial).copy()
from SAMLiverTumorLib.mrml.nodes.channel_nodes import furtherChannels
(console,) = furtherChannels(portal, [arterial], register=True)
ui.volumeSelector.setCurrentNode(portal)
ui.phase1Selector.setCurrentNode(arterial)
user.finish()
assert "do not overlap" in session.message
ui.phase1RegisterButton.click()
assert panel.tasks.busy and not ui.phase1RegisterButton.enabled
settle()
transform = arterial.GetParentTransformNode()
assert transform is not None and transform.GetName() == "arterial to portal"
matrix = slicer.util.arrayFromTransformMatrix(transform)
# the middle of the body comes back to where it is in the volume
middle = np.array([0.0, 0, 10, 1])
assert np.linalg.norm((matrix @ (middle + (300, 40, -20, 0)) - middle)[:3]) < 1, matrix
assert np.abs(matrix[:3, :3] - np.eye(3)).max() < 0.02
assert (slicer.util.arrayFromVolume(arterial) == voxels).all()
assert "moved by" in ui.phasesLabel.text and ui.phasesLabel.text.startswith("arterial: window -160 to 240")
(channel,) = session.settings.further
entry = channel.as_dict()
assert abs(entry["registration"]["shift_mm"] - np.linalg.norm((300, 40, -20))) < 1, entry
assert (channel.volume.array == console.volume.array).all(), "as console and program have it, bit for bit"
assert entry["registration"] == console.as_dict()["registration"] and entry["voxels"] == console.as_dict()["voxels"]
found, inside = np.asarray(channel.volume.array, float), np.s_[3:-3, 5:-5, 5:-5]
assert np.abs(found - hu - 12)[inside].mean() < 12, np.abs(found - hu - 12)[inside].mean()

# moved by hand afterwards, it is no longer said to lie where it was registered to; registering takes the same node
matrix[0, 3] += 10
transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
settle()
(channel,) = session.settings.further
assert channel.isMade and "registration" not in channel.as_dict() and "moved by" not in ui.phasesLabel.text
ui.phase1RegisterButton.click()
settle()
assert arterial.GetParentTransformNode() is transform
again = slicer.util.arrayFromTransformMatrix(transform)
assert np.linalg.norm((again @ (middle + (300, 40, -20, 0)) - middle)[:3]) < 1, again
assert len(registrations()) == 1
# what else is under our transform keeps it
other = addVolumeNode(slicer.mrmlScene, Volume(voxels, far, "other"))
other.SetAndObserveTransformNodeID(transform.GetID())
ui.phase1RegisterButton.click()
user.finish()
assert other.GetParentTransformNode() is transform
assert arterial.GetParentTransformNode() is not transform
assert (slicer.util.arrayFromTransformMatrix(transform) == again).all()
"""
    )


def test_registration_stops_within_a_second_of_cancel_and_changes_nothing(run):
    run(
        """
import time
rng = np.random.default_rng(0)
def noise(name):
    array = rng.integers(-1000, 400, (60, 200, 200)).astype(np.int16)
    return addVolumeNode(slicer.mrmlScene, Volume(array, np.eye(4), name))
big, other = noise("a"), noise("b")
ui.volumeSelector.setCurrentNode(big)
ui.phase1Selector.setCurrentNode(other)
user.finish()
from SAMLiverTumorLib.image import registration
began, execute = [], registration._registered
def heard(*arguments):
    began.append(1)
    return execute(*arguments)
registration._registered = heard
ui.phase1RegisterButton.click()
desktop.wait(lambda: began)
ui.cancelButton.click()
start = time.monotonic()
done = []
panel.worker.submit("next", lambda cancelled: done.append(1), owner="test")
desktop.wait(lambda: done)
assert time.monotonic() - start < 5, "a hang, on a machine that others use too"
assert len(began) == 1 and other.GetParentTransformNode() is None
assert not panel.tasks.busy and session.message == "Cancelled."
"""
    )


def test_a_phase_that_is_removed_or_moved_meanwhile_is_let_go(run):
    run(
        """
node = phase(150)
ui.phase1Selector.setCurrentNode(node)
user.finish()
assert len(session.settings.further) == 1
slicer.mrmlScene.RemoveNode(node)
user.finish()
assert session.settings.further == () and widget._parameterNode.phase1 is None and not ui.phasesLabel.text
user.click(5, 6, 4)
user.finish()
assert (pictures[-1][..., 0] == pictures[-1][..., 1]).all() and user.count() == SPECK
# removed while it is being registered
from SAMLiverTumorLib.image import registration
import threading
gate = threading.Event()
def slow(first, other, cancel=None):
    gate.wait(30)
    return registration.Registration(np.eye(4), 0.0, 0.0, (0.0, 1.0), 0.0)
registration.register_rigid = slow
node = phase(150)
ui.phase1Selector.setCurrentNode(node)
user.finish()
ui.phase1RegisterButton.click()
slicer.mrmlScene.RemoveNode(node)
gate.set()
user.finish()
assert "register again" in session.message
assert not registrations()
ui.phase1Selector.setCurrentNode(phase(150))
user.finish()
import weakref
channel = weakref.ref(session.settings.further[0])
desktop.closeScene()
user.finish()
assert session.settings.further == ()
# the worker's thread holds its last job until the next one
panel.worker.submit("next", lambda cancelled: None, owner="test")
import gc
desktop.wait(lambda: gc.collect() is not None and channel() is None, what="letting go of a closed scene's voxels")
"""
    )
