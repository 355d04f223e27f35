"""Error rates are what a person would count, and their intervals what chance makes of them."""

import random

import pytest
from bench.models.scores import (
    Errors,
    difference_interval,
    edits,
    error_rate,
    error_rate_interval,
    errors,
    share_right,
)


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("Saturday", "Sunday", 3),
        ("ab", "ba", 2),
        ("Größe", "Grosse", 3),
    ],
)
def test_edits_are_the_fewest_that_make_one_text_the_other(
    one: str, other: str, least: int
) -> None:
    assert edits(one, other) == edits(other, one) == least


def test_edits_are_those_of_the_table_written_out() -> None:
    draw = random.Random(7)
    for _ in range(100):
        one, other = ("".join(draw.choices("abc ", k=draw.randrange(12))) for _ in range(2))
        row = list(range(len(other) + 1))
        for i, a in enumerate(one, 1):
            before, row[0] = row[0], i
            for j, b in enumerate(other, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
        assert edits(one, other) == row[-1]


def test_white_space_is_one_space_and_the_case_matters() -> None:
    assert errors("two  lines\nof text", "two lines of  text ") == Errors(0, 17)
    assert errors("Two", "two") == Errors(1, 3)


def test_a_rate_is_of_all_characters_so_that_long_lines_count_more() -> None:
    assert error_rate([Errors(1, 1), Errors(0, 99)]) == 0.01
    with pytest.raises(ValueError, match="no characters"):
        error_rate([Errors(3, 0)])


def test_an_interval_holds_the_rate_and_shrinks_with_more_lines() -> None:
    few = [Errors(int(number % 10 == 0), 10) for number in range(50)]
    wide, narrow = error_rate_interval(few, 7), error_rate_interval(few * 16, 7)
    assert wide.value == narrow.value == 0.01
    assert wide.low < wide.value < wide.high
    assert 3 < (wide.high - wide.low) / (narrow.high - narrow.low) < 5  # by the root of 16
    assert (wide.n, narrow.n) == (50, 800)


def test_an_interval_covers_the_true_rate_in_about_95_of_100_samples() -> None:
    draw = random.Random(7)
    inside = 0
    for sample in range(100):
        lines = [Errors(sum(draw.random() < 0.1 for _ in range(30)), 30) for _ in range(60)]
        found = error_rate_interval(lines, sample)
        inside += found.low <= 0.1 <= found.high
    assert inside >= 88


def test_the_same_seed_gives_the_same_interval() -> None:
    lines = [Errors(number % 3, 20) for number in range(40)]
    assert error_rate_interval(lines, 7) == error_rate_interval(lines, 7)
    assert error_rate_interval(lines, 7) != error_rate_interval(lines, 8)


def test_what_is_hard_for_both_is_no_noise_in_their_difference() -> None:
    theirs = [Errors(20 * (number % 2), 40) for number in range(60)]
    ours = [Errors(max(0, one.edits - 2), 40) for one in theirs]
    alone, paired = error_rate_interval(ours, 7), difference_interval(ours, theirs, 7)
    assert paired.value == pytest.approx(-0.025)
    assert paired.high < 0 < alone.low
    assert paired.high - paired.low < (alone.high - alone.low) / 4


def test_other_pieces_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not the same pieces"):
        difference_interval([Errors(0, 4)], [Errors(0, 5)], 7)


def test_a_photograph_counts_if_one_of_the_first_answers_is_right() -> None:
    answers = [["cup", "dog"], ["dog", "cup"], ["dog", "car"]]
    right = [frozenset({"cup", "espresso"})] * 3
    assert share_right(answers, right, 1) == pytest.approx(1 / 3)
    assert share_right(answers, right, 2) == pytest.approx(2 / 3)
