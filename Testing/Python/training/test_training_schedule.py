"""What is asked in which step, and how fast is learned."""

import math
from collections import Counter
from pathlib import Path

import pytest

from SAMLiverTumorLib.training.optimization.schedule import Schedule
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.settings import TrainSettings

NOWHERE = Path("none")


def samples(**counts):
    """So many pictures of each patient, each with one lesion."""
    return [Sample(case, f"{case} {n}", (1,), NOWHERE, NOWHERE) for case, count in counts.items() for n in range(count)]


def drawn(schedule, steps=1500):
    return [exercise for step in range(steps) for exercise in schedule.exercises(step)]


def asked(schedule, step):
    return [
        (exercise.sample, exercise.kind, exercise.concept, exercise.rounds, exercise.seed[2])
        for exercise in schedule.exercises(step)
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
    first.exercises(3)
    assert asked(first, 7) == asked(again, 7)
    assert asked(first, 7) != asked(other, 7) != asked(other, 8)
    seeds = [exercise.seed for exercise in drawn(first, 50)]
    assert len(set(seeds)) == 200


def test_a_patient_with_many_pictures_is_drawn_by_their_square_root():
    counts = Counter(exercise.sample.case for exercise in drawn(Schedule(TrainSettings(), samples(a=16, b=4))))
    # 4 to 2, where numbers would say 4 to 1 and patients 1 to 1
    assert counts["a"] / counts.total() == pytest.approx(2 / 3, abs=0.03)


def test_kinds_of_prompts_come_as_often_as_wanted():
    settings = TrainSettings(point=2, box=1, box_and_point=0, text=1, corrections=2)
    exercises = drawn(Schedule(settings, samples(a=4)))
    counts = Counter(exercise.kind for exercise in exercises)
    assert counts["point"] / counts.total() == pytest.approx(0.5, abs=0.04)
    assert counts["text"] / counts.total() == pytest.approx(0.25, abs=0.04)
    assert "box and point" not in counts
    assert {exercise.rounds for exercise in exercises if exercise.kind != "text"} == {1, 2, 3}
    assert {exercise.rounds for exercise in exercises if exercise.kind == "text"} == {1}
    of_liver = [exercise.concept == "liver" for exercise in exercises if exercise.kind == "text"]
    assert sum(of_liver) / len(of_liver) == pytest.approx(0.25, abs=0.06)


def test_without_text_no_text_is_asked_and_pictures_without_lesions_are_left_out():
    bare = Sample("a", "a bare", (), NOWHERE, NOWHERE)
    without = drawn(Schedule(TrainSettings(concepts=()), [bare, *samples(a=3)]), 200)
    assert all(exercise.kind != "text" and exercise.sample.numbers for exercise in without)
    with_text = drawn(Schedule(TrainSettings(), [bare, *samples(a=3)]), 200)
    asked = {exercise.kind for exercise in with_text if not exercise.sample.numbers}
    assert asked == {"text"}


def test_liver_is_not_asked_for_where_only_tumors_are_learned():
    exercises = drawn(Schedule(TrainSettings(concepts=("liver tumor",)), samples(a=3)), 200)
    assert {exercise.concept for exercise in exercises} == {"liver tumor"}
