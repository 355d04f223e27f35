"""Finding an implementation by its name in a setting."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TypeVar

import structlog

_log = structlog.get_logger("streamkit.engines")

T = TypeVar("T")
S = TypeVar("S")
E = TypeVar("E", bound="Named")


class EngineLoadError(RuntimeError):
    """The handlers can't be loaded: a setting or an installation has to be put right. Says what is
    wrong, and what to do."""


class UnknownEngineError(ValueError):
    """A name that is neither known nor `package.module:factory`."""


class Named(Protocol):
    """What is logged of an engine."""

    @property
    def name(self) -> str: ...

    @property
    def model_version(self) -> str: ...


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Load what packages of an extra of ours, such as darkroom-ocr[torch], are needed for. Raises
    EngineLoadError where one of them is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise EngineLoadError(
            f"This needs the Python package {error.name}, which is not installed here: install"
            f" {extra}, or take an image that was built with it (VARIANT=cuda or torch-cpu)."
        ) from error


def load_engine(
    name: str, known: Mapping[str, Callable[[S], E]], settings: S, *, default: tuple[str, str]
) -> E:
    """The engine of that name, made with `settings`; logs which and why.

    `auto` means the first of `default`, for the reason in its second. Raises UnknownEngineError.
    """
    chosen, why = default if name == "auto" else (name, "the setting names it")
    engine = factory_of(chosen, known)(settings)
    _log.info("engine", engine=engine.name, model_version=engine.model_version, why=why)
    return engine


def factory_of(name: str, known: Mapping[str, Callable[..., T]]) -> Callable[..., T]:
    """The factory named `name`: one of `known`, or `package.module:factory`.

    Raises UnknownEngineError that lists what is known.
    """
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        choices = ", ".join(sorted(known))
        raise UnknownEngineError(
            f"engine {name!r} is not known; choose {choices} or package.module:factory"
        )
    try:
        found: Callable[..., T] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownEngineError(f"engine {name!r} can't be loaded: {error}") from error
    return found
