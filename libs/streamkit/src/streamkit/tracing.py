"""Traces: a span for each sampled record that a handler works on, linked to the one that made it.

The trace context travels in the records' `traceparent`, sampled or not; `next_span` (headers)
draws the id of a record's handling, and the events that come of it carry that id. Here the few
that are sampled are recorded and exported. OpenTelemetry's SDK is loaded only where that happens:
in each process (the worker's, an engine's) that calls `configure` with an exporter set.

What runs handlers does so for each record:

    span = next_span(cause)
    traced = begin(work, span, cause)
    …the handler, within traced.active() if traced…
    …event_headers(emit, source=…, span=span)…
    if traced: traced.end(kind, code, message)

What is published outside of a handler (`published`, `forwarded`) has a short span of its own, so
that whoever reads it has something to be linked to. `within` names what is worked on where events
are written down that somebody else publishes (an outbox).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from streamkit.engine.work import Work
from streamkit.headers import (
    TRACE_SAMPLE,
    in_version_00,
    is_traceparent,
    next_span,
    sample_new_traces,
    traceparent_of,
)
from streamkit.records import RawRecord, Taken

if TYPE_CHECKING:
    from streamkit.spans import Recorder, RequestSpan, Span

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables; the exporter reads them, and others for headers and timeouts."""

_SAMPLED: Final = frozenset("13579bdf")
"""Last digits of a traceparent whose flags say: sampled."""


class _Current:
    """What records spans in this process, if anything does."""

    recorder: "Recorder | None" = None


def configure(service: str, *, sample: float = TRACE_SAMPLE, engine: str = "") -> None:
    """Sample this fraction of new traces, and export spans by OTLP over HTTP if
    OTEL_EXPORTER_OTLP_ENDPOINT is set. To be called once at a process's start."""
    sample_new_traces(sample)
    if any(os.environ.get(name) for name in _ENDPOINTS):
        from streamkit import spans

        recorder = spans.Recorder(spans.otlp(), service, engine)
        recorder.serve_everybody()
        use(recorder)


def recording() -> bool:
    """Whether this process records spans; where it doesn't, nothing here costs more than that."""
    return _Current.recorder is not None


def use(recorder: "Recorder | None") -> None:
    """Have spans recorded by this from now on; None: by nothing."""
    _Current.recorder = recorder


def begin(work: Work, span: str, cause: str | None) -> "Span | None":
    """Begin the span of a record's handling; None if it isn't sampled or nothing records.

    `span` is its own traceparent, `next_span(cause)`; `cause` is the record's. The caller ends it.
    Costs 0.1 µs for None.
    """
    recorder = _Current.recorder
    if recorder is None or span[-1] not in _SAMPLED:
        return None
    return recorder.begin(work, span, _read(cause))


def _read(cause: str | None) -> str | None:
    """A traceparent that somebody else may have made; None for rubbish."""
    cause = in_version_00(cause)
    return cause if is_traceparent(cause) else None


def begin_followed(record: Taken) -> "Span | None":
    """Begin the span of a record that is read outside of any group; as `begin`."""
    if _Current.recorder is None:
        return None
    cause = traceparent_of(record.headers)
    return begin(Work(0, "", 1, record), next_span(cause), cause) if is_traceparent(cause) else None


def heard(record: Taken) -> None:
    """A record was read outside of any group, and there is nothing to be done about it but that."""
    span = begin_followed(record)
    if span is not None:
        span.end("done")


def begin_request(method: str, span: str, cause: str | None) -> "RequestSpan | None":
    """Begin the span of an HTTP request; as `begin`. `cause` is what its client says."""
    recorder = _Current.recorder
    if recorder is None or span[-1] not in _SAMPLED:
        return None
    return recorder.begin_request(method, span, _read(cause))


def published(topic: str, cause: str | None = None) -> str:
    """The traceparent of an event that no handler's span covers, which has a span of its own.

    `cause` is what it came of; without one it begins a trace.
    """
    span = next_span(cause)
    recorder = _Current.recorder
    if recorder is not None and span[-1] in _SAMPLED:
        recorder.published(topic, span, _read(cause))
    return span


def forwarded(record: RawRecord) -> RawRecord:
    """A record that is passed on as it came (to a retry topic, the dead letters, or back): the same
    one, but where its trace is recorded it carries the span of being passed on."""
    if _Current.recorder is None:
        return record
    cause = traceparent_of(record.headers)
    if not is_traceparent(cause) or cause[-1] not in _SAMPLED:
        return record
    span = published(record.topic, cause).encode()
    others = [header for header in record.headers if header[0] != "traceparent"]
    return record._replace(headers=[*others, ("traceparent", span)])


_within: ContextVar[str | None] = ContextVar("traceparent", default=None)


@contextmanager
def within(span: str | None) -> Iterator[None]:
    """What is done in this context is a part of that span (a traceparent); see `current`."""
    token = _within.set(span)
    try:
        yield
    finally:
        _within.reset(token)


def current() -> str | None:
    """The traceparent of what this context works on; None where nothing has said so."""
    return _within.get()


def close(timeout_s: float = 2.0) -> None:
    """Export what is recorded, within that time, and record no more."""
    recorder, _Current.recorder = _Current.recorder, None
    if recorder is not None:
        recorder.close(timeout_s)
