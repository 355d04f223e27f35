"""As much of protobuf's encoding as it takes to write a message.

https://protobuf.dev/programming-guides/encoding/: each field is its number and kind, then a number
of seven bits a byte, or the length and the bytes of a text, of raw data, or of another message.
"""

from collections.abc import Iterable
from typing import Final

Value = int | str | bytes
"""Of a field: a number that is not negative, a text, or bytes (an encoded message is bytes)."""

_NUMBER: Final = 0
_BYTES: Final = 2


def message(*fields: tuple[int, Value]) -> bytes:
    """The encoded message: its fields as (number, value), repeated ones repeatedly."""
    return b"".join(part for number, value in fields for part in _field(number, value))


def _field(number: int, value: Value) -> Iterable[bytes]:
    if isinstance(value, int):
        return (_varint(number << 3 | _NUMBER), _varint(value))
    data = value.encode() if isinstance(value, str) else value
    return (_varint(number << 3 | _BYTES), _varint(len(data)), data)


def _varint(value: int) -> bytes:
    """The lowest seven bits first; the eighth says that more follow."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
