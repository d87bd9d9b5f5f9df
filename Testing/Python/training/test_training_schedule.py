"""The examples and the learning rate of each step."""

import math
from collections import Counter
from pathlib import Path

import pytest

from SAMLiverTumorLib.training.optimization.schedule import Schedule
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.settings import TrainSettings

NOWHERE = Path("none")


def samples(**counts):
    """That many samples of each patient, each with one lesion."""
    return [Sample(case, f"{case} {n}", (1,), NOWHERE, NOWHERE) for case, count in counts.items() for n in range(count)]


def drawn(schedule, steps=1500):
    return [example for step in range(steps) for example in schedule.examples(step)]


def described(schedule, step):
    return [
        (example.sample, example.kind, example.concept, example.rounds, example.seed[2])
        for example in schedule.examples(step)
    ]


def test_the_rate_rises_in_a_line_and_falls_as_half_a_cosine():
    schedule = Schedule(TrainSettings(epochs=2, steps=50, warm_up=0.1, learning_rate=1.0), samples(a=1))
    # ten steps up, ninety down
    assert [schedule.rate(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert [schedule.rate(step) for step in (40, 55, 70)] == pytest.approx([0.75, 0.5, 0.25])
    assert schedule.rate(99) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert schedule.rate(100) == pytest.approx(0, abs=1e-12)


def test_a_step_is_drawn_from_the_seed_and_its_number_alone():
    first = Schedule(TrainSettings(seed=1, batch=4), samples(a=5, b=5))
    again = Schedule(TrainSettings(seed=1, batch=4), samples(a=5, b=5))
    other = Schedule(TrainSettings(seed=2, batch=4), samples(a=5, b=5))
    first.examples(3)
    assert described(first, 7) == described(again, 7)
    assert described(first, 7) != described(other, 7) != described(other, 8)
    seeds = [example.seed for example in drawn(first, 50)]
    assert len(set(seeds)) == 200


def test_a_patient_with_many_slice_images_is_drawn_by_their_square_root():
    counts = Counter(example.sample.case for example in drawn(Schedule(TrainSettings(), samples(a=16, b=4))))
    # 4 to 2; by number of slice images it would be 4 to 1, by patients 1 to 1
    assert counts["a"] / counts.total() == pytest.approx(2 / 3, abs=0.03)


def test_kinds_of_prompts_are_drawn_in_the_given_proportions():
    settings = TrainSettings(point=2, box=1, box_and_point=0, text=1, corrections=2)
    examples = drawn(Schedule(settings, samples(a=4)))
    counts = Counter(example.kind for example in examples)
    assert counts["point"] / counts.total() == pytest.approx(0.5, abs=0.04)
    assert counts["text"] / counts.total() == pytest.approx(0.25, abs=0.04)
    assert "box and point" not in counts
    assert {example.rounds for example in examples if example.kind != "text"} == {1, 2, 3}
    assert {example.rounds for example in examples if example.kind == "text"} == {1}
    of_liver = [example.concept == "liver" for example in examples if example.kind == "text"]
    assert sum(of_liver) / len(of_liver) == pytest.approx(0.25, abs=0.06)


def test_without_text_slice_images_without_lesions_are_left_out():
    bare = Sample("a", "a bare", (), NOWHERE, NOWHERE)
    without = drawn(Schedule(TrainSettings(concepts=()), [bare, *samples(a=3)]), 200)
    assert all(example.kind != "text" and example.sample.numbers for example in without)
    with_text = drawn(Schedule(TrainSettings(), [bare, *samples(a=3)]), 200)
    kinds = {example.kind for example in with_text if not example.sample.numbers}
    assert kinds == {"text"}


def test_liver_is_no_concept_if_only_tumors_are_learned():
    examples = drawn(Schedule(TrainSettings(concepts=("liver tumor",)), samples(a=3)), 200)
    assert {example.concept for example in examples} == {"liver tumor"}
