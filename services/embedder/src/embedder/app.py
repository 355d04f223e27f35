"""The wiring of the embedder."""

from functools import partial
from importlib.metadata import version

from embedder.engines import EmbedderEngine, load
from embedder.handlers import ENOUGH_PIXELS, STAGE, TOPIC, look
from embedder.settings import Settings
from stagekit import Stage, serve


def stage(engine: EmbedderEngine) -> Stage:
    """The embedder, with this engine."""
    return Stage(
        name=STAGE,
        version=version("darkroom-embedder"),
        topic=TOPIC,
        engine=engine,
        look=partial(look, engine),
        enough_pixels=ENOUGH_PIXELS,
    )


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises UnknownEngineError, and what stops a worker."""
    serve(STAGE, settings, lambda: stage(load(settings)))
