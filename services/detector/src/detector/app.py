"""The wiring of the detector."""

from functools import partial
from importlib.metadata import version

from detector.engines import DetectorEngine, load
from detector.handlers import ENOUGH_PIXELS, STAGE, TOPIC, look
from detector.settings import Settings
from stagekit import Stage, serve


def stage(engine: DetectorEngine) -> Stage:
    """The detector, with this engine."""
    return Stage(
        name=STAGE,
        version=version("darkroom-detector"),
        topic=TOPIC,
        engine=engine,
        look=partial(look, engine),
        enough_pixels=ENOUGH_PIXELS,
    )


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises UnknownEngineError, and what stops a worker."""
    serve(STAGE, settings, lambda: stage(load(settings)))
