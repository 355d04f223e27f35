"""What a head is called in the registry of models: it belongs to an owner's set of labels."""

from typing import Final, NamedTuple

_KIND: Final = "head:"

ENGINE: Final = "head"
"""The engine of every version of a head."""

FILE: Final = "head.safetensors"
"""Its only file."""


class HeadOf(NamedTuple):
    """Whose head, of which set of labels."""

    owner: str
    name: str


def head_name(owner: str, name: str) -> str:
    """The model of an owner's set of labels."""
    return f"{_KIND}{owner}:{name}"


def head_of(model: str) -> HeadOf | None:
    """Whose head a model is; None for what is no head."""
    if not model.startswith(_KIND):
        return None
    owner, found, name = model[len(_KIND) :].partition(":")
    return HeadOf(owner, name) if found and owner and name else None
