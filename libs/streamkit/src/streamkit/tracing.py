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
"""

import os
from typing import TYPE_CHECKING, Final

from streamkit.engine.work import Work
from streamkit.headers import TRACE_SAMPLE, is_traceparent, sample_new_traces

if TYPE_CHECKING:
    from streamkit.spans import Recorder, Span

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
    return recorder.begin(work, span, cause if is_traceparent(cause) else None)


def close(timeout_s: float = 2.0) -> None:
    """Export what is recorded, within that time, and record no more."""
    recorder, _Current.recorder = _Current.recorder, None
    if recorder is not None:
        recorder.close(timeout_s)
