"""Places of lines and words: pure functions over points.

Points are fractions of the photo, x to the right, y down.
"""

from collections.abc import Sequence
from typing import TypeVar

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Corners clockwise from the top left of the text."""

T = TypeVar("T")


def turned(quad: Quad, quarters: int) -> Quad:
    """The same corners, the list beginning `quarters` corners later."""
    first = quarters % 4
    a, b, c, d = quad[first:] + quad[:first]
    return a, b, c, d


def slice_of(quad: Quad, left: float, right: float) -> Quad:
    """The part of a line between two places along it, 0 at its left end and 1 at its right."""
    top_left, top_right, bottom_right, bottom_left = quad
    return (
        _between(top_left, top_right, left),
        _between(top_left, top_right, right),
        _between(bottom_left, bottom_right, right),
        _between(bottom_left, bottom_right, left),
    )


def _between(start: Point, end: Point, place: float) -> Point:
    return (
        start[0] + (end[0] - start[0]) * place,
        start[1] + (end[1] - start[1]) * place,
    )


def reading_order(lines: Sequence[tuple[Quad, T]]) -> list[T]:
    """Rows from top to bottom, and each row from left to right.

    A line belongs to a row if its centre is less than half a line's height away from the row's.
    Columns of text are not told apart.
    """
    rows: list[tuple[float, float, list[tuple[float, T]]]] = []
    for quad, line in sorted(lines, key=lambda item: _centre(item[0])):
        centre, height = _centre(quad), _height(quad)
        left = min(x for x, _ in quad)
        if rows and centre - rows[-1][0] < min(height, rows[-1][1]) / 2:
            rows[-1][2].append((left, line))
        else:
            rows.append((centre, height, [(left, line)]))
    return [line for _, _, row in rows for _, line in sorted(row, key=lambda item: item[0])]


def _centre(quad: Quad) -> float:
    return sum(y for _, y in quad) / 4


def _height(quad: Quad) -> float:
    """Of the line itself, not of the box around it, which grows with its slope."""
    (_, y0), (_, y1), (_, y2), (_, y3) = quad
    return (abs(y3 - y0) + abs(y2 - y1)) / 2
