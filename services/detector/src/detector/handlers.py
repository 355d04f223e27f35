"""A request to look at a photo in, the detector's part out."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from darkroom_schemas.ids import event_id
from darkroom_schemas.names import (
    PHOTO_ANALYSIS_REQUESTED,
    PHOTO_OBJECTS_DETECTED,
    PHOTO_STAGE_FAILED,
)
from darkroom_schemas.stages import failed, part
from detector.engines import DetectorEngine
from imaging import LIMITS, ImageRejected, open_upright_rgb
from streamkit import Emit, Failure, Handler, Message, ObjectStore, Reject

STAGE: Final = "detector"
ENOUGH_PIXELS: Final = 512
"""Of the short side: twice of what the model looks at, so that scaling down stays smooth."""


@dataclass(frozen=True, slots=True)
class Detector:
    """Looks at photos with an engine."""

    store: ObjectStore
    engine: DetectorEngine

    def detect(self, message: Message) -> Sequence[Emit]:
        """The part of the requested photo. Raises Retry or Reject."""
        started = time.perf_counter()
        request = message.value
        image = self._open(request["rendition_uri"])
        (detection,) = self.engine.detect([image])
        value = {
            **part(
                request,
                stage=STAGE,
                engine=self.engine.name,
                model_version=self.engine.model_version,
                ms=1000 * (time.perf_counter() - started),
            ),
            **dataclasses.asdict(detection),
        }
        event = event_id(request["analysis_id"], STAGE, request["revision"])
        return [Emit(PHOTO_OBJECTS_DETECTED, request["photo_id"], value, event)]

    def _open(self, uri: str) -> Image.Image:
        data = self.store.get(uri, limit=LIMITS.max_bytes)
        try:
            return open_upright_rgb(data, at_least=ENOUGH_PIXELS)
        except ImageRejected as error:
            raise Reject(error.code.value, error.message) from error


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


def handlers(detector: Detector) -> Mapping[str, Handler]:
    """Topic → what is done with its records."""
    return dict.fromkeys(PHOTO_ANALYSIS_REQUESTED.values(), detector.detect)
