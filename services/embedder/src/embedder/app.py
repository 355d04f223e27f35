"""The wiring of the embedder."""

from functools import partial
from importlib.metadata import version
from typing import Final

from embedder.again import AGAIN
from embedder.engines import EmbedderEngine, load, names
from embedder.handlers import ENOUGH_PIXELS, STAGE, TOPIC, look
from embedder.labels import labelling
from embedder.settings import Settings
from stagekit import Loaded, Options, Stage, serve


def with_engine(engine: EmbedderEngine) -> Loaded:
    """The embedder, with this engine."""
    return Loaded(engine, partial(look, engine), ENOUGH_PIXELS)


def loaded(settings: Settings) -> Loaded:
    """The embedder, with the engine that the settings name. Raises UnknownEngineError."""
    return with_engine(load(settings))


EMBEDDER: Final = Stage(
    name=STAGE,
    version=version("darkroom-embedder"),
    topic=TOPIC,
    load=loaded,
    preload=("embedder.engines.efficientnet_lite0", "backbones.onnx_network"),
    options=Options("embedder_engine", paths=("embedder_checkpoint",), engines=names),
    also=(AGAIN,),
    labelling=labelling,
)


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises EngineLoadError, and what stops a worker."""
    serve(EMBEDDER, settings)
