"""Pictures of lines, as recognisers take them: upright, of one height, and not too long."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Strip
from ocr.sheet import Pixels, Sheet

_SHARP: Final = 18.0
"""Pixels of height from which enlarging a line costs no accuracy: letters of about 12 px."""
_CUT_WITHIN: Final = 0.25
"""Part of the longest piece, at its end, in which a gap to cut at is looked for."""
_INK: Final = 12.0
"""Grey levels by which a column of a gap between words varies at most more than the emptiest."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A picture of a part of a line, and which part: places along it, from 0 to 1.

    `in_word`: whether it begins where no gap between words is.
    """

    pixels: Pixels
    left: float
    right: float
    in_word: bool


def pieces(sheet: Sheet, strip: Strip, height: int, longest: int) -> Iterator[Piece]:
    """Pictures of a line, `height` pixels high and at most `longest` wide, from left to right.

    A longer line is cut in gaps between words where there are any. Raises what the sheet does.
    """
    share = longest * strip.height / (height * max(strip.length, 1e-9))
    left, in_word = 0.0, False
    while left < 1.0:
        right = min(1.0, left + share)
        pixels = cropped(sheet, strip.part(left, right), height)
        if right == 1.0:
            yield Piece(pixels, left, right, in_word)
            return
        cut, in_gap = cut_of(pixels)
        right = left + (right - left) * cut / pixels.shape[1]
        yield Piece(np.ascontiguousarray(pixels[:, :cut]), left, right, in_word)
        left, in_word = right, not in_gap


def cut_of(pixels: Pixels) -> tuple[int, bool]:
    """The column to end a piece of a line at, and whether that is in a gap between words."""
    width = pixels.shape[1]
    first = math.floor(width * (1 - _CUT_WITHIN))
    spread = pixels[:, first:].astype(np.float32).mean(axis=2).std(axis=0)
    empty = spread <= spread.min() + _INK
    begin, end = _longest_run(empty)
    in_gap = spread.min() < spread.mean() / 2 and end - begin >= pixels.shape[0] // 8
    return (first + (begin + end) // 2, True) if in_gap else (width, False)


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    return int(begins[longest]), int(ends[longest])


def cropped(sheet: Sheet, strip: Strip, height: int) -> Pixels:
    """The strip, upright in its reading direction, `height` pixels high.

    Raises what the sheet does.
    """
    scale = height / max(strip.height, 1e-9)
    width = max(1, round(strip.length * scale))
    box = strip.box.grown(1 / scale).within(sheet.whole)
    shown = sheet.shown(box, scale, min(1.0, _SHARP / max(strip.height, 1e-9)))
    corners = [((x - box.left) * scale, (y - box.top) * scale) for x, y in strip.corners]
    source = np.array([corners[0], corners[1], corners[3]], np.float32)
    target = np.array([(0, 0), (width, 0), (0, height)], np.float32)
    upright = cv2.warpAffine(
        shown,
        cv2.getAffineTransform(source, target),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(upright, np.uint8)
