"""Texts from outside that the catalog can hold."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

_LONGEST_NAME: Final = 100
_LONGEST_REASON: Final = 1_000


def _no_zero(text: str) -> str:
    """PostgreSQL's text can't hold it."""
    if "\0" in text:
        raise ValueError("may not hold a zero character")
    return text


Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME), AfterValidator(_no_zero)]
"""A word or two: who asks, a label."""

Reason = Annotated[str, Field(min_length=1, max_length=_LONGEST_REASON), AfterValidator(_no_zero)]
"""A sentence for the next person."""
