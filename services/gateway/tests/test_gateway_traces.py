"""What a request writes down belongs to its trace; what nobody asked for begins one."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from starlette.types import Receive, Scope, Send

from gateway.api.traces import Traced
from gateway.catalog.outbox import Outbox, Waiting
from gateway.control.relay import record_of
from streamkit import Emit, tracing

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT = Emit("photo.submitted.high.v1", "k", {"at": datetime(2026, 1, 1, tzinfo=UTC)}, "id")


class Codec:
    def encode(self, _topic: str, _value: Any) -> bytes:
        return b"v"


def headers_written() -> dict[str, str]:
    return dict(json.loads(Outbox(Codec()).row(EVENT).headers))


def asked(headers: list[tuple[bytes, bytes]], kind: str = "http") -> dict[str, str]:
    """What an application writes that is asked so."""
    found: dict[str, str] = {}

    async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
        found.update(headers_written())

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": kind, "method": "POST", "headers": headers}
    asyncio.run(Traced(application)(scope, nothing, nothing))
    return found


def test_a_client_that_traces_is_answered_within_its_trace() -> None:
    written = asked([(b"traceparent", CLIENT.encode())])["traceparent"]
    assert written[:35] == CLIENT[:35]
    assert written[36:52] != CLIENT[36:52]


@pytest.mark.parametrize("headers", [[], [(b"traceparent", b"rubbish")]])
def test_any_other_request_begins_a_trace(headers: list[tuple[bytes, bytes]]) -> None:
    assert len(asked(headers)["traceparent"]) == len(CLIENT)


def test_what_no_request_writes_is_of_no_trace_yet() -> None:
    asked([(b"traceparent", CLIENT.encode())])
    assert "traceparent" not in headers_written()
    assert asked([], "websocket").get("traceparent") is None


def waiting(headers: dict[str, str]) -> Waiting:
    return Waiting(1, "photo.submitted.high.v1", "k", UUID(int=1), b"v", headers)


def test_the_relay_publishes_within_the_trace_of_what_wrote_the_event() -> None:
    with tracing.within(CLIENT):
        written = headers_written()
    sent = dict(record_of(waiting(written)).headers)
    assert sent["traceparent"].decode()[:35] == CLIENT[:35]
    assert sent["traceparent"].decode() != CLIENT
    assert sent["ce_id"] == b"id"


def test_the_relay_begins_a_trace_where_there_is_none() -> None:
    first, second = (dict(record_of(waiting({})).headers)["traceparent"] for _ in range(2))
    assert len(first) == len(CLIENT)
    assert first != second
