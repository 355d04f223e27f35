"""The wiring of the detector."""

from functools import partial
from importlib.metadata import version
from typing import Final

from detector.beside import says
from detector.engines import DetectorEngine, load, names
from detector.handlers import ENOUGH_FOR_BOXES, ENOUGH_PIXELS, STAGE, TOPIC, look
from detector.settings import Settings
from stagekit import Loaded, Options, Stage, serve


def with_engine(engine: DetectorEngine, enough_pixels: int = ENOUGH_PIXELS) -> Loaded:
    """The detector, with this engine."""
    return Loaded(engine, partial(look, engine), enough_pixels)


def loaded(settings: Settings) -> Loaded:
    """The detector, with the engine that the settings name. Raises as `load` does."""
    enough_pixels = ENOUGH_FOR_BOXES if settings.detector_boxes else ENOUGH_PIXELS
    return with_engine(load(settings), enough_pixels)


DETECTOR: Final = Stage(
    name=STAGE,
    version=version("darkroom-detector"),
    topic=TOPIC,
    load=loaded,
    preload=("detector.engines.efficientnet_lite0", "backbones.onnx_network"),
    options=Options(
        "detector_engine",
        paths=("detector_checkpoint", "detector_boxes", "detector_caption"),
        files=("detector_labels_file",),
        texts=("detector_calibration",),
        others=(
            "detector_labels",
            "detector_label_list",
            "detector_prompts",
            "detector_boxes_threshold",
            "detector_boxes_most",
        ),
        engines=names,
    ),
    says=says,
)


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises EngineLoadError, and what stops a worker."""
    serve(DETECTOR, settings)
