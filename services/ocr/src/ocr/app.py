"""The wiring of the ocr."""

from functools import partial
from importlib.metadata import version
from typing import Final

from ocr.beside import says
from ocr.engines import OcrEngine
from ocr.engines.choice import load, names
from ocr.handlers import STAGE, TOPIC, look
from ocr.settings import Settings
from stagekit import Loaded, Options, Stage, serve


def with_engine(engine: OcrEngine) -> Loaded:
    """The ocr, with this engine."""
    return Loaded(engine, partial(look, engine))


def loaded(settings: Settings) -> Loaded:
    """The ocr, with the engine that the settings name. Raises as `load` does."""
    return with_engine(load(settings))


OCR: Final = Stage(
    name=STAGE,
    version=version("darkroom-ocr"),
    topic=TOPIC,
    load=loaded,
    preload=("ocr.engines.choice", "onnxruntime"),
    options=Options(
        "ocr_engine",
        paths=("ocr_models",),
        others=("ocr_min_confidence", "ocr_detection_side", "ocr_languages"),
        engines=names,
    ),
    says=says,
)


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises EngineLoadError, and what stops a worker."""
    serve(OCR, settings)
