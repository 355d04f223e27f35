"""States, and how they lie in a table: as JSON, or smaller."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

State = dict[str, Any]
"""Of one key: JSON."""


class Table(Protocol):
    """What a fold needs of a table."""

    def read(self, key: bytes) -> bytes | None:
        """The value of a key."""

    def write(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set or remove it."""


@dataclass(frozen=True, slots=True)
class Packing:
    """`pack` gives what lies in the table in place of a state's JSON, given both; `unpack` gives
    the JSON again. Both are pure."""

    pack: Callable[[State, bytes], bytes]
    unpack: Callable[[bytes], bytes]


PLAIN: Final = Packing(lambda _state, body: body, lambda stored: stored)
"""As JSON."""

_JSON: Final = b"{"
_LEVEL: Final = 6


def deflated(
    worth: Callable[[State], bool] = lambda _state: True,
    *,
    dictionary: bytes = b"",
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
) -> Packing:
    """States that are worth it as streams of zlib's (RFC 1950), the others as JSON.

    `dictionary` has what states have in common, the commonest at its end, and never changes: no
    stream can be read without the one that it was written with. `strategy` is zlib's: Z_RLE is best
    for text without words.
    """

    def pack(state: State, body: bytes) -> bytes:
        if not worth(state):
            return body
        # Little memory and a short window: setting them up is most of the work for so few bytes.
        making = zlib.compressobj(_LEVEL, zlib.DEFLATED, 12, 5, strategy, dictionary)
        return making.compress(body) + making.flush()

    def unpack(stored: bytes) -> bytes:
        if stored.startswith(_JSON):
            return stored
        return zlib.decompressobj(zlib.MAX_WBITS, dictionary).decompress(stored)

    return Packing(pack, unpack)


def as_json(state: State) -> bytes:
    """Raises ValueError for a number that JSON has not."""
    return _encode(state).encode()


def from_json(text: bytes) -> State:
    """As it was."""
    state: State = json.loads(text)
    return state


_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
