"""Where the words of a recognised line are.

A CTC recogniser looks at a line in columns of equal width and names, for each character, the
column where it saw it. Words are what stands between white space; a script that has none gets one
word per line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recognised:
    """A line's text and what is known of each character.

    `confidences`: one per character of `text`, white space included. `columns`: one per character
    that is no white space. Either may have another length where the recogniser is at odds with
    itself, and is then not used. `width`: columns of the whole line.
    """

    text: str
    confidence: float
    confidences: Sequence[float]
    columns: Sequence[int]
    width: float


@dataclass(frozen=True, slots=True)
class Span:
    """A word and its place along the line, from 0 to 1."""

    text: str
    confidence: float
    left: float
    right: float


def spans_of(line: Recognised) -> list[Span]:
    """The words in order; they do not overlap.

    A word reaches half a character beyond the centres of its first and last one, a character
    being as wide as the line's are on average.
    """
    centres = _centres(line)
    visible = [i for i, char in enumerate(line.text) if not char.isspace()]
    if not visible:
        return []
    half = _advance(centres, visible) / 2
    spans: list[Span] = []
    for match in re.finditer(r"\S+", line.text):
        first, last = match.start(), match.end() - 1
        before = spans[-1].right if spans else 0.0
        left = min(1.0, max(before, centres[first] - half))
        right = min(1.0, max(left, centres[last] + half))
        spans.append(Span(match.group(), _confidence(line, first, last), left, right))
    return spans


def whole_line(pieces: Sequence[tuple[float, float, bool, Recognised]]) -> list[Span]:
    """The words of a line that was read in pieces, in order.

    Of each piece: where it lies along the line, from 0 to 1, whether a word goes on in it that the
    piece before it began, and what was read.
    """
    words: list[Span] = []
    for left, right, goes_on, read in pieces:
        spans = [_within(span, left, right) for span in spans_of(read)]
        if goes_on and words and spans:
            spans[0] = _one_word(words.pop(), spans[0])
        words += spans
    return words


def _within(span: Span, left: float, right: float) -> Span:
    size = right - left
    return Span(span.text, span.confidence, left + size * span.left, left + size * span.right)


def _one_word(begin: Span, end: Span) -> Span:
    first, second = len(begin.text), len(end.text)
    confidence = (begin.confidence * first + end.confidence * second) / (first + second)
    return Span(begin.text + end.text, confidence, begin.left, end.right)


def _centres(line: Recognised) -> dict[int, float]:
    """Place of each visible character; evenly spread where the columns are of no use."""
    visible = [i for i, char in enumerate(line.text) if not char.isspace()]
    if len(line.columns) == len(visible) and line.width > 0:
        places = ((column + 0.5) / line.width for column in line.columns)
        return dict(zip(visible, places, strict=True))
    return {i: (i + 0.5) / len(line.text) for i in visible}


def _advance(centres: dict[int, float], visible: Sequence[int]) -> float:
    """Average distance from one character to the next, over the whole line."""
    first, last = visible[0], visible[-1]
    if first == last:
        return 1.0
    return (centres[last] - centres[first]) / (last - first)


def _confidence(line: Recognised, first: int, last: int) -> float:
    if len(line.confidences) != len(line.text):
        return line.confidence
    word = line.confidences[first : last + 1]
    return sum(word) / len(word)
