"""What a part says besides what the engine found: something by whose photo it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from stagekit.beside import Comparison
from stagekit.loaded import Found
from streamkit import Message


@dataclass(frozen=True, slots=True)
class Added:
    """Fields of the stage's event, which hold instead of what the engine found for them; the
    milliseconds that they took; what shadows say beside them."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    ms: float = 0.0
    compared: Sequence[Comparison] = ()


Add = Callable[[Message, Found, str], Added]
"""Of a request, what the engine found, and the model version of that."""


class Adds(Protocol):
    """What adds to the parts of a stage. From any thread."""

    def use(self, owner: str) -> AbstractContextManager[Add]:
        """For a piece of work from its beginning to its end: what holds meanwhile for its owner."""


class Nothing:
    """See Adds."""

    @contextmanager
    def use(self, owner: str) -> Iterator[Add]:
        """See Adds."""
        del owner
        yield _nothing


def _nothing(_message: Message, _found: Found, _version: str) -> Added:
    return _ADDED_NOTHING


_ADDED_NOTHING: Final = Added()
NOTHING: Final = Nothing()
