"""What refuses a version of a model whose engine or options a stage does not have."""

import difflib
from collections.abc import Collection
from typing import Literal


def unknown(kind: Literal["engine", "option"], name: str, known: Collection[str]) -> str:
    """The sentence for a name that is not among the known ones, with the nearest of them."""
    there = ", ".join(sorted(known)) or "none"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    return f"{name} is no {kind} of this model; there are: {there}{hint}"
