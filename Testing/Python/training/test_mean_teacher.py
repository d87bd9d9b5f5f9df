"""The average of the weights, and what it teaches from slices without labels."""

import math

import pytest
import torch
from torch import nn
from training_case import options, write_cases

from SAMLiverTumorLib.cli.commands.train import settings_of
from SAMLiverTumorLib.cli.main import build_parser
from SAMLiverTumorLib.training.optimization.losses import balanced_cross_entropy, confident_loss
from SAMLiverTumorLib.training.optimization.mean_teacher import MeanTeacher, Twins
from SAMLiverTumorLib.training.optimization.weight_average import Average
from SAMLiverTumorLib.training.runs.run_training import run_training
from SAMLiverTumorLib.training.samples.simulated_prompts import TEXT


class Toy(nn.Module):
    """A trainee of one weight, whose answer to text is that weight everywhere."""

    def __init__(self, value=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.shown = []

    def learning(self):
        return {"weight": self.weight}

    def image_side(self, sample):
        self.shown.append(sample)
        return sample

    def decode(self, image, prompts, before, concept, ambiguous):
        return self.weight.expand(1, 1, 4, 4), torch.zeros(1, 1)


def test_the_average_follows_fast_at_first_and_slowly_later():
    toy = Toy()
    average = Average(toy, 0.9, {})
    with torch.no_grad():
        toy.weight.fill_(1.0)
    average.follow(0)  # decay 1 / 10
    assert average.weights["weight"].item() == pytest.approx(0.9)
    average.follow(1000)  # decay 0.9 at most
    assert average.weights["weight"].item() == pytest.approx(0.9 * 0.9 + 0.1)


def test_the_averages_weights_are_in_place_within_the_block_alone_even_after_an_error():
    toy = Toy(3.0)
    average = Average(toy, 0.9, {"weight": torch.tensor([7.0])})
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert toy.weight.item() == 7.0
        1 / 0  # noqa: B018
    assert toy.weight.item() == 3.0 and average.weights["weight"].item() == 7.0


def test_structure_and_background_count_by_half_each_however_small_the_structure():
    logits, targets = torch.zeros(100), torch.zeros(100)
    targets[0], logits[0] = 1.0, -2.0
    # one pixel at -2: ln(1 + e^2); 99 at 0: ln 2
    expected = (math.log(1 + math.exp(2)) + math.log(2)) / 2
    assert balanced_cross_entropy(logits, targets).item() == pytest.approx(expected, abs=1e-6)
    assert balanced_cross_entropy(logits[1:], targets[1:]).item() == pytest.approx(math.log(2), abs=1e-6)
    assert balanced_cross_entropy(logits, targets, torch.zeros(100, dtype=torch.bool)).item() == 0.0


def test_the_teacher_is_believed_only_where_it_is_sure():
    probability = torch.tensor([0.95, 0.89, 0.5, 0.06, 0.01])
    logits = torch.tensor([0.0, 50.0, -50.0, 50.0, 0.0], requires_grad=True)
    loss = confident_loss(logits, probability)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    loss.backward()
    assert logits.grad[1:4].abs().sum() == 0 and logits.grad[0] < 0 < logits.grad[4]


def test_the_teacher_looks_at_the_plain_slice_and_the_student_at_the_changed_one():
    toy = Toy(0.0)
    teacher = MeanTeacher(toy, [Twins("plain", "changed")], 100, 0, {"weight": torch.tensor([4.0])})
    exercise = teacher.exercise(50)
    assert toy.shown == ["plain"] and exercise.sample == "changed" and exercise.kind == TEXT
    assert torch.allclose(exercise.target, torch.full((1, 1, 4, 4), 1 / (1 + math.exp(-4))))
    assert not exercise.target.requires_grad


def test_its_weight_rises_over_the_first_third_and_then_stays():
    teacher = MeanTeacher(Toy(), [], 100, 0, {})
    assert teacher.weight(0) == pytest.approx(0.5 * math.exp(-5))
    assert teacher.weight(15) == pytest.approx(0.5 * math.exp(-5 * 0.25))
    assert teacher.weight(30) == teacher.weight(99) == 0.5


def test_a_run_with_unlabeled_slices_resumes_with_its_teacher(tmp_path):
    cases, spare = write_cases(tmp_path / "cases"), tmp_path / "spare"
    spare.mkdir()
    (cases / "p1_ct.nii.gz").rename(spare / "p1_ct.nii.gz")
    (cases / "p1_label.nii.gz").unlink()

    def run(out, stop_at=99, resume=False, **more):
        words = options(cases, tmp_path / out, cache=tmp_path / "pictures", **more)
        settings = settings_of(build_parser().parse_args(["train", *words]))
        losses = {}

        def report(event, **values):
            if event == "step":
                losses[values["step"]] = values["loss"]

        run_training(settings, report, resume, lambda question: True, lambda: len(losses) >= stop_at)
        return losses

    teaching = {"unlabeled": spare, "unlabeled-slices": 2}
    whole = run("whole", **teaching)
    assert sorted(whole) == [1, 2, 3, 4]
    parts = run("parts", stop_at=3, **teaching)
    assert sorted(parts) == [1, 2, 3]
    parts |= run("parts", resume=True, **teaching)
    assert parts == whole
    assert run("labeled")[4] != whole[4]
