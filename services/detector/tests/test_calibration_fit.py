"""What is fitted to simulated answers whose true temperature is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.calibration import COLDEST, ENOUGH, HOTTEST, Calibration
from detector.calibration_fit import ENOUGH_OF_A_LABEL, NONE, Labelled, fit
from detector.calibration_measure import (
    FOLDS,
    calibration_error,
    folds,
    measure,
    unavoidable_error,
)

K = 10
LABELS = tuple(f"label {n}" for n in range(K))


def simulated(
    n: int, temperature: float, *, none_weight: float | None = None, seed: int = 1
) -> Labelled:
    """Photos that show what softmax(logits / temperature) says, just as often as it says so."""
    random = np.random.default_rng(seed)
    true = random.normal(0, 2.0, (n, K))
    shown = true if none_weight is None else np.c_[true, np.full(n, none_weight)]
    truth = (shown + random.gumbel(size=shown.shape)).argmax(axis=1)
    truth[truth == K] = NONE
    return sample((true * temperature).astype(np.float32), truth)


def sample(logits: np.ndarray, truth: np.ndarray) -> Labelled:
    """Photos that tell nothing of each other."""
    return Labelled(logits, truth.astype(np.intp), np.arange(len(truth), dtype=np.intp))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.8, 5.0])
def test_a_known_temperature_is_found_within_a_few_percent(temperature: float) -> None:
    found = fit(simulated(6_000, temperature), LABELS, None)
    assert found.temperature == pytest.approx(temperature, rel=0.04)
    assert found.none_logit is None
    assert found.n == 6_000


def test_two_hundred_photos_tell_the_temperature_roughly() -> None:
    found = [fit(simulated(ENOUGH, 2.0, seed=seed), LABELS, None) for seed in range(5)]
    assert [one.temperature for one in found] == pytest.approx([2.0] * 5, rel=0.25)
    assert all(one.calibrated for one in found)


def test_the_weight_of_none_of_these_is_found_with_the_temperature() -> None:
    found = fit(simulated(8_000, 2.5, none_weight=3.0), LABELS, None)
    assert found.temperature == pytest.approx(2.5, rel=0.04)
    assert found.none_logit == pytest.approx(3.0 * 2.5, rel=0.06)


def test_without_photos_of_none_the_labellers_own_weight_is_kept_and_reckoned_with() -> None:
    both = simulated(8_000, 2.0, none_weight=1.0)
    known = both.only(both.truth != NONE)
    assert fit(known, LABELS, 2.0).none_logit is None
    assert fit(known, LABELS, 2.0).temperature != fit(known, LABELS, None).temperature


def two_kinds(n: int) -> Labelled:
    """Answers of which those with label 0 need another temperature."""
    plain, hot = simulated(n, 1.5, seed=3), simulated(n, 2.6, seed=4)
    rows = np.where((hot.logits.argmax(axis=1) == 0)[:, None], hot.logits, plain.logits)
    truth = np.where(hot.logits.argmax(axis=1) == 0, hot.truth, plain.truth)
    return sample(rows, truth)


def test_a_label_that_needs_another_temperature_gets_it() -> None:
    found = fit(two_kinds(12_000), LABELS, None)
    others = [found.per_label[label] for label in LABELS[1:]]
    assert found.per_label[LABELS[0]] > 1.15 * max(others)


def test_a_label_with_few_photos_keeps_the_temperature_of_all() -> None:
    few = two_kinds(200)
    counts = np.bincount(few.logits.argmax(axis=1), minlength=K)
    enough = {LABELS[n] for n in range(K) if counts[n] >= ENOUGH_OF_A_LABEL}
    assert set(fit(few, LABELS, None).per_label) == enough
    assert len(enough) < K


def test_temperatures_of_labels_stray_from_that_of_all_the_less_the_fewer_photos_tell_so() -> None:
    few, many = fit(two_kinds(700), LABELS, None), fit(two_kinds(12_000), LABELS, None)
    strayed = [one.per_label[LABELS[0]] / one.temperature for one in (few, many)]
    assert 1.02 < strayed[0] < strayed[1]


@pytest.mark.parametrize("none_weight", [None, 3.0])
def test_the_error_falls_on_photos_that_were_not_fitted_on(none_weight: float | None) -> None:
    measured = measure(simulated(6_000, 2.5, none_weight=none_weight), LABELS, None)
    assert measured.after is not None
    assert measured.before.error > 0.15
    assert measured.after.error < 0.03
    assert measured.after.error < 3 * measured.unavoidable


def test_without_photos_of_none_calibration_changes_no_answer() -> None:
    measured = measure(simulated(500, 2.5), LABELS, None)
    assert measured.after is not None
    np.testing.assert_array_equal(measured.before.right, measured.after.right)


def test_calibrated_answers_are_not_made_worse_than_chance_makes_them_look() -> None:
    measured = measure(simulated(2_000, 1.0), LABELS, None)
    assert measured.after is not None
    assert measured.after.error < 2 * measured.unavoidable


@given(
    n=st.integers(1, 40),
    k=st.integers(1, 4),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
    kind=st.sampled_from(["right", "wrong", "any", "none"]),
    own=st.none() | st.floats(-20, 20),
    seed=st.integers(0, 9),
)
@settings(max_examples=60)
@pytest.mark.filterwarnings("error")
def test_whatever_the_photos_are_the_fit_is_bounded_and_usable(
    n: int, k: int, scale: float, kind: str, own: float | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    logits = (scale * random.normal(size=(n, k))).astype(np.float32)
    truth = {
        "right": logits.argmax(axis=1),
        "wrong": logits.argmin(axis=1),
        "any": random.integers(-1, k, n),
        "none": np.full(n, NONE),
    }[kind]
    photos = sample(logits, truth)
    found = fit(photos, LABELS[:k], own)
    assert COLDEST <= found.temperature <= HOTTEST
    assert all(COLDEST <= one <= HOTTEST for one in found.per_label.values())
    assert Calibration.from_json(named(found).to_json()) == named(found)
    labels, none = found.probabilities(logits, LABELS[:k], own)
    assert np.isfinite(labels).all()
    assert np.isfinite(none).all()
    assert 0 <= measure(photos, LABELS[:k], own).before.error <= 1


def named(found: Calibration) -> Calibration:
    return Calibration(found.temperature, found.per_label, found.none_logit, found.n, "", "", "x@1")


def test_one_right_photo_moves_the_temperature_a_little() -> None:
    logits = np.array([[5.0, 0.0, 0.0]], np.float32)
    assert 0.5 < fit(sample(logits, np.array([0])), LABELS[:3], None).temperature < 1.0


def test_photos_that_are_all_right_do_not_make_it_certain() -> None:
    photos = simulated(300, 2.0)
    right = sample(photos.logits, photos.logits.argmax(axis=1))
    found = fit(right, LABELS, None)
    sure, _ = found.probabilities(right.logits, LABELS, None)
    assert 0.9 < sure.max(axis=1).mean() < 1
    assert found.temperature > COLDEST


def test_nothing_is_fitted_to_no_photos() -> None:
    with pytest.raises(ValueError, match="no photos"):
        fit(sample(np.empty((0, K), np.float32), np.empty(0)), LABELS, None)


def test_the_same_photos_give_the_same_fit() -> None:
    photos = simulated(300, 2.0)
    assert fit(photos, LABELS, None) == fit(photos, LABELS, None)


def test_photos_of_a_group_are_held_out_together_and_all_labels_everywhere() -> None:
    truth = np.repeat(np.arange(4), 50)
    groups = np.arange(200) // 5
    photos = Labelled(np.zeros((200, 4), np.float32), truth, groups)
    fold = folds(photos)
    assert all(len(set(fold[groups == group])) == 1 for group in range(40))
    assert all(set(truth[fold == number]) == {0, 1, 2, 3} for number in range(FOLDS))


def test_photos_of_one_group_can_not_be_held_out() -> None:
    photos = simulated(30, 2.0)
    one = Labelled(photos.logits, photos.truth, np.zeros(30, dtype=np.intp))
    assert measure(one, LABELS, None).after is None


def test_the_error_is_the_gap_between_confidence_and_right_answers() -> None:
    confidence = np.repeat([0.9, 0.6], 100)
    right = np.concatenate([np.arange(100) < 80, np.arange(100) < 60])
    assert calibration_error(confidence, right) == pytest.approx(0.05)
    assert calibration_error(np.ones(50), np.ones(50, dtype=bool)) == 0
    assert calibration_error(np.ones(1), np.zeros(1, dtype=bool)) == 1


def test_gaps_of_two_signs_do_not_cancel_each_other() -> None:
    confidence = np.repeat([0.9, 0.1], 200)
    right = np.repeat([False, True], 200)
    assert calibration_error(confidence, right) == pytest.approx(0.9)


def test_perfect_answers_look_worse_the_fewer_they_are() -> None:
    few, many = unavoidable_error(np.full(50, 0.7)), unavoidable_error(np.full(5_000, 0.7))
    assert few > 3 * many > 0
