"""Spans by OpenTelemetry's SDK. Imported only where they are recorded (see tracing)."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes

from streamkit.engine.work import Kind, Work

_EXPORT_TIMEOUT_S: Final = 2.0
"""A collector that is away must not hold up the end of a process."""

_FINE: Final = frozenset({"done", "returned"})


def otlp() -> SpanProcessor:
    """Exports in the background by OTLP over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(OTLPSpanExporter(timeout=_EXPORT_TIMEOUT_S))


class _GivenIds(RandomIdGenerator):
    """Ids that were drawn before, for the next span of this thread; else random ones."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    @property
    def given(self) -> SpanContext | None:
        """Those of the span that is being begun."""
        found: SpanContext | None = getattr(self._of_thread, "given", None)
        return found

    @given.setter
    def given(self, context: SpanContext | None) -> None:
        self._of_thread.given = context

    def generate_trace_id(self) -> int:
        """See IdGenerator."""
        return self.given.trace_id if self.given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """See IdGenerator."""
        return self.given.span_id if self.given else super().generate_span_id()


class _OnlyGiven(Sampler):
    """Of spans without a parent, samples only a record's own: what a handler traces beside them
    belongs to an unsampled record."""

    def __init__(self, ids: _GivenIds) -> None:
        self._ids = ids

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See Sampler."""
        decision = ALWAYS_ON if self._ids.given else ALWAYS_OFF
        return decision.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See Sampler."""
        return "OnlyGiven"


class Span:
    """The span of one record's handling."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def active(self) -> AbstractContextManager[trace.Span]:
        """Within it, spans that a handler begins are this one's children."""
        return _active(self._span)

    def end(self, kind: Kind, code: str = "", message: str = "") -> None:
        """The handling is over, as its Result says."""
        self._span.set_attribute("streamkit.result", kind)
        if kind not in _FINE:
            self._span.set_attribute("error.type", code or kind)
            self._span.set_status(Status(StatusCode.ERROR, message[:1000] or kind))
        self._span.end()


class RequestSpan:
    """The span of one HTTP request."""

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span = span
        self._method = method

    def active(self) -> AbstractContextManager[trace.Span]:
        """Within it, spans that the application begins are this one's children."""
        return _active(self._span)

    def end(self, route: str, status: int) -> None:
        """It was answered so; `route` is the template, empty where there is none."""
        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Recorder:
    """Records the spans of this process and hands them to `processor`; `provider` is the SDK's."""

    def __init__(self, processor: SpanProcessor, service: str, engine: str = "") -> None:
        self._ids = _GivenIds()
        self.provider = TracerProvider(
            sampler=ParentBased(root=_OnlyGiven(self._ids)),
            resource=Resource.create(
                {"service.name": service, **({"streamkit.engine": engine} if engine else {})}
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self.provider.add_span_processor(processor)
        self._tracer = self.provider.get_tracer("streamkit")

    def serve_everybody(self) -> None:
        """Be what OpenTelemetry's API gives to instrumented code in this process."""
        trace.set_tracer_provider(self.provider)

    def begin(self, work: Work, span: str, cause: str | None) -> Span:
        """Begin the span with the ids of `span`; child of `cause`, and linked to it."""
        name = f"process {work.record.topic}"
        return Span(self._begun(name, SpanKind.CONSUMER, span, cause, _attributes(work)))

    def begin_request(self, method: str, span: str, cause: str | None) -> RequestSpan:
        """Begin the span of an HTTP request, with the ids of `span`."""
        about: dict[str, str | int] = {"http.request.method": method}
        return RequestSpan(self._begun(method, SpanKind.SERVER, span, cause, about), method)

    def published(self, topic: str, span: str, cause: str | None) -> None:
        """Something was handed to the broker's client; the span has the ids of `span`."""
        about: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
        }
        self._begun(f"send {topic}", SpanKind.PRODUCER, span, cause, about).end()

    def _begun(
        self,
        name: str,
        kind: SpanKind,
        span: str,
        cause: str | None,
        attributes: Mapping[str, str | int],
    ) -> trace.Span:
        came_from = _context(cause) if cause else None
        parent = trace.set_span_in_context(
            NonRecordingSpan(came_from) if came_from else trace.INVALID_SPAN, Context()
        )
        self._ids.given = _context(span)
        try:
            return self._tracer.start_span(
                name,
                context=parent,
                kind=kind,
                attributes=attributes,
                links=[Link(came_from)] if came_from else [],
            )
        finally:
            self._ids.given = None

    def close(self, timeout_s: float) -> None:
        """Export what is left, for up to so long."""
        # The SDK's own shutdown waits for its exporter for up to 30 s.
        ending = threading.Thread(target=self.provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(timeout_s)


def _active(span: trace.Span) -> AbstractContextManager[trace.Span]:
    return trace.use_span(
        span, end_on_exit=False, record_exception=False, set_status_on_exception=False
    )


def _context(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _attributes(work: Work) -> dict[str, str | int]:
    """Names of OpenTelemetry's semantic conventions for messaging, and our own."""
    record = work.record
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "streamkit.lane": work.lane,
        "streamkit.attempt": work.attempt,
    }
