"""Record headers: CloudEvents 1.0 (Kafka binding, binary mode) and W3C trace context."""

import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from streamkit.messages import Emit

RawHeaders = list[tuple[str, bytes]]

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""

_MAX_HEADERS: Final = 64
_MAX_HEADER_BYTES: Final = 4096


def event_headers(emit: Emit, *, source: str, traceparent: str | None = None) -> RawHeaders:
    """Headers of an event.

    `source` is the service that says it. A valid `traceparent` of the record that caused it is
    continued by a new span; else a new trace begins.
    """
    named = {
        "ce_specversion": "1.0",
        "ce_id": emit.id,
        "ce_source": f"/darkroom/{source}",
        "ce_type": f"darkroom.{emit.topic}",
        "ce_time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "content-type": "application/avro",
        "traceparent": next_span(traceparent),
    }
    return [(name, value.encode()) for name, value in named.items()]


def next_span(traceparent: str | None) -> str:
    """A traceparent of the same trace with a new span id; a new trace for None or rubbish."""
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
        trace, flags = traceparent[3:35], traceparent[53:55]
    else:
        trace, flags = secrets.token_hex(16), "01"
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"


def readable(raw: Iterable[tuple[str, bytes]]) -> Mapping[str, str]:
    """Headers of any producer as text: bounded in count and size, undecodable bytes replaced."""
    return {
        name[:256]: value[:_MAX_HEADER_BYTES].decode("utf-8", "replace")
        for name, value in itertools.islice(raw, _MAX_HEADERS)
    }
