"""Finding an implementation by its name in a setting."""

import importlib
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UnknownEngineError(ValueError):
    """A name that is neither known nor `package.module:factory`."""


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
