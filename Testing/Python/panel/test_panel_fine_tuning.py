"""The section Fine-tune: choices, a training run watched through a fake process, and a real one end to end."""

import pytest
from training_case import write_cases

_FAKE = """
import numpy as np
from SAMLiverTumorLib.panel.fine_tuning.watched_training import Training, trainingRoot
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation

class Fake:
    "A training run that the test controls."
    made = {}
    def __init__(self, folder):
        self.folder, self.running, self.events, self.settings, self.cancelled = folder, False, [], None, False
        self.resumed, self.error = None, ""
    def start(self, settings, resume=False):
        self.settings, self.running, self.resumed = settings, True, resume
    def cancel(self):
        self.cancelled = True
    def new_events(self):
        events, self.events = self.events, []
        return events
    def output(self):
        return self.error

def make(folder):
    return Fake.made.setdefault(Path(folder), Fake(Path(folder)))

training = panel.train.training = Training(make)
START = {"event": "start", "settings": {"epochs": 2, "steps": 10}, "base": "0", "resumed_at": 0}
DATA = {"event": "data", "train": 3, "validation": 1, "test": 0, "encoded": 4, "split": "split by patient: p3"}
def step(n, loss=0.5):
    return {"event": "step", "step": n, "epoch": 1, "loss": loss, "rate": 1e-4, "eta_s": 90.0, "memory_mb": 512}
def validation(n, dice):
    return {"event": "validation", "epoch": 1, "step": n, "score": dice, "dice": {"point": dice, "box": dice + 0.1}}
def done(adopted):
    return {"event": "done", "adopted": adopted, "before": {"point": 0.341}, "after": {"point": 0.812},
            "weights": "model.safetensors" if adopted else "not-adopted.safetensors"}
def outline():
    ui.addSegmentButton.click()
    array = np.zeros(user.volume.array.shape, np.uint8)
    array[3:6, 5:9, 6:12] = 1
    node, segmentId = session.segmentationNode, session.segmentId
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, user.volumeNode)
    return array
def begin():
    outline()
    ui.trainStartButton.click()
    user.finish()
    return make(training.folder)
def tell(process, *events):
    process.events += events
    panel.train.poll()
"""


@pytest.fixture
def run(at_panel, tmp_path):
    return lambda program: at_panel(_FAKE + program, XDG_CACHE_HOME=str(tmp_path / "cache"))


def test_the_scene_is_written_for_the_training_with_the_choices_made(run):
    run(
        """
assert not ui.trainStartButton.enabled and "Outline" in ui.trainStartButton.toolTip
array = outline()
organs = createSegmentation(slicer.mrmlScene, user.volumeNode, "organs")
liver = addTumorSegment(organs, "liver")
whole = np.zeros_like(array); whole[2:7, 2:12, 3:20] = 1
slicer.util.updateSegmentBinaryLabelmapFromArray(whole, organs, liver, user.volumeNode)
widget._parameterNode.inside = organs
widget._parameterNode.trainPart = "lora"
ui.trainEpochsSpinBox.value = 7
ui.trainStartButton.click()
user.finish()
process = make(training.folder)
assert training.folder.parent == trainingRoot() and widget._parameterNode.trainFolder == str(training.folder)
settings = process.settings
assert (settings.train, settings.epochs, settings.out) == ("lora", 7, str(training.folder))
assert settings.concepts == ("liver tumor", "liver") and process.resumed is False
import SimpleITK as sitk
label = sitk.ReadImage(str(Path(settings.labels[0]) / "scene.nii.gz"))
image = sitk.ReadImage(str(Path(settings.images[0]) / "scene.nii.gz"))
assert (sitk.GetArrayFromImage(label) == np.where(array, 2, whole)).all()
assert (sitk.GetArrayFromImage(image) == user.volume.array).all()
# ITK's points are LPS
point = np.array(image.TransformIndexToPhysicalPoint((3, 4, 5))) * (-1, -1, 1)
assert np.allclose(point, user.ras(3, 4, 5), atol=1e-4)
assert np.allclose(label.GetDirection(), image.GetDirection())
import slicer.packaging
assert slicer.packaging.asked[-1] == ["monai>=1.4"]
assert not ui.trainStartButton.enabled and ui.trainCancelButton.enabled
ui.trainCancelButton.click()
assert process.cancelled and not ui.trainCancelButton.enabled
"""
    )


