"""Record headers: CloudEvents 1.0 (Kafka binding, binary mode) and W3C trace context."""

import itertools
import os
import random
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeGuard

from streamkit.messages import Emit
from streamkit.records import RawHeaders

TRACE_SAMPLE: Final = 0.01
"""Fraction of new traces that are sampled, unless `sample_new_traces` says another."""

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""

_LATER: Final = re.compile(
    r"(?!00|ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
"""Of a later version, which may have more fields."""

_LOW_64: Final = 2**64 - 1

_MAX_HEADERS: Final = 64
_MAX_HEADER_BYTES: Final = 4096

_ids: Final = random.Random(os.urandom(32))  # noqa: S311 - ids have to be unique, not secret
"""A generator of its own: a handler that seeds the common one must not repeat ids."""

os.register_at_fork(after_in_child=lambda: _ids.seed(os.urandom(32)))


class _Sampling:
    """How many new traces are sampled, in this process."""

    below = int(TRACE_SAMPLE * 2**64)


def sample_new_traces(fraction: float) -> None:
    """From now on sample this fraction (0 to 1) of the traces that begin in this process.

    A trace that came with a record stays what it is.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction is between 0 and 1, not {fraction}")
    _Sampling.below = int(fraction * 2**64)


def event_headers(
    emit: Emit, *, source: str, traceparent: str | None = None, span: str | None = None
) -> RawHeaders:
    """Headers of an event.

    `source` is the service that says it. A valid `traceparent` of the record that caused it is
    continued by a new span; else a new trace begins. `span` is a traceparent from `next_span`, to
    be carried as it is: of the span in which the event was made, if there is one.
    """
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", emit.id.encode()),
        ("ce_source", _source(source)),
        ("ce_type", _type(emit.topic)),
        ("ce_time", _timestamp(time.time())),
        ("content-type", b"application/avro"),
        ("traceparent", (span or next_span(traceparent)).encode()),
    ]


def next_span(traceparent: str | None) -> str:
    """A traceparent of the same trace with a new span id; a new trace for None or rubbish."""
    traceparent = in_version_00(traceparent)
    if is_traceparent(traceparent):
        return f"{traceparent[:36]}{_span_id()}{traceparent[52:]}"
    trace = _ids.getrandbits(128) or 1
    flags = "01" if trace & _LOW_64 < _Sampling.below else "00"
    return f"00-{trace:032x}-{_span_id()}-{flags}"


def is_traceparent(text: str | None) -> TypeGuard[str]:
    """Whether this is what W3C Trace Context, version 00, lets through."""
    return text is not None and _TRACEPARENT.fullmatch(text) is not None


def in_version_00(text: str | None) -> str | None:
    """A traceparent of a later version as W3C wants it read: its trace, its span and
    whether it is sampled, in version 00. Anything else as it is."""
    if text is None or text.startswith("00-"):
        return text
    later = _LATER.fullmatch(text)
    return f"00-{later[1]}-{int(later[2], 16) & 1:02x}" if later else text


def traceparent_of(headers: RawHeaders) -> str | None:
    """The traceparent of a record, in version 00 if it can be read; else whatever it says."""
    for name, value in headers:
        if name == "traceparent":
            return in_version_00(value[:64].decode("ascii", "replace"))
    return None


def readable(raw: Iterable[tuple[str, bytes]]) -> Mapping[str, str]:
    """Headers of any producer as text: bounded in count and size, undecodable bytes replaced."""
    return {
        name[:256]: value[:_MAX_HEADER_BYTES].decode("utf-8", "replace")
        for name, value in itertools.islice(raw, _MAX_HEADERS)
    }


def _span_id() -> str:
    return f"{_ids.getrandbits(64) or 1:016x}"


@lru_cache(maxsize=64)
def _source(service: str) -> bytes:
    return f"/darkroom/{service}".encode()


@lru_cache(maxsize=512)
def _type(topic: str) -> bytes:
    return f"darkroom.{topic}".encode()


def _timestamp(now_s: float) -> bytes:
    """RFC 3339 in UTC, to the millisecond."""
    second, ms = divmod(int(now_s * 1000), 1000)
    return b"%s%03dZ" % (_up_to_the_second(second), ms)


@lru_cache(maxsize=2)
def _up_to_the_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
