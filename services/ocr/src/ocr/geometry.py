"""Places of lines and words: pure functions over points, x to the right, y down.

The events tell places as fractions of the photo. While it is read, places are pixels of the photo
in its full size, whatever picture of it is looked at.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Corners clockwise from the top left of the text."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Never negative."""
        return max(0.0, self.right - self.left)

    @property
    def height(self) -> float:
        """Never negative."""
        return max(0.0, self.bottom - self.top)

    def grown(self, by: float) -> "Box":
        """The box with `by` added on every side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def within(self, other: "Box") -> "Box":
        """What both have in common; without width or height where that is nothing."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Box(
            left,
            top,
            max(left, min(self.right, other.right)),
            max(top, min(self.bottom, other.bottom)),
        )

    def touches(self, other: "Box") -> bool:
        """Whether they have more in common than an edge."""
        common = self.within(other)
        return common.width > 0 and common.height > 0


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of them. Raises ValueError if there are none."""
    lefts, tops, rights, bottoms = zip(
        *((box.left, box.top, box.right, box.bottom) for box in boxes), strict=True
    )
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


@dataclass(frozen=True, slots=True)
class Strip:
    """A slanted rectangle: its centre, its extent along and across a direction, and that direction.

    `angle`: radians clockwise from the x axis. Of text it is the direction in which one reads; of a
    rectangle of which that is not known, any direction of its sides.
    """

    x: float
    y: float
    length: float
    height: float
    angle: float

    @property
    def corners(self) -> Quad:
        """Clockwise, beginning where reading does."""
        cos, sin = math.cos(self.angle) / 2, math.sin(self.angle) / 2
        along = (self.length * cos, self.length * sin)
        across = (-self.height * sin, self.height * cos)
        return (
            (self.x - along[0] - across[0], self.y - along[1] - across[1]),
            (self.x + along[0] - across[0], self.y + along[1] - across[1]),
            (self.x + along[0] + across[0], self.y + along[1] + across[1]),
            (self.x - along[0] + across[0], self.y - along[1] + across[1]),
        )

    @property
    def box(self) -> Box:
        """The upright rectangle around it."""
        xs, ys = zip(*self.corners, strict=True)
        return Box(min(xs), min(ys), max(xs), max(ys))

    def moved(self, x: float, y: float, scale: float) -> "Strip":
        """In the coordinates of a picture of which it was a part: shrunk by `scale`, then moved."""
        return Strip(
            self.x / scale + x,
            self.y / scale + y,
            self.length / scale,
            self.height / scale,
            self.angle,
        )

    def turned(self, quarters: int) -> "Strip":
        """The same rectangle, read in a direction `quarters` quarter turns further clockwise."""
        swapped = quarters % 2 == 1
        return Strip(
            self.x,
            self.y,
            self.height if swapped else self.length,
            self.length if swapped else self.height,
            self.angle + quarters * math.pi / 2,
        )

    def part(self, left: float, right: float) -> "Strip":
        """What lies between two places along it, 0 at its beginning and 1 at its end."""
        off = ((left + right) / 2 - 0.5) * self.length
        return Strip(
            self.x + off * math.cos(self.angle),
            self.y + off * math.sin(self.angle),
            (right - left) * self.length,
            self.height,
            self.angle,
        )


def levelled(x: float, y: float, width: float, height: float, degrees: float) -> Strip:
    """A rectangle as OpenCV's `minAreaRect` tells it, along its side closer to the x axis."""
    quarters = round(degrees / 90)
    if quarters % 2 == 1:
        width, height = height, width
    return Strip(x, y, width, height, math.radians(degrees - 90 * quarters))


def fractions(quad: Quad, width: float, height: float) -> Quad:
    """Corners in pixels of a picture as fractions of it; what lies outside goes to its edge."""
    a, b, c, d = ((min(1.0, max(0.0, x / width)), min(1.0, max(0.0, y / height))) for x, y in quad)
    return a, b, c, d
