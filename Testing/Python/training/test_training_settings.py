"""Settings of a training run, its progress events, and the state from which it resumes."""

import argparse
import errno
import io
import json
import math

import pytest
import torch

from SAMLiverTumorLib.cli.commands.train import add_parser, settings_of
from SAMLiverTumorLib.cli.commands.train_progress_text import ProgressText, progress_text
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.training.optimization.checkpoint_state import NAME, TrainingState, load_state
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.process import TrainingProcess
from SAMLiverTumorLib.training.settings import TrainSettings, from_mapping, read_settings


@pytest.fixture
def toml(tmp_path):
    """Write a TOML file beside the data; its path."""

    def write(text, name="run.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return settings_of(parser.parse_args(["train", *map(str, words)]))


def test_a_toml_file_has_paths_from_its_own_folder(toml, tmp_path):
    path = toml('images = ["ct", "/else/ct"]\nlabels = ["label", "../l"]\nout = "run"\nlearning-rate = 1\nseed = 3\n')
    settings = read_settings(path)
    assert settings.images == (str(tmp_path / "ct"), "/else/ct")
    assert settings.labels == (str(tmp_path / "label"), str(tmp_path / "../l"))
    assert settings.out == str(tmp_path / "run") and settings.cache == ""
    assert settings.learning_rate == 1.0 and isinstance(settings.learning_rate, float) and settings.seed == 3


def test_options_win_over_the_file_and_the_file_over_defaults(toml):
    path = toml('epochs = 7\nbatch = 4\ntrain = "last"\n[label_names]\n5 = "tumor"\n')
    settings = parsed("--config", path, "--epochs", 3, "--no-blend", "--label", "Tumor=tumor", "--text")
    assert (settings.epochs, settings.batch, settings.train, settings.blend) == (3, 4, "last", False)
    assert settings.label_names == {"Tumor": "tumor"} and settings.concepts == ()
    assert settings.learning_rate == TrainSettings().learning_rate
    assert parsed("--config", path).label_names == {"5": "tumor"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 2.5", "'epochs' is 2.5; a whole number"),
        ("epochs = true", "'epochs' is True; a whole number"),
        ("blend = 1", "'blend' is 1; true or false"),
        ('learning_rate = "fast"', "'learning_rate' is 'fast'; a number"),
        ('images = "ct"', "'images' is 'ct'; a list of texts"),
        ("images = 3", "'images' is 3; a list of texts"),
        ("labels = [3]", "a list of texts"),
        ("out = 3", "'out' is 3; a text"),
        ("label_names = 3", "a table of texts"),
        ('unlabeled = ["ct"]', "unlabeled scans was removed"),
        ("epoch = 3", "'epoch' is not a setting of a training run; there are accumulate"),
        ("epochs = ", "cannot be parsed"),
        ("epochs = 0", "epochs is 0; at least 1"),
        ("corrections = -1", "corrections is -1; at least 0"),
        ("batch = 3\naccumulate = 2", "batch of 3 cannot be split into 2"),
        ("learning_rate = nan", "must be above 0"),
        ("validation_share = 1.0", "between 0 and 1"),
        ('train = "half"', "choose one of decoder, lora, last, all"),
        ('concepts = ["kidney"]', "where 'kidney' is"),
        ('concepts = ["liver"]', "only together with 'liver tumor'"),
        ("point = 0\nbox = 0\nbox_and_point = 0\ntext = 0", "No kind of prompt"),
        ('images = ["a", "b"]\nlabels = ["a"]', "2 folders of images and 1 of labels"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_needed(toml, text, message):
    with pytest.raises(InputError, match=message):
        read_settings(toml(text))


def test_a_settings_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")


@pytest.mark.parametrize("option", ["2", "=tumor2", "2=kidney"])
def test_a_label_option_without_a_known_meaning_is_refused(option):
    with pytest.raises(InputError, match="VALUE=tumor, VALUE=liver or VALUE=ignore"):
        parsed("--label", option)


def test_settings_of_an_earlier_version_without_unlabeled_scans_are_read():
    earlier = {"unlabeled": [], "unlabeled_window": "", "unlabeled-slices": 16, "epochs": 3}
    assert from_mapping(earlier) == TrainSettings(epochs=3)


def test_settings_survive_conversion_to_plain_values_and_back():
    settings = TrainSettings(("a",), ("b",), concepts=("liver tumor",), learning_rate=0.5)
    assert from_mapping(json.loads(json.dumps(settings.as_dict()))) == settings


def test_nan_and_infinity_become_null(tmp_path):
    report = Reporter(tmp_path)
    report("step", loss=math.nan, dice={"box": math.inf, "point": 0.12345678}, parts=(1.0, math.nan))
    (event,) = TrainingProcess(tmp_path).new_events()
    assert event["loss"] is None and event["dice"] == {"box": None, "point": 0.123457} and event["parts"] == [1.0, None]
    assert progress_text({**event, "step": 10, "epoch": 1, "eta_s": 3661.0, "memory_mb": 5}).split()[5:7] == [
        "-",
        "1:01:01",
    ]


def test_the_file_is_still_written_when_the_listener_is_gone(tmp_path):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    report = Reporter(tmp_path, Gone())
    report("note", text="one")
    report("note", text="two")
    assert [event["text"] for event in TrainingProcess(tmp_path).new_events()] == ["one", "two"]


def test_a_half_written_line_is_left_out_and_hides_only_the_next(tmp_path):
    watched, report = TrainingProcess(tmp_path), Reporter(tmp_path)
    report("note", text="whole")
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"event": "no')
    assert [event["text"] for event in watched.new_events()] == ["whole"]
    # killed there and resumed: the next event is appended to the same line
    report("note", text="hidden")
    report("note", text="again")
    assert [event["text"] for event in watched.new_events()] == ["again"]
    assert watched.new_events() == []
    assert TrainingProcess(tmp_path / "none").new_events() == []


def test_a_full_disk_is_reported(tmp_path):
    (tmp_path / "progress.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written.*--resume"):
        Reporter(tmp_path)("note", text="one")


def test_names_of_patients_are_printed_unchanged():
    stream = io.StringIO()
    counts = {"train": 4, "validation": 2, "test": 0, "encoded": 1}
    Reporter(None, ProgressText(stream))("data", **counts, split="split by patient: validation LiTS_7")
    assert "Split by patient: validation LiTS_7." in stream.getvalue()


class TestState:
    """The file to resume from."""

    def test_it_comes_back_as_it_was(self, tmp_path):
        weights = {"a": torch.tensor([1.5, -2.0])}
        state = TrainingState(3, weights, {"state": {0: {"step": torch.tensor(3.0)}}}, weights, 0.5, 2)
        state.history, state.settings, state.average = [{"epoch": 1, "dice": {"box": {"p": 0.5}}}], {"seed": 1}, weights
        state.save(tmp_path)
        back = load_state(tmp_path)
        assert (back.step, back.best_score, back.best_epoch) == (3, 0.5, 2)
        assert back.history == state.history and back.settings == state.settings
        assert torch.equal(back.average["a"], weights["a"]) and back.optimizer["state"][0]["step"] == 3

    def test_one_of_an_earlier_version_is_read_without_its_teacher(self, tmp_path):
        TrainingState(3).save(tmp_path)
        content = torch.load(tmp_path / NAME, weights_only=True)
        torch.save({**content, "teacher": {"a": torch.ones(2)}}, tmp_path / NAME)
        assert load_state(tmp_path).step == 3

    def test_a_disk_that_fills_up_leaves_the_one_from_before(self, tmp_path, monkeypatch):
        TrainingState(1).save(tmp_path)

        def full(content, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(OutputError, match="free some space"):
            TrainingState(2).save(tmp_path)
        assert load_state(tmp_path).step == 1 and [path.name for path in tmp_path.iterdir()] == [NAME]

    @pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:200], lambda whole: b"nonsense" * 9])
    def test_a_damaged_one_is_refused(self, tmp_path, damage):
        TrainingState(1).save(tmp_path)
        (tmp_path / NAME).write_bytes(damage((tmp_path / NAME).read_bytes()))
        with pytest.raises(InputError, match="is damaged"):
            load_state(tmp_path)

    def test_a_folder_without_a_state_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="holds no training run to resume"):
            load_state(tmp_path)
