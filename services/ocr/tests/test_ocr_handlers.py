from pathlib import Path

from PIL import Image

from ocr.app import OCR, with_engine
from ocr.engines import Reading, TextLine, TextWord
from ocr.geometry import Quad
from ocr.handlers import look
from stage_part import part_of, whole
from stagekit import Photo

CORNERS: Quad = ((0.1, 0.2), (0.9, 0.2), (0.9, 0.3), (0.1, 0.3))
WORD: Quad = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.3), (0.1, 0.3))


class StubEngine:
    """Reads two lines on every picture that is not black, the second in a slice of its own."""

    name = "stub"
    model_version = "stub@1"

    def read(self, photo: Photo) -> Reading:
        if photo.rendition.getextrema() == ((0, 0),) * 3:
            return []
        yield
        words = (TextWord("Dark", 0.8, WORD), TextWord("room", 0.9, WORD))
        return [TextLine("Dark room", 0.85, CORNERS, words), TextLine("42", 0.95, CORNERS, ())]


def test_the_lines_that_the_engine_reads_are_the_part(tmp_path: Path) -> None:
    part = part_of(OCR, with_engine(StubEngine()), Image.new("L", (30, 20), 128), tmp_path)
    assert part["topic"] == "photo.text-read.v1"
    assert (part["stage"], part["engine"]) == ("ocr", "stub")
    assert part["text"] == "Dark room\n42"
    assert [line["text"] for line in part["lines"]] == ["Dark room", "42"]
    assert part["lines"][0]["polygon"] == [0.1, 0.2, 0.9, 0.2, 0.9, 0.3, 0.1, 0.3]
    assert part["lines"][0]["words"][0] == {
        "text": "Dark",
        "confidence": 0.8,
        "polygon": [0.1, 0.2, 0.5, 0.2, 0.5, 0.3, 0.1, 0.3],
    }


def test_a_photo_without_text_gives_an_empty_part_not_none(tmp_path: Path) -> None:
    part = part_of(OCR, with_engine(StubEngine()), Image.new("RGB", (9, 9)), tmp_path)
    assert (part["text"], part["lines"]) == ("", [])


def test_other_work_may_go_first_between_the_slices_of_the_engine() -> None:
    slices = look(StubEngine(), Photo.of(Image.new("RGB", (9, 9), "white")))
    next(slices)
    assert whole(slices)["text"] == "Dark room\n42"
