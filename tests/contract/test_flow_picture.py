"""The picture of the architecture shows edges that there are, between the boxes that it says."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

from darkroom_schemas.edges import edges
from edge_evidence import NO_TOPICS

SVG: Final = "{http://www.w3.org/2000/svg}"
PICTURE: Final = ET.parse(Path(__file__).parents[2] / "docs" / "flow.svg").getroot()  # noqa: S314 - ours

STANDS_FOR: Final = {
    "single photo": {"client"},
    "folder": {"client"},
    "other producers": {"others"},
    "auto-labelled": {"gateway"},
    "suggested": {"gateway"},
    "review": {"gateway", "recorder"},
}
"""Boxes that are not named after what they are; those of outcomes are what the gateway reads."""


def boxes_at(x: float, y: float) -> set[str]:
    """What stands at a place of the picture."""
    found: set[str] = set()
    for box in PICTURE.iter(f"{SVG}rect"):
        if "class" in box.attrib and inside(box, x, y, 5):
            for title in PICTURE.iter(f"{SVG}text"):
                if title.get("class") == "t" and inside(
                    box, float(title.attrib["x"]), float(title.attrib["y"])
                ):
                    name = (title.text or "").partition(":")[0]
                    found |= STANDS_FOR.get(name, {name})
    return found


def inside(box: ET.Element, x: float, y: float, beside: float = 0) -> bool:
    left, top, width, height = (float(box.attrib[k]) for k in ("x", "y", "width", "height"))
    return (
        left - beside <= x <= left + width + beside and top - beside <= y <= top + height + beside
    )


def test_every_arrow_is_an_edge_between_the_boxes_that_it_joins() -> None:
    drawn = set()
    for arrow in PICTURE.iter(f"{SVG}path"):
        if arrow.get("class") == "a":
            drawn.add(arrow.attrib["data-edge"])
            producer, _, consumer = arrow.attrib["data-edge"].split(" → ")
            numbers = [float(one) for one in re.findall(r"\d+(?:\.\d+)?", arrow.attrib["d"])]
            assert producer in boxes_at(*numbers[:2]), arrow.attrib
            assert consumer in boxes_at(*numbers[-2:]), arrow.attrib
    assert drawn > set(NO_TOPICS)
    assert drawn - set(NO_TOPICS) <= {str(edge) for edge in edges()}
