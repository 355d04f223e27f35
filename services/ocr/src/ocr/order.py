"""The order in which the lines of a page are read: pure functions over strips.

The page is looked at along the direction in which its lines run, so that one that lies on its side,
stands on its head or is slanted is read like an upright one. Text that runs from right to left or
from top to bottom is not told apart.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from ocr.geometry import Strip

_COLUMN_LINES: Final = 3
"""Lines that stand one below the other on either side of a gap before it parts columns."""
_COLUMN_SHAPE: Final = 8.0
"""Length by height of the middle line of a column: about 16 letters. Shorter entries beside others,
as the prices on a receipt, belong to rows."""
_GUTTER: Final = 0.8
"""Heights of a line that columns are apart at least."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A line as it lies on the page that has been turned upright."""

    index: int
    left: float
    right: float
    centre: float
    height: float


def reading_order(lines: Sequence[Strip]) -> list[int]:
    """Indexes of the lines as they are read: columns from left to right, in each rows from top to
    bottom, and each row from left to right.

    A line that reaches over columns parts what is above it from what is below it. Lines are in one
    row if their centres are less than half a line's height apart.
    """
    return _read(_upright(lines))


def direction(lines: Sequence[Strip]) -> float:
    """Radians clockwise from the x axis: the direction that most of the text runs in.

    The mean of those lines' that run within 45 degrees of the one that most others are close to,
    longer ones counting more.
    """
    if not lines:
        return 0.0
    near = max(
        (
            [line for line in lines if math.cos(line.angle - first.angle) > math.sqrt(0.5)]
            for first in lines
        ),
        key=lambda close: sum(line.length for line in close),
    )
    return math.atan2(
        sum(line.length * math.sin(line.angle) for line in near),
        sum(line.length * math.cos(line.angle) for line in near),
    )


def _upright(lines: Sequence[Strip]) -> list[_Placed]:
    angle = direction(lines)
    cos, sin = math.cos(angle), math.sin(angle)
    placed = []
    for index, line in enumerate(lines):
        across = [x * cos + y * sin for x, y in line.corners]
        centre = line.y * cos - line.x * sin
        placed.append(_Placed(index, min(across), max(across), centre, line.height))
    return placed


def _read(lines: Sequence[_Placed]) -> list[int]:
    columns = _columns(lines)
    if columns is None:
        return _rows(lines)
    return [index for part in columns for index in _read(part)]


def _columns(lines: Sequence[_Placed]) -> tuple[Sequence[_Placed], ...] | None:
    """Above, left, right and below of the gap between columns that parts the most lines."""
    downwards = sorted(lines, key=lambda line: line.centre)
    best, most = None, 0
    for gap in {line.right for line in lines}:
        for first, end in _uncrossed(downwards, gap):
            left, right = _sides(downwards[first:end], gap)
            if end - first > most and _are_columns(left, right):
                best, most = (downwards[:first], left, right, downwards[end:]), end - first
    return best


def _uncrossed(downwards: Sequence[_Placed], gap: float) -> Iterator[tuple[int, int]]:
    """Where those stretches of the page begin and end that no line crosses at `gap`."""
    first = 0
    for index, line in enumerate(downwards):
        if line.left < gap < line.right:
            yield first, index
            first = index + 1
    yield first, len(downwards)


def _sides(lines: Sequence[_Placed], gap: float) -> tuple[list[_Placed], list[_Placed]]:
    left = [line for line in lines if line.right <= gap]
    return left, [line for line in lines if line.right > gap]


def _are_columns(left: Sequence[_Placed], right: Sequence[_Placed]) -> bool:
    if min(len(left), len(right)) < _COLUMN_LINES:
        return False
    apart = min(line.left for line in right) - max(line.right for line in left)
    if apart < _GUTTER * median(line.height for line in (*left, *right)):
        return False
    return all(
        median((line.right - line.left) / max(line.height, 1e-9) for line in side) >= _COLUMN_SHAPE
        for side in (left, right)
    )


def _rows(lines: Sequence[_Placed]) -> list[int]:
    rows: list[list[_Placed]] = []
    for line in sorted(lines, key=lambda line: line.centre):
        first = rows[-1][0] if rows else None
        if first and line.centre - first.centre < min(line.height, first.height) / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line.index for row in rows for line in sorted(row, key=lambda line: line.left)]
