"""What people's answers say that photos show."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.calibrate_examples import Example, Names
from detector.calibration import NONE_OF_THESE
from detector.calibration_answers import Answer, Kind, Newest, answer_of

NAMES = Names.of(("tabby", "Egyptian cat"))
START = datetime(2026, 11, 29, tzinfo=UTC)


def answer(
    photo: str, kind: Kind, label: str | None = None, minute: int = 0, number: int = 0
) -> Answer:
    return Answer(f"id-{number}", photo, kind, label, START + timedelta(minutes=minute))


def newest(*answers: Answer) -> Newest:
    made = Newest()
    for one in answers:
        made.add(one)
    return made


def shown(*answers: Answer) -> dict[str, str]:
    """Labels by photo."""
    return {one.name: one.label for one in newest(*answers).examples(NAMES)[0]}


def test_a_confirmed_and_a_corrected_label_are_what_the_photos_show() -> None:
    assert shown(answer("a", "confirm", "tabby"), answer("b", "correct", "egyptian cat")) == {
        "a": "tabby",
        "b": "Egyptian cat",
    }


def test_none_is_an_answer() -> None:
    assert shown(answer("a", "none")) == {"a": NONE_OF_THESE}


def test_of_several_answers_the_newest_counts_whatever_comes_first() -> None:
    old, new = answer("a", "confirm", "tabby", 1), answer("a", "correct", "Egyptian cat", 2)
    assert shown(old, new) == shown(new, old) == {"a": "Egyptian cat"}


def test_a_skip_takes_nothing_back_and_says_nothing() -> None:
    assert shown(answer("a", "confirm", "tabby", 1), answer("a", "skip", minute=2)) == {
        "a": "tabby"
    }
    assert shown(answer("a", "skip")) == {}


def test_what_is_withdrawn_counts_no_more_until_somebody_answers_again() -> None:
    said = answer("a", "confirm", "tabby", 1), answer("a", "withdrawn", minute=2)
    assert shown(*said) == shown(*reversed(said)) == {}
    assert newest(*said).photos == 0
    assert shown(*said, answer("a", "none", minute=3)) == {"a": NONE_OF_THESE}


def test_of_answers_of_one_moment_the_largest_id_counts() -> None:
    one, other = answer("a", "confirm", "tabby", number=1), answer("a", "none", number=2)
    assert shown(one, other) == shown(other, one) == {"a": NONE_OF_THESE}


@given(
    st.lists(
        st.builds(
            answer,
            photo=st.sampled_from("ab"),
            kind=st.just("confirm"),
            label=st.sampled_from(("tabby", "Egyptian cat")),
            minute=st.integers(0, 2),
            number=st.integers(0, 99),
        ),
        max_size=6,
        unique_by=lambda one: one.answer_id,
    ),
    st.randoms(use_true_random=False),
)
def test_no_order_and_no_repetition_changes_what_counts(answers: list[Answer], random: Any) -> None:
    again = [*answers, *answers]
    random.shuffle(again)
    assert shown(*answers) == shown(*again)


def test_a_label_that_the_model_does_not_know_is_left_out_with_the_reason() -> None:
    found, left_out = newest(answer("a", "correct", "my cat"), answer("b", "none")).examples(NAMES)
    assert found == [Example("b", NONE_OF_THESE, "b")]
    assert left_out == [("a", "'my cat' is no label of this model.")]


def test_answers_skips_and_photos_are_counted() -> None:
    made = newest(answer("a", "skip"), answer("a", "none"), answer("b", "confirm", "tabby"))
    assert (made.answers, made.skips, made.photos) == (3, 1, 2)


EVENT = {
    "answer_id": "id-1",
    "photo_id": "a",
    "answer": "correct",
    "label": "tabby",
    "answered_at": START,
}


def test_an_event_is_read_as_the_answer_it_says() -> None:
    assert answer_of(EVENT) == Answer("id-1", "a", "correct", "tabby", START)


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "maybe"},
        {"label": None},
        {"label": ""},
        {"answer": "none"},
        {"answer": "skip"},
        {"answer": "confirm", "label": None},
    ],
)
def test_an_event_that_makes_no_sense_is_no_answer(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="answer"):
        answer_of(EVENT | changes)
