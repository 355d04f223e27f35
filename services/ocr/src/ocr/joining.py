"""Pieces of lines made whole again: pure functions over strips.

A line that is longer than a tile is found in pieces, one that lies where tiles overlap is found
twice, and some detectors find words instead of lines.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from ocr.geometry import Strip

_SLOPE: Final = math.radians(12)
"""Pieces of a line differ in direction by less; short ones are measured badly."""
_ALIKE: Final = 1.8
"""Heights of a line's pieces differ by less than this factor."""
_LEVEL: Final = 0.5
"""Heights of a line by which the middles of its pieces lie above or below each other at most."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A strip that may hold text, and how sure the detector is, from 0 to 1."""

    strip: Strip
    score: float


def joined(pieces: Iterable[Seen], gap: float) -> list[Seen]:
    """The lines that the pieces make up, each with the score of its surest one.

    Two pieces are of one line if they run in one direction at one level, are about equally high,
    and overlap or are less than `gap` heights apart along it.
    """
    lines: list[Seen] = []
    for piece in sorted(pieces, key=lambda seen: -seen.strip.length):
        line = piece
        while (index := _partner(lines, line, gap)) is not None:
            line = _united(lines.pop(index), line)
        lines.append(line)
    return lines


def distinct(lines: Iterable[Seen]) -> list[Seen]:
    """Each line once: without those of which the greater part lies in another, and without those
    that turn out to be several."""
    kept: list[Seen] = []
    for line in sorted(lines, key=lambda seen: seen.strip.length * seen.strip.height):
        inside = [other for other in kept if _covers(line.strip, other.strip)]
        if not _are_several(inside):
            kept = [other for other in kept if other not in inside]
            kept.append(line)
    return kept


def _are_several(lines: Sequence[Seen]) -> bool:
    """Whether two of them lie one above the other."""
    return any(
        abs(_seen_from(a.strip, b.strip)[1]) > _LEVEL * (a.strip.height + b.strip.height) / 2
        for a, b in combinations(lines, 2)
    )


def _partner(lines: Sequence[Seen], piece: Seen, gap: float) -> int | None:
    for index, line in enumerate(lines):
        if _continues(line.strip, piece.strip, gap):
            return index
    return None


def _continues(line: Strip, piece: Strip, gap: float) -> bool:
    if max(line.height, piece.height) > _ALIKE * min(line.height, piece.height):
        return False
    if abs(math.sin(line.angle - piece.angle)) > math.sin(_SLOPE):
        return False
    along, across = _seen_from(line, piece)
    height = min(line.height, piece.height)
    reach = (line.length + piece.length) / 2 + gap * height
    return abs(across) < _LEVEL * height and abs(along) < reach


def _seen_from(line: Strip, piece: Strip) -> tuple[float, float]:
    """How far the middle of a piece is from that of a line, along and across the line."""
    dx, dy = piece.x - line.x, piece.y - line.y
    cos, sin = math.cos(line.angle), math.sin(line.angle)
    return dx * cos + dy * sin, dy * cos - dx * sin


def _united(line: Seen, piece: Seen) -> Seen:
    """In the direction of the line, as high as the higher one, as long as both together."""
    base = line.strip if line.strip.length >= piece.strip.length else piece.strip
    other = piece.strip if base is line.strip else line.strip
    along, across = _seen_from(base, other)
    left = min(-base.length / 2, along - other.length / 2)
    right = max(base.length / 2, along + other.length / 2)
    middle, off = (left + right) / 2, across * other.length / (base.length + other.length)
    cos, sin = math.cos(base.angle), math.sin(base.angle)
    strip = Strip(
        base.x + middle * cos - off * sin,
        base.y + middle * sin + off * cos,
        right - left,
        max(base.height, other.height),
        base.angle,
    )
    return Seen(strip, max(line.score, piece.score))


def _covers(line: Strip, piece: Strip) -> bool:
    """Whether more than half of the piece's length and height lie in the line."""
    along, across = _seen_from(line, piece)
    turned = abs(math.sin(line.angle - piece.angle)) > math.sqrt(0.5)
    length, height = (piece.height, piece.length) if turned else (piece.length, piece.height)
    return (
        _common(line.length, along, length) > 0.5 * length
        and _common(line.height, across, height) > 0.5 * height
    )


def _common(of: float, at: float, size: float) -> float:
    """What an interval of `size` around `at` has in common with one of `of` around 0."""
    return max(0.0, min(of / 2, at + size / 2) - max(-of / 2, at - size / 2))
