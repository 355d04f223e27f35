"""The wiring of the ocr."""

from functools import partial
from importlib.metadata import version

from ocr.engines import OcrEngine, load
from ocr.handlers import STAGE, TOPIC, look
from ocr.settings import Settings
from stagekit import Stage, serve


def stage(engine: OcrEngine) -> Stage:
    """The ocr, with this engine."""
    return Stage(
        name=STAGE,
        version=version("darkroom-ocr"),
        topic=TOPIC,
        engine=engine,
        look=partial(look, engine),
    )


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises UnknownEngineError, and what stops a worker."""
    serve(STAGE, settings, lambda: stage(load(settings)))