def test_state_curves_and_the_adopted_model_are_shown_as_they_come(run):
    run(
        """
process = begin()
assert ui.trainStateLabel.text.startswith("Starting") and panel.train._timer.active
tell(process, START, {"event": "prepare", "patient": "p1", "done": 0, "total": 3})
assert "p1" in ui.trainStateLabel.text
tell(process, DATA, validation(0, 0.25), *[step(n, 1.0 / n) for n in (1, 2, 4)])
text = ui.trainStateLabel.text
assert "step 4 of 20" in text and "2 min left" in text and "512 MB" in text, text
assert "split by patient: p3" in ui.trainNoteLabel.text
table = widget._parameterNode.training.GetTable()
assert [table.GetValue(row, 1).ToDouble() for row in range(table.GetNumberOfRows())] == [1.0, 0.5, 0.25]
tell(process, validation(10, 0.75))
(chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
assert [each.GetYColumnName() for each in series] == ["Loss", "point", "box"]
dice = series[1].GetTableNode().GetTable()
assert [dice.GetValue(row, 1).ToDouble() for row in range(2)] == [0.25, 0.75]
ui.trainPlotButton.click()
# what the user deletes is not created again until requested
slicer.mrmlScene.RemoveNode(widget._parameterNode.training)
tell(process, step(11))
assert widget._parameterNode.training is None
(training.folder / "model.safetensors").write_bytes(b"")
tell(process, done(True))
process.running = False
panel.train.poll()
assert not panel.train._timer.active
assert "0.341" in ui.trainResultLabel.text and "0.812" in ui.trainResultLabel.text
assert widget._parameterNode.model == "file"
assert widget._parameterNode.modelFile == str(training.folder / "model.safetensors")
assert "adopted" in ui.trainNoteLabel.text and not ui.trainUseButton.enabled
"""
    )


def test_a_model_that_is_no_better_is_kept_aside_and_failures_say_why(run):
    run(
        """
process = begin()
before = widget._parameterNode.model
tell(process, START, DATA, step(1), done(False))
process.running = False
panel.train.poll()
assert widget._parameterNode.model == before and "set aside" in ui.trainNoteLabel.text
# a folder of ours that was used is left, and a new one taken
(training.folder / "not-adopted.safetensors").write_bytes(b"")
import time; time.sleep(1.1)
first = training.folder
ui.trainStartButton.click()
user.finish()
assert training.folder != first
process = make(training.folder)
process.running, process.error = False, "warning\\nInputError: too few slices\\n"
panel.train.poll()
assert ui.trainStateLabel.text == "Failed: InputError: too few slices", ui.trainStateLabel.text
assert ui.trainStartButton.enabled
"""
    )


def test_a_running_training_is_picked_up_and_outlives_the_scene(run):
    run(
        """
folder = trainingRoot() / "2026-01-01_00-00-00"
folder.mkdir(parents=True)
process = make(folder)
process.running, process.events = True, [START, DATA, step(1), step(2)]
from SAMLiverTumorLib.models.download.lock import locked
(trainingRoot() / "2026-02-02_00-00-00").mkdir()  # a newer one in which nothing runs
panel.train._hasLooked = False
with locked(folder / "running.lock"):
    widget.exit(); widget.enter()
assert training.folder == folder and training.isWatched and panel.train._timer.active
assert "step 2 of 20" in ui.trainStateLabel.text
slicer.mrmlScene.Clear(0)
tell(process, step(3))
assert "step 3 of 20" in ui.trainStateLabel.text and training.isWatched
assert widget._parameterNode.trainFolder == str(folder)
tell(process, {"event": "cancelled", "step": 3})
process.running = False
panel.train.poll()
assert not ui.trainResumeButton.enabled
(folder / "last.pt").write_bytes(b"")
(folder / "settings.json").write_text('{"epochs": 3}')
panel.update()
assert "Resume" in ui.trainStateLabel.text and ui.trainResumeButton.enabled
ui.trainResumeButton.click()
assert process.resumed and process.settings.epochs == 3 and training.isWatched
"""
    )


