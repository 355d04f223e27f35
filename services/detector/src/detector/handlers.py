"""What the detector says of a photo."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from darkroom_schemas.names import PHOTO_OBJECTS_DETECTED
from detector.engines import DetectorEngine

STAGE: Final = "detector"
TOPIC: Final = PHOTO_OBJECTS_DETECTED

ENOUGH_PIXELS: Final = 512
"""Of the short side: twice of what the model looks at, so that scaling down stays smooth."""


def look(engine: DetectorEngine, image: Image.Image) -> Mapping[str, Any]:
    """The detector's fields of its event. Raises Retry or Reject."""
    (detection,) = engine.detect([image])
    return dataclasses.asdict(detection)
