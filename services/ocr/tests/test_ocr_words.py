"""Words out of what a recogniser says of a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr.words import Recognised, spans_of, whole_line


def test_words_lie_around_the_columns_of_their_characters() -> None:
    # 10 columns; "ab" seen in columns 1 and 2, "c" in column 6: 2.5 columns a character.
    line = Recognised("ab c", 0.9, (0.8, 1.0, 0.5, 0.7), (1, 2, 6), 10.0)
    first, second = spans_of(line)
    assert (first.text, second.text) == ("ab", "c")
    assert first.left == pytest.approx(0.15 - 5 / 60)
    assert first.right == pytest.approx(0.25 + 5 / 60)
    assert second.left == pytest.approx(0.65 - 5 / 60)
    assert (first.confidence, second.confidence) == pytest.approx((0.9, 0.7))


def test_without_usable_columns_the_line_is_split_evenly() -> None:
    first, second = spans_of(Recognised("ab cde", 0.9, (), (1,), 10.0))
    places = (first.left, first.right, second.left, second.right)
    assert places == pytest.approx((0.0, 2 / 6, 3 / 6, 1.0))
    assert first.confidence == second.confidence == 0.9


def test_a_lone_character_fills_its_line() -> None:
    (span,) = spans_of(Recognised("8", 0.9, (0.9,), (4,), 9.0))
    assert (span.left, span.right) == (0.0, 1.0)


@pytest.mark.parametrize("text", ["", "  "])
def test_a_line_of_white_space_has_no_words(text: str) -> None:
    assert spans_of(Recognised(text, 0.9, (), (), 10.0)) == []


@given(
    st.text(alphabet="aé漢 .", max_size=12),
    st.lists(st.integers(0, 40), max_size=12).map(sorted),
    st.floats(0, 50),
)
def test_spans_are_in_order_and_inside_the_line_whatever_the_columns(
    text: str, columns: list[int], width: float
) -> None:
    spans = spans_of(Recognised(text, 0.9, (), columns, width))
    places = [place for span in spans for place in (span.left, span.right)]
    assert [span.text for span in spans] == text.split()
    assert places == sorted(places)
    assert all(0.0 <= place <= 1.0 for place in places)


def said(text: str, confidence: float = 0.9) -> Recognised:
    return Recognised(text, confidence, (), (), 0.0)


def test_the_words_of_a_line_read_in_pieces_lie_along_the_whole_line() -> None:
    spans = whole_line([(0.0, 0.5, False, said("ab cd")), (0.5, 1.0, False, said("ef"))])
    assert [span.text for span in spans] == ["ab", "cd", "ef"]
    places = [place for span in spans for place in (span.left, span.right)]
    assert places == pytest.approx([0.0, 0.2, 0.3, 0.5, 0.5, 1.0])


def test_a_word_that_was_cut_is_one_word() -> None:
    spans = whole_line(
        [(0.0, 0.5, False, said("so long", 0.9)), (0.5, 1.0, True, said("er one", 0.6))]
    )
    assert [span.text for span in spans] == ["so", "longer", "one"]
    assert spans[1].confidence == pytest.approx((4 * 0.9 + 2 * 0.6) / 6)


def test_a_piece_in_which_nothing_stands_adds_no_word() -> None:
    assert [s.text for s in whole_line([(0, 0.5, False, said("")), (0.5, 1, True, said("x"))])] == [
        "x"
    ]
