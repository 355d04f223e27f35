"""The benchmark's own arithmetic, and that nothing it shows is seen before."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench.learning.augmentation import gains
from bench.learning.figures import mean_interval, needed, saved
from bench.learning.known import Known, usable
from bench.learning.learning import Answered, Lesson, answered, lessons
from bench.learning.pictures import PHOTOGRAPHS, made, of_folder, strip
from bench.learning.plan import Plan
from bench.learning.report import Found, as_json, figures, judged
from bench.learning.usage import Usage
from PIL import Image

from sphere import around, middles

LESSONS = [Lesson(n, [0.5, 0.9], [0.6, 0.9], [0.1, 0.2], [0.7], [1.0, 3.0]) for n in (1, 2, 4, 8)]
ANSWERED = Answered(
    [10, 20, 30, 40],
    {"random": [[0.2, 0.4, 0.6, 0.8]] * 2, "suggested": [[0.4, 0.6, 0.8, 0.9]] * 2},
)
USAGE = Usage(100, 10, 2, 20.0, 30.0, 31.0, 33.5, True, 0.9)


def of_clusters(names: tuple[str, ...] = ("a", "b", "c"), each: int = 20) -> Known:
    places = middles(len(names))
    vectors = [around(place, each, at) for at, place in enumerate(places)]
    total = each * len(names)
    return Known(
        tuple(np.repeat(names, each).tolist()),
        np.concatenate(vectors),
        np.arange(total),
        np.full(total, -1),
        "model@1",
    )


def test_strips_of_a_photograph_have_nothing_in_common() -> None:
    for size in ((640, 427), (300, 400)):
        one, other = (strip(size, side) for side in (0, 1))
        along = 0 if size[0] > size[1] else 1
        assert one[along + 2] < other[along]
        assert other[along + 2] == size[along]


def test_pictures_are_made_the_same_each_time_and_each_is_another() -> None:
    one, again = list(made(3, 5)), list(made(3, 5))
    pixels = [picture.image.tobytes() for picture in one]
    assert pixels == [picture.image.tobytes() for picture in again]
    assert len(set(pixels)) == len(one)
    assert len({picture.label for picture in one}) >= len(PHOTOGRAPHS) + 4


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_seen_before(seed: int) -> None:
    shown = list(made(8, 5))
    whole = Known(
        tuple(one.label for one in shown),
        np.zeros((len(shown), 2), np.float32),
        np.array([one.source for one in shown]),
        np.array([-1 if one.side is None else one.side for one in shown]),
        "model@1",
    )
    unseen = whole.unseen(seed)
    things = list(zip(whole.sources.tolist(), whole.sides.tolist(), strict=True))
    later = {things[at] for at in np.flatnonzero(unseen)}
    assert later.isdisjoint(things[at] for at in np.flatnonzero(~unseen))
    assert {whole.labels[at] for at in np.flatnonzero(unseen)} == set(whole.names)
    assert {whole.labels[at] for at in np.flatnonzero(~unseen)} == set(whole.names)


def test_copies_are_unseen_together_and_a_label_of_copies_is_left_out() -> None:
    one = of_clusters(("a", "b", "copies"), 4)
    vectors = one.vectors.copy()
    vectors[8:] = vectors[8]
    vectors[1] = vectors[0]
    told: list[str] = []
    found = usable(replace(one, vectors=vectors), told.append)
    assert found.names == ("a", "b")
    assert found.sources[0] == found.sources[1]
    assert "copies is left out" in told[0]
    with pytest.raises(ValueError, match="fewer than two"):
        usable(replace(one, vectors=np.repeat(vectors[:1], 12, axis=0)), told.append)


def test_a_folder_gives_its_photos_and_tells_what_is_none(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/deep/2.png", "dog/1.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1500, 20)).save(file)
    (tmp_path / "dog" / "notes.txt").write_text("woof", encoding="utf-8")
    told: list[str] = []
    found = list(of_folder(tmp_path, told.append))
    assert [one.label for one in found] == ["cat", "cat", "dog"]
    assert len({one.source for one in found}) == 3
    assert told == ["dog/notes.txt is no photo that can be read"]


def test_a_folder_needs_two_labels(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="two labels"):
        list(of_folder(tmp_path, lambda _: None))


@pytest.mark.parametrize(
    ("goal", "answers"), [(0.2, 5.0), (0.4, 10.0), (0.5, 15.0), (0.9, 40.0), (0.95, 40.0)]
)
def test_answers_until_a_goal(goal: float, answers: float) -> None:
    assert needed([10, 20, 40], [0.4, 0.6, 0.9], goal) == pytest.approx(answers)


def test_half_of_the_answers_are_saved() -> None:
    found = saved(ANSWERED, 20, 1)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_what_never_gets_as_far_saves_less_than_nothing() -> None:
    worse = replace(ANSWERED, accuracy={**ANSWERED.accuracy, "suggested": [[0.1] * 4] * 2})
    assert saved(worse, 20, 1).value == -1.0


def test_an_interval_covers_what_seeds_differ_by() -> None:
    found = mean_interval([0.5, 0.7, 0.9], 1)
    assert found.value == pytest.approx(0.7)
    assert 0.5 <= found.low < 0.7 < found.high <= 0.9


def test_the_result_has_the_figures_that_are_asked_for() -> None:
    told = json.loads(json.dumps(as_json(Found(LESSONS, ANSWERED, USAGE), {"seed": 7})))
    assert told["accuracy_by_examples"] == {"1": 0.7, "2": 0.7, "4": 0.7, "8": 0.7}
    assert told["accuracy_intervals"]["8"] == [0.5, 0.9]
    assert (told["ece"], told["train_seconds"]) == (0.15, 2.0)
    assert told["answers_saved_by_active_learning"] == 0.5
    assert told["upload_to_use_seconds"] == 33.5
    assert told["seed"] == 7


def test_what_is_too_little_is_missed() -> None:
    limits = judged(figures(Found(LESSONS, ANSWERED, USAGE)))
    assert {one.figure: one.ok for one in limits} == {
        "accuracy_8": False,
        "answers_saved_by_active_learning": True,
        "upload_to_use_seconds": True,
    }


def test_copies_that_say_the_same_gain_nothing_and_wrong_ones_cost() -> None:
    whole, plan = of_clusters(), Plan(each=20, seeds=3)
    shuffled = replace(whole, vectors=np.roll(whole.vectors, 20, axis=0))
    same = gains(whole, [whole], plan, lambda _: None)
    wrong = gains(whole, [shuffled] * 3, plan, lambda _: None)
    assert [one.examples for one in same] == [1, 2, 4, 8]
    assert all(abs(one.gain.value) < 0.1 for one in same)
    assert all(one.gain.high < -0.2 for one in wrong)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "b", "none")])
def test_all_is_learned_of_clusters(names: tuple[str, ...]) -> None:
    plan, whole = Plan(each=20, seeds=2), of_clusters(names)
    told: list[str] = []
    found = Found(lessons(whole, plan, told.append), answered(whole, plan, told.append), USAGE)
    values = figures(found)
    assert values["accuracy_8"] > 0.85
    assert found.answered.answers == list(range(1, 25))
    assert all(len(one.accuracy) == 2 for one in found.lessons)
    assert all(len(curve) == 24 for curve in found.answered.accuracy["suggested"])
