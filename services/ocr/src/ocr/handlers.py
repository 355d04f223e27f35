"""What the ocr says of a photo."""

from collections.abc import Generator, Mapping
from itertools import chain
from typing import Any, Final

from darkroom_schemas.names import PHOTO_TEXT_READ
from ocr.engines import OcrEngine, TextLine, TextWord
from stagekit import Photo

STAGE: Final = "ocr"
TOPIC: Final = PHOTO_TEXT_READ


def look(engine: OcrEngine, photo: Photo) -> Generator[None, None, Mapping[str, Any]]:
    """Returns the ocr's fields of its event; empty ones if there is no text.

    Yields between the engine's slices. Raises Retry or Reject.
    """
    lines = yield from engine.read(photo)
    return {
        "text": "\n".join(line.text for line in lines),
        "lines": [
            {**_placed(line), "words": [_placed(word) for word in line.words]} for line in lines
        ],
    }


def _placed(piece: TextLine | TextWord) -> dict[str, Any]:
    """What the event says of a line as of a word; the polygon as x0, y0, x1, y1, …"""
    return {
        "text": piece.text,
        "confidence": piece.confidence,
        "polygon": list(chain.from_iterable(piece.polygon)),
    }
