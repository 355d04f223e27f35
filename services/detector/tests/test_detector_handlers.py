from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from detector.app import DETECTOR, with_engine
from detector.engines import DetectedObject, Detection, Label
from stage_part import part_of


class StubEngine:
    """Answers by the size of the picture."""

    name = "stub"
    model_version = "stub@1"

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        return [
            Detection(
                category=f"{image.mode} {image.width}x{image.height}",
                labels=(Label("cat", 0.9), Label("dog", 0.1)),
                objects=(DetectedObject("cat", 0.9, 0.1, 0.2, 0.3, 0.4),),
            )
            for image in images
        ]


def test_what_the_engine_detects_is_the_part(tmp_path: Path) -> None:
    part = part_of(DETECTOR, with_engine(StubEngine()), Image.new("L", (30, 20), 128), tmp_path)
    assert part["topic"] == "photo.objects-detected.v1"
    assert (part["stage"], part["engine"], part["model_version"]) == ("detector", "stub", "stub@1")
    assert part["category"] == "RGB 30x20"
    assert part["labels"] == [
        {"name": "cat", "confidence": 0.9},
        {"name": "dog", "confidence": 0.1},
    ]
    assert part["objects"][0]["width"] == 0.3
    assert (part["caption"], part["calibrated"]) == (None, False)
