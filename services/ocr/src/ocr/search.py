"""Finding the lines of a photo, at a scale at which a detector sees them.

A photo is looked at as a whole first, at a small scale: that shows whether there is text at all.
Only where something small showed is it looked at again, twice as large, and so on, until it is
large enough to be placed well. What is looked at at once is a tile of bounded size, so that others
need not wait long; lines that tiles cut are joined again.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import compress
from typing import Final

from ocr.facing import along_lines
from ocr.geometry import Box, around
from ocr.joining import Seen, distinct, joined
from ocr.sheet import Pixels, Sheet

Find = Callable[[Pixels], Sequence[Seen]]
"""Strips of a picture that may hold text, in its pixels. `angle` is that of the side that is closer
to the x axis."""

_LONG: Final = 4.0
"""A photo that is longer by its height is looked at in several tiles from the first."""
_FAR: Final = 0.5
"""Scale up to which a photo is seen from afar."""
_SMALL_PRINT: Final = 3
"""Small lines that make a photo one with small print."""
_STOUT: Final = 1 / 8
"""Of a tile's side: what is higher than this and not long either may be a paragraph, or a page."""
_NEAR: Final = 1.5
"""Heights of an unclear line around it that are looked at closer, too."""


@dataclass(frozen=True, slots=True)
class SearchPolicy:
    """How a detector is used. Pixels are those of what it is shown.

    `first_side`: of the longer side of a photo as it is seen at first; of a photo longer than 4:1,
    of four times the shorter side. `side`: of a tile. `overlap`: of two tiles. `least_height`: of a
    line that need not be looked at closer. `least_score`: of what is taken for a line, and
    `sure_score`: of what is taken for a single one. `gap`: see `joined`. `most_tiles`: of the first
    look at a long photo. `most_enlarged`: above a photo's full size. `most_pixels`: that are looked
    at in all closer looks; one that would take more is not taken. `most_seen`: strips of a look
    that are kept, the surest.
    """

    first_side: int = 704
    side: int = 704
    overlap: int = 96
    least_height: float = 16.0
    least_score: float = 0.5
    sure_score: float = 0.6
    gap: float = 0.0
    most_tiles: int = 60
    most_enlarged: float = 4.0
    most_pixels: float = 16e6
    most_seen: int = 1000


def search(sheet: Sheet, find: Find, policy: SearchPolicy) -> Generator[None, None, list[Seen]]:
    """Returns the lines; yields between tiles. Raises what `find` and the sheet do."""
    scale, left = first_scale(sheet.whole, policy), policy.most_pixels
    tiles, lines, first = tiles_of(sheet.whole, scale, policy), list[Seen](), True
    while True:
        found = nlargest(policy.most_seen, (yield from _look(sheet, tiles, scale, find)), _score)
        seen = distinct(joined(along_lines(found), policy.gap))
        unclear = _is_unclear(seen, scale, policy, first)
        tiles = _closer(sheet.whole, list(compress(seen, unclear)), 2 * scale, policy)
        scale, first = 2 * scale, False
        left -= _pixels(tiles, scale)
        if not tiles or left < 0 or scale > policy.most_enlarged:
            lines += seen
            return distinct(s for s in lines if s.score >= policy.least_score)
        lines += (s for s, again in zip(seen, unclear, strict=True) if not again)


def first_scale(whole: Box, policy: SearchPolicy) -> float:
    """Pixels that are looked at first, to a pixel of the photo's full size."""
    longer, shorter = max(whole.width, whole.height), min(whole.width, whole.height)
    seen = min(longer, _LONG * shorter)
    most = policy.most_tiles * (policy.side - policy.overlap)
    return min(1.0, policy.first_side / seen, most / longer)


def tiles_of(area: Box, scale: float, policy: SearchPolicy) -> list[Box]:
    """Tiles of equal size, evenly spread, that cover the area, with the overlap or more."""
    side, overlap = policy.side / scale, policy.overlap / scale
    return [
        Box(left, top, right, bottom)
        for top, bottom in _stretches(area.top, area.bottom, side, overlap)
        for left, right in _stretches(area.left, area.right, side, overlap)
    ]


_ROUNDING: Final = 1e-6
"""In pixels: 704 / (704 / 975) is a hair less than 975."""


def _stretches(start: float, end: float, side: float, overlap: float) -> list[tuple[float, float]]:
    """Parts of an interval, none longer than `side`."""
    if end - start <= side + _ROUNDING:
        return [(start, end)]
    count = max(2, math.ceil((end - start - overlap) / (side - overlap)))
    step = (end - start - side) / (count - 1)
    return [(start + n * step, start + n * step + side) for n in range(count)]


def _look(
    sheet: Sheet, tiles: Sequence[Box], scale: float, find: Find
) -> Generator[None, None, list[Seen]]:
    seen: list[Seen] = []
    for tile in tiles:
        found = find(sheet.shown(tile, scale, scale))
        seen += (Seen(s.strip.moved(tile.left, tile.top, scale), s.score) for s in found)
        yield
    return seen


def _is_unclear(
    seen: Sequence[Seen], scale: float, policy: SearchPolicy, first: bool
) -> list[bool]:
    """Which ones have to be looked at closer: small ones, and, as long as the photo is seen from
    afar, vague ones; after the first look only where there is small print, since it costs most."""
    small = [_is_small(s, scale, policy) for s in seen]
    print_there = sum(s.score >= policy.least_score for s in compress(seen, small)) >= _SMALL_PRINT
    if scale > _FAR or not (first or print_there):
        return small
    return [
        is_small or _is_vague(s, scale, policy) for s, is_small in zip(seen, small, strict=True)
    ]


def _is_small(seen: Seen, scale: float, policy: SearchPolicy) -> bool:
    doubtful = seen.score < policy.least_score
    return seen.strip.height * scale < (2 if doubtful else 1) * policy.least_height


def _is_vague(seen: Seen, scale: float, policy: SearchPolicy) -> bool:
    """Whether it may turn out to be several lines, as a page does that is seen from afar."""
    length, height = seen.strip.length * scale, seen.strip.height * scale
    stout = height > _STOUT * policy.side and length < _LONG * height
    return stout or seen.score < policy.sure_score


def _closer(whole: Box, unclear: Sequence[Seen], scale: float, policy: SearchPolicy) -> list[Box]:
    """Tiles that hold what is unclear and what is near it."""
    if not unclear:
        return []
    boxes = [s.strip.box.grown(_NEAR * s.strip.height).within(whole) for s in unclear]
    tiles = []
    for tile in tiles_of(around(boxes), scale, policy):
        inside = [box.within(tile) for box in boxes if box.touches(tile)]
        if inside:
            tiles.append(around(inside))
    return tiles


def _score(seen: Seen) -> float:
    return seen.score


def _pixels(tiles: Sequence[Box], scale: float) -> float:
    return sum(tile.width * tile.height for tile in tiles) * scale**2
