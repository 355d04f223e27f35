"""Text regions out of the map of a DB detector (Liao et al. 2020, arXiv:1911.08947, 3.4)."""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Strip, levelled
from ocr.joining import Seen

_INSIDE: Final = 0.3
"""Probability of a pixel that belongs to a region."""
_LEAST_SCORE: Final = 0.3
"""Mean probability of a region that is worth a second look."""
_UNCLIP: Final = 1.6
"""The network marks the cores of lines: a region is grown by its area x 1.6 / circumference."""
_LEAST_SIDE: Final = 3.0
"""Pixels of a core that is more than noise."""
_MOST_REGIONS: Final = 1000


def regions(probabilities: NDArray[np.float32]) -> list[Seen]:
    """What the map shows, in its pixels. `probabilities`: height x width."""
    mask = (probabilities > _INSIDE).astype(np.uint8)
    mask = cv2.dilate(mask, np.ones((2, 2), np.uint8)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    seen = []
    for contour in contours[:_MOST_REGIONS]:
        (x, y), (width, height), degrees = cv2.minAreaRect(contour)
        if min(width, height) < _LEAST_SIDE:
            continue
        core = levelled(x, y, width, height, degrees)
        score = _mean_within(probabilities, core)
        if score >= _LEAST_SCORE:
            grow = _UNCLIP * width * height / (width + height)
            whole = Strip(core.x, core.y, core.length + grow, core.height + grow, core.angle)
            seen.append(Seen(whole, score))
    return seen


def _mean_within(probabilities: NDArray[np.float32], strip: Strip) -> float:
    box = strip.box
    rows, columns = probabilities.shape
    left, top = max(0, math.floor(box.left)), max(0, math.floor(box.top))
    right, bottom = min(columns, math.ceil(box.right) + 1), min(rows, math.ceil(box.bottom) + 1)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    corners = np.array([(cx - left, cy - top) for cx, cy in strip.corners])
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    return float(cv2.mean(probabilities[top:bottom, left:right], mask)[0])
