"""A head from examples whose structure is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from sphere import DIMENSION, around, clusters, middles, unit, with_labels
from trainer.calibration import calibration_error, temperature, wilson
from trainer.examples import Examples, ExamplesError, Label, poisoned
from trainer.fitting import fit
from trainer.folds import ALWAYS_TAUGHT, copies, folds, held_out
from trainer.logistic import balanced, fitted
from trainer.policy import USUAL

NAMES = ("bill", "cat", "dog", "map")
MODEL = "model@1"


def accuracy(examples: Examples, unseen: Examples) -> float:
    said = [label for label, _ in fit(examples, MODEL).head.predict(unseen.vectors).best()]
    return float(np.mean([one == true for one, true in zip(said, unseen.labels, strict=True)]))


def unseen_of(places: np.ndarray, names: tuple[str, ...] = NAMES) -> Examples:
    return clusters(names, 50, seed=99, among=places)


def test_clusters_that_are_apart_are_told_apart() -> None:
    places = middles(4)
    assert accuracy(clusters(NAMES, 8, among=places), unseen_of(places)) > 0.93


def test_more_examples_teach_more() -> None:
    places = middles(4)
    unseen = clusters(NAMES, 100, seed=99, width=1.2, among=places)
    few, many = (
        np.mean([accuracy(clusters(NAMES, n, s, 1.2, places), unseen) for s in range(4)])
        for n in (2, 16)
    )
    assert many > few + 0.05


def test_the_same_seed_gives_the_same_bytes() -> None:
    examples = clusters((*NAMES, None), 6)
    assert fit(examples, MODEL, seed=3).head.data == fit(examples, MODEL, seed=3).head.data


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(15)))
def test_the_order_of_examples_is_nothing(order: list[int]) -> None:
    one = clusters(("a", "b", "c"), 5)
    other = Examples.of(
        [one.keys[at] for at in order], [one.labels[at] for at in order], one.vectors[order]
    )
    assert fit(other, MODEL).head.version == fit(one, MODEL).head.version


def test_one_example_only_makes_a_head_that_knows_it() -> None:
    only = Examples.of(["one"], ["cat"], middles(1))
    trained = fit(only, MODEL)
    assert trained.chosen_by == 0
    far = -middles(1)
    said = trained.head.predict(np.concatenate([only.vectors, far])).best()
    assert [label for label, _ in said] == ["cat", None]


def test_one_example_of_each_label_is_recognised() -> None:
    places = middles(4)
    assert accuracy(clusters(NAMES, 1, width=0.2, among=places), unseen_of(places)) > 0.8


def test_one_label_with_none_is_told_from_none() -> None:
    places = middles(2)
    shown = clusters(("cat", None), 12, among=places)
    assert accuracy(shown, clusters(("cat", None), 50, seed=99, among=places)) > 0.9


@pytest.mark.parametrize(
    "labels", [("a",) * 6, ("a", "a", "a", "b", "b", "b"), ("a",) * 5 + ("b",)]
)
def test_identical_vectors_make_a_head_that_is_not_sure(labels: tuple[str, ...]) -> None:
    same = np.repeat(middles(1), 6, axis=0)
    trained = fit(Examples.of([f"{at}" for at in range(6)], labels, same), MODEL)
    found = trained.head.predict(same)
    assert np.isfinite(found.confidences).all()
    assert trained.chosen_by == 0
    if "b" in labels:
        assert found.confidences[0, 0] == pytest.approx(found.confidences[0, 1], abs=1e-3)


def test_balance_gives_every_label_the_same_say() -> None:
    targets, weights = np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 0.5, 0.1])
    scaled = balanced(targets, weights)
    assert scaled[:3].sum() == pytest.approx(scaled[3])
    assert scaled.sum() == pytest.approx(4)


def test_a_label_with_many_examples_is_not_preferred() -> None:
    places = middles(2)
    many, few = around(places[0], 60, 1, 1.5), around(places[1], 6, 2, 1.5)
    examples = Examples.of(
        [f"{at}" for at in range(66)], ["many"] * 60 + ["few"] * 6, np.concatenate([many, few])
    )
    unseen = [around(place, 200, 3 + at, 1.5) for at, place in enumerate(places)]
    head = fit(examples, MODEL).head
    of_many, of_few = (head.predict(one).confidences.argmax(axis=1) for one in unseen)
    assert (of_few == 0).mean() > 0.85
    assert (of_many == 1).mean() > 0.85


def test_a_light_example_teaches_less_than_a_heavy_one() -> None:
    places = middles(2)
    vectors = np.concatenate([places, unit(places[:1] + 0.6 * places[1:])])
    keys, labels = ["a", "b", "wrong"], ["left", "right", "right"]
    asked = vectors[2:]
    heavy, light = (
        fit(Examples.of(keys, labels, vectors, [1, 1, weight]), MODEL).head.predict(asked)
        for weight in (1.0, 0.05)
    )
    assert heavy.confidences[0, 1] > light.confidences[0, 1]


@pytest.mark.parametrize("none", [0, 12])
def test_strangers_are_none_and_few_of_a_label_are(none: int) -> None:
    places = middles(6)
    known = clusters(NAMES, 8, among=places[:4])
    strangers = np.concatenate([around(places[at], 40, at) for at in (4, 5)])
    if none:
        anywhere = clusters((None,), none)
        known = Examples.of(
            known.keys + anywhere.keys,
            known.labels + anywhere.labels,
            np.concatenate([known.vectors, anywhere.vectors]),
        )
    head = fit(known, MODEL).head
    assert head.knows_none == bool(none)
    assert (head.predict(strangers).none > 0.5).mean() > 0.9
    assert (head.predict(unseen_of(places[:4]).vectors).none > 0.5).mean() < 0.12


def test_what_was_said_to_be_none_is_none() -> None:
    """Also where it is near a label: that is why a person said so."""
    places = middles(3)
    lookalike = unit((places[0] + 0.7 * places[2])[None])[0]
    vectors = [around(places[0], 10, 1), around(places[1], 10, 2), around(lookalike, 10, 3, 0.3)]
    labels: list[Label] = [*["cat"] * 10, *["dog"] * 10]
    told = Examples.of(
        [f"{at}" for at in range(30)], [*labels, *[None] * 10], np.concatenate(vectors)
    )
    asked = around(lookalike, 50, 4, 0.3)
    untold = Examples.of([f"{at}" for at in range(20)], labels, np.concatenate(vectors[:2]))
    knows = (fit(told, MODEL).head.predict(asked).none > 0.5).mean()
    guesses = (fit(untold, MODEL).head.predict(asked).none > 0.5).mean()
    assert knows > 0.9 > guesses + 0.1


def test_the_work_can_be_ended_between_two_steps() -> None:
    steps = 0

    def pause() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(clusters(NAMES, 6), MODEL, pause=pause)


def test_only_none_teaches_no_label() -> None:
    with pytest.raises(ExamplesError, match="no example of any label"):
        fit(clusters((None,), 3), MODEL)


@pytest.mark.parametrize(
    ("value", "told"), [(np.nan, "not finite"), (np.inf, "not finite"), (9.0, "not of length 1")]
)
def test_a_poisoned_example_is_named(value: float, told: str) -> None:
    vectors = middles(3)
    vectors[1, 0] = value
    assert list(poisoned(["a", "b", "c"], vectors)) == ["b"]
    with pytest.raises(ExamplesError, match=f"Example b: .*{told}"):
        Examples.of(["a", "b", "c"], ["x", "y", None], vectors)


@pytest.mark.parametrize(
    ("keys", "labels", "weights", "told"),
    [
        (["a", "a"], ["x", "y"], [1, 1], "same key"),
        (["a", "b"], ["x", "none"], [1, 1], "not none"),
        (["a", "b"], ["x", ""], [1, 1], "has a name"),
        (["a", "b"], ["x", "y"], [1, 0], "above 0"),
        (["a", "b"], ["x", "y"], [1, np.nan], "above 0"),
        (["a", "b"], ["x"], [1, 1], "same number"),
    ],
)
def test_what_can_be_no_examples_is_refused(
    keys: list[str], labels: list[str], weights: list[float], told: str
) -> None:
    with pytest.raises(ExamplesError, match=told):
        Examples.of(keys, labels, middles(2), weights)


def test_the_fit_is_the_one_that_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    shown = clusters(NAMES, 10, width=1.5)
    vectors, targets = shown.vectors.astype(np.float64), shown.targets
    weights = np.linspace(0.2, 1.0, 40)
    rows, bias = fitted(vectors, targets, weights, 10.0)
    theirs = LogisticRegression(C=10.0, tol=1e-8, max_iter=5_000)
    theirs.fit(vectors, targets, balanced(targets, weights))
    ours = softmax(vectors @ rows.T + bias, axis=1)
    assert ours == pytest.approx(theirs.predict_proba(vectors), abs=1e-3)


@pytest.mark.parametrize("true", [0.3, 1.0, 3.0])
def test_a_temperature_is_recovered(true: float) -> None:
    draw = np.random.default_rng(5)
    logits = draw.normal(size=(4_000, 5)) * 2
    chances = softmax(logits, axis=1).cumsum(axis=1)
    targets = (draw.random((4_000, 1)) > chances).sum(axis=1)
    found = temperature(logits * true, targets, np.ones(4_000), usual=0.5)
    assert found == pytest.approx(true, rel=0.1)


def test_few_answers_move_a_temperature_little() -> None:
    sure = np.eye(3) * 50.0
    assert 0.1 < temperature(sure, np.arange(3), np.ones(3), usual=0.5) < 0.6


def test_a_fitted_temperature_makes_confidences_truer() -> None:
    places = middles(4)
    head = fit(clusters(NAMES, 25, width=3.0, among=places), MODEL).head
    unseen = clusters(NAMES, 300, seed=99, width=3.0, among=places)
    logits, _ = head.logits(unseen.vectors)
    right = logits.argmax(axis=1) == unseen.targets

    def error(divisor: float) -> float:
        sure = softmax(logits.astype(np.float64) / divisor, axis=1).max(axis=1)
        return calibration_error(sure, right)

    assert 0.6 < right.mean() < 0.9
    assert error(head.temperature) < 0.06
    assert error(head.temperature) < min(error(head.temperature * k) for k in (0.25, 4.0)) / 2


def test_calibration_error_is_how_far_sure_and_right_are_apart() -> None:
    sure = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    assert calibration_error(sure, right) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert calibration_error(np.empty(0), np.empty(0, np.bool_)) == 0.0


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(0, 0, 0.0, 1.0), (9, 10, 0.596, 0.982), (10, 10, 0.722, 1.0), (80, 100, 0.711, 0.867)],
)
def test_wilson(right: int, of: int, low: float, high: float) -> None:
    assert wilson(right, of) == pytest.approx((low, high), abs=1e-3)


def test_folds_spread_every_label_and_keep_copies_together() -> None:
    one = clusters(("a", "b"), 20)
    again = Examples.of(
        [*one.keys, *(f"{key}-again" for key in one.keys)],
        one.labels * 2,
        np.concatenate([one.vectors, one.vectors]),
    )
    found = folds(again, USUAL, 0)
    assert set(found.tolist()) == set(range(USUAL.folds))
    fold_of = dict(zip(again.keys, found.tolist(), strict=True))
    assert all(fold_of[key] == fold_of[f"{key}-again"] for key in one.keys)
    for out in held_out(found):
        labels = [again.labels[at] for at in np.flatnonzero(out)]
        assert labels.count("a") == labels.count("b") == 8


def test_the_only_thing_that_shows_a_label_is_never_held_out() -> None:
    one = clusters(("a", "b"), 6)
    twice = np.concatenate([one.vectors, np.repeat(middles(3)[2:], 2, axis=0)])
    told = Examples.of([*one.keys, "c-0", "c-1"], (*one.labels, "c", "c"), twice)
    found = dict(zip(told.keys, folds(told, USUAL, 0).tolist(), strict=True))
    assert found["c-0"] == found["c-1"] == ALWAYS_TAUGHT
    assert ALWAYS_TAUGHT not in [found[key] for key in one.keys]


def test_tiny_sets_hold_each_example_out_alone() -> None:
    one = clusters(("a", "b"), 5)
    assert sorted(folds(one, USUAL, 0).tolist()) == list(range(10))


def test_copies_connect_through_each_other() -> None:
    angles = np.deg2rad([0, 10, 20, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert copies(vectors, 0.98).tolist() == [0, 0, 0, 1]
    assert copies(np.empty((0, DIMENSION), np.float32), 0.98).tolist() == []


def test_other_labels_are_another_head() -> None:
    one = clusters(("a", "b"), 4)
    other = with_labels(one, ["c" if label == "b" else label for label in one.labels])
    assert fit(other, MODEL).head.labels == ("a", "c")
