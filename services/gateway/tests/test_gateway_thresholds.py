"""From answers to thresholds, on labels of which it is known how often they are right."""

from collections import Counter

import numpy as np
import pytest

from gateway.catalog.precision_shapes import Measured, wilson
from gateway.catalog.thresholds import Answered, Stratum, band, lowest

AUTO_ABOVE = 0.8
TARGET = 0.95


def world(seed: int, photos: int = 40_000) -> list[Answered]:
    """Photos whose label is right as often as its confidence says, from 0.5 to 1."""
    draw = np.random.default_rng(seed)
    sure = draw.uniform(0.5, 1.0, photos)
    right = draw.uniform(size=photos) < sure
    return [
        Answered(float(one), bool(true), float(one) > AUTO_ABOVE)
        for one, true in zip(sure, right, strict=True)
    ]


def asked(photos: list[Answered], *, audits: float, others: float) -> list[Answered]:
    """Those that people answered: a share of the audits, and of what waits the least sure."""
    draw = np.random.default_rng(7)
    auto = [one for one in photos if one.audit]
    rest = sorted((one for one in photos if not one.audit), key=lambda one: one.confidence)
    chosen = draw.choice(len(auto), int(audits * len(auto)), replace=False)
    return [auto[at] for at in chosen] + rest[: int(others * len(rest))]


def strata(photos: list[Answered]) -> Counter[Stratum]:
    return Counter(one.stratum for one in photos)


def true_precision(photos: list[Answered], above: float) -> float:
    rights = [one.right for one in photos if one.confidence > above]
    return sum(rights) / len(rights)


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_near_the_true_one_though_few_of_the_sure_are_audited(seed: int) -> None:
    """Above 0.9 a label is right in 95 of 100 cases, in this world."""
    photos = world(seed)
    found = lowest(asked(photos, audits=0.2, others=1.0), strata(photos), TARGET)
    assert found.auto_above is not None
    assert 0.89 <= found.auto_above <= 0.93
    assert found.low is not None
    assert found.precision is not None
    assert TARGET <= found.low < found.precision
    assert true_precision(photos, found.auto_above) >= TARGET - 0.01


def test_answers_count_for_as_many_photos_as_they_stand_for() -> None:
    """Below 0.8 nearly everything is right, above it one of ten is wrong, and few of that are
    audited: taken alike, the answers would say that all is well."""
    sure = [Answered(0.9, number % 10 > 0, True) for number in range(200)]
    unsure = [Answered(0.7, True, False) for _ in range(2_000)]
    photos = {(True, band(0.9)): 20_000, (False, band(0.7)): 2_000}
    assert lowest(sure + unsure, photos, TARGET).auto_above is None
    alike = {(True, band(0.9)): 200, (False, band(0.7)): 2_000}
    assert lowest(sure + unsure, alike, TARGET).auto_above == 0.69


def test_unanswered_photos_count_by_the_answers_about_ones_as_sure() -> None:
    """Reviewers answer the least sure first; the others must not vanish from what waits."""
    right = [Answered(0.78, True, False) for _ in range(100)]
    wrong = [Answered(0.62, number % 2 > 0, False) for number in range(100)]
    sure, unsure = (False, band(0.78)), (False, band(0.62))
    found = lowest(right + wrong, {sure: 10_000, unsure: 100}, TARGET)
    assert found.auto_above == 0.61
    assert found.precision == pytest.approx(10_050 / 10_100)
    assert lowest(right + wrong, {sure: 100, unsure: 10_000}, TARGET).auto_above == 0.77


@pytest.mark.parametrize("answers", [0, 1, 19])
def test_few_answers_say_nothing_but_how_many_are_missing(answers: int) -> None:
    found = lowest([Answered(0.9, True, True)] * answers, {}, 0.5)
    assert (found.auto_above, found.missing) == (None, 20 - answers)


def test_what_is_not_certain_yet_says_how_many_more_would_do() -> None:
    told = [Answered(0.9, True, True)] * 30
    found = lowest(told, {}, TARGET)
    assert found.auto_above is None
    assert found.missing is not None
    enough = told + [Answered(0.9, True, True)] * found.missing
    assert lowest(enough, {}, TARGET).auto_above == 0.89
    assert lowest(enough[1:], {}, TARGET).auto_above is None


def test_equals_are_on_one_side_of_a_threshold() -> None:
    """0.9 exactly is not above 0.9; and what lies between two decimals goes with its like."""
    told = [Answered(0.9, True, True)] * 100 + [Answered(0.8999, False, True)] * 100
    found = lowest(told, {}, TARGET)
    assert found.auto_above is None, "0.89 is below both, 0.9 above both"
    apart = [Answered(0.9, True, True)] * 100 + [Answered(0.89, False, True)] * 100
    assert lowest(apart, {}, TARGET).auto_above == 0.89


@pytest.mark.parametrize(("confidence", "at"), [(0.0, 0), (0.049, 0), (0.05, 1), (1.0, 19)])
def test_bands(confidence: float, at: int) -> None:
    assert band(confidence) == at


def test_wilsons_interval() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(90, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    nothing = Measured.of([])
    assert (nothing.answers, nothing.precision, nothing.low) == (0, None, None)
    assert Measured.of([True, False]).precision == 0.5
