"""A request to look at a photo in, the ocr's part out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from PIL import Image

from darkroom_schemas.ids import event_id
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_STAGE_FAILED, PHOTO_TEXT_READ
from darkroom_schemas.stages import failed, part
from imaging import LIMITS, ImageRejected, open_upright_rgb
from ocr.engines import OcrEngine, TextLine, TextWord
from streamkit import Emit, Failure, Handler, Message, ObjectStore, Reject

STAGE: Final = "ocr"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads photos with an engine."""

    store: ObjectStore
    engine: OcrEngine

    def read(self, message: Message) -> Sequence[Emit]:
        """The part of the requested photo; an empty one if there is no text.

        Raises Retry or Reject.
        """
        started = time.perf_counter()
        request = message.value
        lines = self.engine.read(self._open(request["rendition_uri"]))
        value = {
            **part(
                request,
                stage=STAGE,
                engine=self.engine.name,
                model_version=self.engine.model_version,
                ms=1000 * (time.perf_counter() - started),
            ),
            "text": "\n".join(line.text for line in lines),
            "lines": [
                {**_placed(line), "words": [_placed(word) for word in line.words]} for line in lines
            ],
        }
        event = event_id(request["analysis_id"], STAGE, request["revision"])
        return [Emit(PHOTO_TEXT_READ, request["photo_id"], value, event)]

    def _open(self, uri: str) -> Image.Image:
        data = self.store.get(uri, limit=LIMITS.max_bytes)
        try:
            return open_upright_rgb(data)
        except ImageRejected as error:
            raise Reject(error.code.value, error.message) from error


def _placed(piece: TextLine | TextWord) -> dict[str, Any]:
    """What the event says of a line as of a word; the polygon as x0, y0, x1, y1, …"""
    return {
        "text": piece.text,
        "confidence": piece.confidence,
        "polygon": list(chain.from_iterable(piece.polygon)),
    }


def give_up(message: Message, failure: Failure) -> Sequence[Emit]:
    """Says that this stage has no part for the photo, so that its outcome need not wait."""
    request = message.value
    value = failed(
        request,
        stage=STAGE,
        code=failure.code,
        message=failure.message,
        attempts=failure.attempts,
    )
    event = event_id(request["analysis_id"], f"{STAGE}-failed", request["revision"])
    return [Emit(PHOTO_STAGE_FAILED, request["photo_id"], value, event)]


def handlers(reader: Reader) -> Mapping[str, Handler]:
    """Topic → what is done with its records."""
    return dict.fromkeys(PHOTO_ANALYSIS_REQUESTED.values(), reader.read)
