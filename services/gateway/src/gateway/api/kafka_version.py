"""Which Kafka answers at an address, asked with one ApiVersions request.

Brokers do not tell their version as text. Since Kafka 3.3 they list the feature levels that they
support (KIP-584), and the level `metadata.version` grows with every release, so that its maximum
tells the release. Wire format: kafka.apache.org/protocol, ApiVersions version 3 (flexible).
"""

import asyncio
import ssl
import struct
from typing import Final

_RELEASES: Final = (
    # First level of each release; from MetadataVersion of Kafka 4.4.
    (34, "4.5"),
    (31, "4.4"),
    (30, "4.3"),
    (28, "4.2"),
    (26, "4.1"),
    (22, "4.0"),
    (21, "3.9"),
    (20, "3.8"),
    (15, "3.7"),
    (12, "3.6"),
    (9, "3.5"),
    (8, "3.4"),
    (1, "3.3"),
)
_SUPPORTED_FEATURES: Final = 0  # tag of the field in the response
_FEATURE: Final = b"metadata.version"
_LARGEST: Final = 1_000_000


def release_of(level: int) -> str:
    """The release whose highest `metadata.version` is `level`."""
    for first, release in _RELEASES:
        if level >= first:
            return f"{release}+" if (first, release) == _RELEASES[0] and level > first else release
    return "unknown"


async def kafka_version(bootstrap: str, tls: ssl.SSLContext | None = None) -> str:
    """Release of the first broker that answers, "unknown" for one older than 3.3.

    Who asks need not say who it is: brokers answer this before they want to know. Raises OSError
    if none does; bound the time outside.
    """
    error: OSError = ConnectionError(f"no address in {bootstrap!r}")
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            return parse(await _ask(host.strip("[]"), int(port), tls))
        except (OSError, EOFError, ValueError, struct.error) as failed:
            error = ConnectionError(f"{address}: {failed}")
    raise error


async def _ask(host: str, port: int, tls: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        writer.write(request())
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        if not 0 < size < _LARGEST:
            raise ConnectionError("this is no Kafka")
        return await reader.readexactly(size)
    finally:
        writer.close()


def request() -> bytes:
    """An ApiVersions request, version 3, with its length in front."""
    name = b"darkroom"
    head = struct.pack(">hhih", 18, 3, 1, len(name)) + name + b"\0"
    software = bytes([len(name) + 1]) + name + b"\x020"
    body = head + software + b"\0"
    return struct.pack(">i", len(body)) + body


def parse(answer: bytes) -> str:
    """The release that a response (without its length) speaks of."""
    at = 4  # correlation id
    (error_code,) = struct.unpack_from(">h", answer, at)
    if error_code:
        return "unknown"
    count, at = _varint(answer, at + 2)
    for _ in range(count - 1):
        tags, at = _varint(answer, at + 6)
        at = _skip_tags(answer, at, tags)
    at += 4  # throttle time
    tags, at = _varint(answer, at)
    for _ in range(tags):
        tag, at = _varint(answer, at)
        size, at = _varint(answer, at)
        if tag == _SUPPORTED_FEATURES:
            return _from_features(answer[at : at + size])
        at += size
    return "unknown"


def _from_features(data: bytes) -> str:
    count, at = _varint(data, 0)
    for _ in range(count - 1):
        length, at = _varint(data, at)
        name = data[at : at + length - 1]
        at += length - 1
        _, highest = struct.unpack_from(">hh", data, at)
        if name == _FEATURE:
            return release_of(highest)
        tags, at = _varint(data, at + 4)
        at = _skip_tags(data, at, tags)
    return "unknown"


def _skip_tags(data: bytes, at: int, tags: int) -> int:
    for _ in range(tags):
        _, at = _varint(data, at)
        size, at = _varint(data, at)
        at += size
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned varint and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
