"""Messages between a process and its decode process: a JSON head and some blobs, all bounded.

Layout: 4 bytes big-endian length of the head, the head, the blobs. The head's `blobs` holds their
lengths. Nothing is unpickled: the other side may have been taken over by a hostile picture.
"""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_MOST_HEAD = 64 * 1024


class BrokenMessageError(Exception):
    """The other side ended, or wrote what is no message."""


def write_message(pipe: io.RawIOBase, head: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Writes a whole message; blocks. Raises OSError (BrokenPipeError) if nobody reads."""
    text = json.dumps({**head, "blobs": [len(blob) for blob in blobs]}).encode()
    for piece in (struct.pack(">I", len(text)) + text, *blobs):
        view = memoryview(piece)
        while view:
            view = view[pipe.write(view) or 0 :]


def read_message(pipe: io.RawIOBase, most: int) -> tuple[dict[str, Any], list[bytes]]:
    """Reads a whole message whose blobs have at most `most` bytes in sum; blocks.

    Raises BrokenMessageError at the end of the stream and for anything malformed.
    """
    (size,) = struct.unpack(">I", _exactly(pipe, 4))
    if size > _MOST_HEAD:
        raise BrokenMessageError(f"a head of {size} bytes")
    try:
        head = json.loads(_exactly(pipe, size))
        lengths = [int(length) for length in head.pop("blobs")]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BrokenMessageError("a head that is no JSON object") from error
    if min(lengths, default=0) < 0 or sum(lengths) > most:
        raise BrokenMessageError(f"blobs of {lengths} bytes")
    return head, [_exactly(pipe, length) for length in lengths]


def _exactly(pipe: io.RawIOBase, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = pipe.readinto(view)
        if not count:
            raise BrokenMessageError("the stream has ended")
        view = view[count:]
    return bytes(data)
