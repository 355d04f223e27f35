"""Which photos a person should be asked about next."""

import numpy as np
import pytest

from heads import Head, suggesting
from heads.suggesting import suggest, uncertainty
from sphere import around, clusters, middles, unit
from trainer.examples import Examples, Floats
from trainer.fitting import fit

NOTHING = np.empty((0, 32), np.float32)


def head_of(places: Floats, labels: tuple[str, ...]) -> Head:
    return fit(clusters(labels, 6, among=places), "m").head


def test_clusters_are_visited_before_any_twice() -> None:
    places = middles(8)
    sizes = (200, 100, 50, 25, 12, 6, 6, 6)
    pool = np.concatenate(
        [around(p, n, at) for at, (p, n) in enumerate(zip(places, sizes, strict=True))]
    )
    of = np.repeat(np.arange(8), sizes)
    chosen = suggest(pool, 8, None, NOTHING)
    assert len({int(of[at]) for at in chosen}) == 8


def test_what_is_known_is_not_asked_again() -> None:
    places = middles(3)
    pool = np.concatenate([around(place, 30, at, 0.3) for at, place in enumerate(places)])
    chosen = suggest(pool, 5, None, around(places[0], 5, 9, 0.3))
    assert 0 not in {at // 30 for at in chosen[:2]}


def test_a_doubtful_photo_goes_before_a_sure_one() -> None:
    places = middles(2)
    between = unit(places.sum(axis=0, keepdims=True))[0]
    pool = np.concatenate([around(places[0], 40, 1, 0.2), around(between, 5, 2, 0.2)])
    head = head_of(places, ("a", "b"))
    doubts = uncertainty(pool, head)
    assert doubts[40:].min() > doubts[:40].max()
    assert suggest(pool, 1, doubts, places)[0] >= 40


def test_of_several_heads_the_one_whose_label_is_shown_doubts() -> None:
    places = middles(4)
    one, other = head_of(places[:2], ("a", "b")), head_of(places[2:], ("c", "d"))
    between = unit(places[2:3] + places[3:])
    pool = np.concatenate([around(places[0], 20, 1, 0.1), around(between, 20, 2, 0.1)])
    for heads in ((one, other), (other, one)):
        doubts = uncertainty(pool, *heads)
        assert doubts[:20].tolist() == uncertainty(pool[:20], one).tolist()
        assert doubts[20:].tolist() == uncertainty(pool[20:], other).tolist()
        assert doubts[20:].min() > doubts[:20].max()


def test_a_photo_that_is_like_nothing_waits() -> None:
    places = middles(3)
    pool = np.concatenate([around(places[0], 60, 1), around(places[1], 60, 2), -places[:1]])
    assert 120 not in suggest(pool, 4, None, NOTHING)


def test_suggestions_are_distinct_and_the_same_for_a_seed() -> None:
    pool = around(middles(1)[0], 50, 1)
    one = suggest(pool, 60, None, NOTHING, seed=2)
    assert sorted(one) == list(range(50))
    assert one == suggest(pool, 60, None, NOTHING, seed=2)


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_suggested_of_nothing(count: int) -> None:
    assert suggest(NOTHING, count, None, NOTHING) == []


def test_copies_of_one_photo_do_not_stop_it() -> None:
    pool = np.repeat(middles(1), 20, axis=0)
    assert len(set(suggest(pool, 5, None, pool[:1]))) == 5


def test_of_many_photos_only_some_are_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggesting, "_MOST", 16)
    places = middles(2)
    between = unit(places.sum(axis=0, keepdims=True))[0]
    pool = np.concatenate([around(places[0], 2_000, 1), around(between, 8, 2, 0.1)])
    seen: list[int] = []
    spread = suggesting._spread

    def note(among: Floats, *others: object) -> object:
        seen.append(len(among))
        return spread(among, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(suggesting, "_spread", note)
    doubts = uncertainty(pool, head_of(places, ("a", "b")))
    chosen = suggest(pool, 1, doubts, places)
    assert seen == [32]
    assert chosen[0] >= 2_000


def test_as_many_answers_teach_more() -> None:
    """A pool in which one label is common and others are rare, as photos of people are."""
    names = tuple(f"label-{at}" for at in range(8))
    places = middles(8)
    sizes = [240, *[12] * 7]
    pool = np.concatenate(
        [around(p, n, at, 1.0) for at, (p, n) in enumerate(zip(places, sizes, strict=True))]
    )
    labels = np.repeat(names, sizes)
    unseen = clusters(names, 40, seed=99, width=1.0, among=places)

    def accuracy(asked: list[int]) -> float:
        shown = Examples.of([str(at) for at in asked], labels[asked].tolist(), pool[asked])
        told = fit(shown, "m").head.predict(unseen.vectors)
        said = np.array(told.labels)[told.confidences.argmax(axis=1)]
        return float((said == np.array(unseen.labels)).mean())

    by_chance = np.random.default_rng(1).permutation(len(pool))[:24].tolist()
    asked: list[int] = []
    head: Head | None = None
    for _ in range(4):
        rest = np.setdiff1d(np.arange(len(pool)), asked)
        doubts = uncertainty(pool[rest], head) if head else None
        asked += rest[suggest(pool[rest], 6, doubts, pool[asked])].tolist()
        shown = Examples.of([str(at) for at in asked], labels[asked].tolist(), pool[asked])
        head = fit(shown, "m").head
    assert accuracy(asked) > accuracy(by_chance) + 0.1