def test_a_real_training_on_folders_runs_to_its_end(at_panel, tmp_path, store):
    cases = write_cases(tmp_path / "cases")
    at_panel(
        f"""
import SAMLiverTumorLib.panel.fine_tuning.section as train
from dataclasses import replace
short = dict(epochs=1, steps=2, copies=0, negatives=1, slices=1, validation_slices=1, corrections=1, device="cpu")
settingsOf = train.settingsOf
train.settingsOf = lambda *args, **more: replace(settingsOf(*args, **more), **short)
parameters = widget._parameterNode
parameters.trainSource = "folders"
parameters.trainImages = parameters.trainLabels = {str(cases)!r}
parameters.trainFolder = {str(tmp_path / "run")!r}
assert ui.trainStartButton.enabled, ui.trainStartButton.toolTip
ui.trainStartButton.click()
assert panel.train.training.isWatched
desktop.wait(lambda: not panel.train.training.isWatched, seconds=280)
record = panel.train.training.record
assert record.phase == "done", record
assert len(record.losses) == 2 and record.split.startswith("split by patient")
assert (Path({str(tmp_path / "run")!r}) / record.weights).is_file()
""",
        OMP_NUM_THREADS="1",
    )


def test_names_that_the_panel_knows_of_a_run_are_those_of_the_training(root):
    from SAMLiverTumorLib.panel.fine_tuning import watched_training as training
    from SAMLiverTumorLib.training import settings
    from SAMLiverTumorLib.training.optimization import checkpoint_state as state
    from SAMLiverTumorLib.training.runs import process
    from SAMLiverTumorLib.training.runs import run_training as run

    assert (training.STATE, training.SETTINGS, training.LOCK) == (state.NAME, process.SETTINGS, process.LOCK)
    assert training.RESULTS == (run.ADOPTED, run.NOT_ADOPTED)
    module = (root / "SAMLiverTumor" / "SAMLiverTumor.py").read_text(encoding="utf-8")
    choices = ", ".join(f'"{part}"' for part in settings.TRAINABLE)
    assert f"trainPart: Annotated[str, Choice([{choices}])]" in module


def test_compare_runs_beside_slicer_and_opens_the_report_of_the_training_in_the_folder(run):
    run(
        """
process = begin()
compared = make(Path("comparison"))
opened = []
panel.train.comparison.make = lambda folder: compared
panel.train.comparison.open = lambda path: opened.append(path) or True
compared.start = lambda device="auto": setattr(compared, "running", True)
assert not ui.trainCompareButton.enabled and "no finished training" in ui.trainCompareButton.toolTip
tell(process, START, DATA, step(1), done(True))
(training.folder / "model.safetensors").write_bytes(b"")
process.running = False
panel.train.poll()
assert ui.trainCompareButton.enabled
ui.trainCompareButton.click()
assert compared.running and panel.train.comparison.isRunning
# the same button ends it
assert "Cancel" in ui.trainCompareButton.text and not compared.cancelled
ui.trainCompareButton.click()
assert compared.cancelled and not ui.trainCompareButton.enabled
compared.running, compared.events = False, [{"event": "cancelled", "step": 0}]
panel.train.comparison.poll()
assert not opened and ui.trainCompareButton.text == "Compare" and ui.trainCompareButton.enabled
ui.trainCompareButton.click()
report = training.folder / "comparison.html"
report.write_text("")
compared.events = [{"event": "compare", "done": 3}, {"event": "done", "report": "comparison.html"}]
compared.running = False
panel.train.comparison.poll()
assert opened == [report] and not panel.train.comparison._timer.active
# what could not begin says why
ui.trainCompareButton.click()
compared.running, compared.error = False, "sam-liver-tumor: error: no terminal\\n"
panel.train.comparison.poll()
assert "no terminal" in ui.statusLabel.text, ui.statusLabel.text
"""
    )


def test_compare_is_not_offered_where_nobody_was_held_out(run):
    run(
        """
import json, struct
process = begin()
tell(process, START, DATA, step(1), done(True))
process.running = False
def finished(**split):
    card = {"split": {"train": ["p1"], "validation": [], "test": [], **split}}
    header = json.dumps({"__metadata__": {"sam-liver-tumor": json.dumps({"card": card})}}).encode()
    path = training.folder / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    panel.train.poll()
    panel.update()
finished(validation=["p1"])
assert not ui.trainCompareButton.enabled and "only patient" in ui.trainCompareButton.toolTip
finished(validation=["p2"])
assert ui.trainCompareButton.enabled
finished(validation=["p2"], test=["p1"])
assert not ui.trainCompareButton.enabled
"""
    )
