"""Which engine the settings mean."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from backbones import CheckpointError, Policy, WeightsError, find, offline
from backbones.checkpoints import Checkpoint
from embedder.engines import EmbedderEngine
from embedder.settings import Settings
from streamkit import EngineLoadError, load_engine, needing


def load(settings: Settings) -> EmbedderEngine:
    """See embedder.engines.load."""
    with _explained():
        if settings.embedder_engine != "auto":
            return load_engine(settings.embedder_engine, ENGINES, settings, default=("", ""))
        engine, why = _auto(settings)
        return load_engine(
            "auto", {engine.name: lambda _: engine}, settings, default=(engine.name, why)
        )


def _efficientnet_lite0(settings: Settings) -> EmbedderEngine:
    from embedder.engines.efficientnet_lite0 import EfficientNetLite0Engine

    return EfficientNetLite0Engine.load(settings.embedder_device, settings.embedder_threads)


def _siglip(settings: Settings) -> EmbedderEngine:
    if not settings.embedder_checkpoint:
        raise EngineLoadError(
            "The engine siglip needs weights: name a folder, or owner/name@COMMIT at a model hub,"
            " in the setting embedder_checkpoint."
        )
    return _siglip_of(settings, find(settings.embedder_checkpoint, _policy(settings)))


def _siglip_of(settings: Settings, checkpoint: Checkpoint) -> EmbedderEngine:
    from backbones import devices
    from embedder.engines.siglip import SiglipEngine

    device = devices.ready(settings.embedder_device, settings.embedder_threads)
    return SiglipEngine.load(checkpoint, device)


def _auto(settings: Settings) -> tuple[EmbedderEngine, str]:
    """The engine that `auto` means, and why."""
    siglip, why = offline.siglip(
        settings.embedder_checkpoint,
        settings.embedder_device,
        _policy(settings),
        partial(_siglip_of, settings),
    )
    if siglip is not None:
        return siglip, why
    return _efficientnet_lite0(settings), f"its weights come with the installation; {why}"


ENGINES: Final[Mapping[str, Callable[[Settings], EmbedderEngine]]] = {
    "efficientnet-lite0": _efficientnet_lite0,
    "siglip": _siglip,
}
"""The built-in engines by name."""


def _policy(settings: Settings) -> Policy:
    return Policy(
        allow_pickle=settings.checkpoints_allow_pickle,
        allow_names=settings.checkpoints_allow_names,
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever is wrong with what the settings name is a sentence for whoever set them."""
    try:
        with needing("darkroom-embedder[torch]"):
            yield
    except (CheckpointError, WeightsError) as error:
        raise EngineLoadError(str(error)) from error
