"""Avro in the Confluent wire format, with schema ids that outlive an absent registry."""

import hashlib
import io
import itertools
import json
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, Protocol

import fastavro
import httpx
import structlog
from fastavro.schema import SchemaParseException

from streamkit.backoff import Stopped, wait
from streamkit.errors import Busy, Reject

AvroSchema = Mapping[str, Any]

_log = structlog.get_logger("streamkit.codec")

_HEAD: Final = struct.Struct(">bI")
"""A zero byte and the schema id, big-endian: the Confluent wire format."""

_TIMEOUT_S: Final = 5.0


class RegistryUnavailableError(Busy):
    """The registry does not answer, and what is needed of it is not in the cache."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="schema registry")


class RegistryRefusesError(RuntimeError):
    """The registry answers, but does not let us ask: a wrong address or missing rights."""


class UnregisteredSchemaError(RuntimeError):
    """The registry answers but does not have our schema: it was not registered, or is older."""


class Ids(Protocol):
    """Which id a schema has; see SchemaIds."""

    def id_of(self, subject: str, schema: AvroSchema) -> int: ...

    def schema(self, number: int) -> AvroSchema: ...


class SchemaIds:
    """Schema ids from the registry, remembered in a folder.

    Ids are looked up, never registered. What was learned is written below `cache`, apart for each
    registry, so that a worker starts while the registry is down; while it answers, it is asked.
    """

    def __init__(self, registry: str, cache: Path, http: httpx.Client | None = None) -> None:
        self._http = http or httpx.Client(base_url=registry.rstrip("/"), timeout=_TIMEOUT_S)
        self._cache = cache / hashlib.sha256(registry.encode()).hexdigest()[:12]
        self._cache.mkdir(parents=True, exist_ok=True)

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        """Id under which the registry knows `schema`.

        Raises UnregisteredSchemaError, or RegistryUnavailableError if it was never learned.
        """
        text = json.dumps(schema, sort_keys=True)
        path = self._cache / f"{subject}.json"
        answer = self._ask("POST", f"/subjects/{subject}", {"schema": json.dumps(schema)})
        if answer is None:
            return self._remembered_id(path, text, subject)
        if answer.status_code != httpx.codes.OK:
            raise UnregisteredSchemaError(
                f"the registry has no such version of {subject} ({answer.status_code}): "
                "register it first (Darkroom's own: `darkroom schemas apply`)"
            )
        number = int(answer.json()["id"])
        _write(path, {"id": number, "schema": text})
        return number

    def _remembered_id(self, path: Path, text: str, subject: str) -> int:
        known = _read(path)
        if known is None or known["schema"] != text:
            raise RegistryUnavailableError(f"no registry, and the id of {subject} is unknown")
        return int(known["id"])

    def schema(self, number: int) -> AvroSchema:
        """The schema with this id.

        Raises Reject if the registry does not know it or it is no Avro record,
        RegistryUnavailableError if it is away.
        """
        path = self._cache / f"schema-{number}.json"
        answer = self._ask("GET", f"/schemas/ids/{number}", None)
        if answer is not None and answer.status_code == httpx.codes.OK:
            schema = _record_schema(answer.json(), number)
            _write(path, schema)
            return schema
        known = _read(path)
        if known is not None:
            return known
        if answer is None:
            raise RegistryUnavailableError(f"no registry, and schema {number} is unknown")
        raise Reject("unknown_schema", f"The registry knows no schema {number}.")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response | None:
        """The registry's answer; None if it is away: no connection, or no answer for now.

        Raises RegistryRefusesError if it does not let us ask.
        """
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.TransportError:
            return None
        if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return None
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RegistryRefusesError(f"the registry says {answer.status_code}: missing rights")
        return answer


def _record_schema(answer: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The Avro record in a registry's answer; the registry also knows other types of schemas."""
    try:
        schema = json.loads(answer["schema"])
        fastavro.parse_schema(schema)
    except (ValueError, KeyError, SchemaParseException) as error:
        raise Reject("wrong_schema", f"Schema {number} is not Avro.") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise Reject("wrong_schema", f"Schema {number} is not an Avro record.")
    return schema


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _write(path: Path, value: AvroSchema) -> None:
    """Write so that no reader, in any process, ever sees half of it."""
    with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as fresh:
        json.dump(value, fresh)
    Path(fresh.name).replace(path)


class Codec:
    """Encodes and decodes the values of topics.

    `schema_of` gives the schema by which this program knows a topic's values. A record is read
    with the schema that it was written with and resolved to ours (Avro schema resolution), so
    that older and newer writers are understood.
    """

    def __init__(self, ids: Ids, schema_of: Callable[[str], AvroSchema], prefix: str = "") -> None:
        self._ids = ids
        self._schema_of = schema_of
        self._prefix = prefix
        self._ours: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}
        self._writers: dict[int, Any] = {}
        self._same: dict[tuple[int, str], bool] = {}

    def preload(self, topics: Iterable[str], stop: threading.Event) -> None:
        """Learn the ids of all topics that this program writes.

        Waits for a registry that is away until `stop`; raises Stopped, UnregisteredSchemaError.
        """
        for topic in topics:
            for attempt in itertools.count(1):
                if stop.is_set():  # a registry that hangs takes seconds for each
                    raise Stopped
                try:
                    self.learn(topic)
                    break
                except RegistryUnavailableError as error:
                    _log.warning("busy", reason=str(error), times=attempt)
                    wait(attempt, stop)

    def learn(self, topic: str) -> None:
        """Learn a topic's id; raises RegistryUnavailableError, UnregisteredSchemaError."""
        self._number(topic)

    def encode(self, topic: str, value: Mapping[str, Any]) -> bytes:
        """The record's value: wire-format head and Avro body.

        Raises ValueError or TypeError if `value` does not fit the schema (a defect of the caller).
        """
        buffer = io.BytesIO()
        buffer.write(_HEAD.pack(0, self._number(topic)))
        fastavro.schemaless_writer(buffer, self._our_schema(topic), value, strict=True)
        return buffer.getvalue()

    def decode(self, topic: str, data: bytes | None) -> dict[str, Any]:
        """The value, as our schema of the topic says it.

        Raises Reject for bytes that no registered schema explains, RegistryUnavailableError.
        """
        if data is None or len(data) < _HEAD.size or data[0] != 0:
            raise Reject("not_framed", "The value is not Avro in the Confluent wire format.")
        _, number = _HEAD.unpack_from(data)
        writer = self._writer_schema(number)
        body = io.BytesIO(data[_HEAD.size :])
        try:
            # Resolving a schema to itself would cost a fifth more.
            reader = None if self._is_ours(number, topic) else self._our_schema(topic)
            value = fastavro.schemaless_reader(body, writer, reader)
        except (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise Reject("undecodable", f"The value is not what schema {number} says.") from error
        except fastavro.read.SchemaResolutionError as error:
            reason = f"Schema {number} is not one for {topic}."
            raise Reject("wrong_schema", reason) from error
        if body.read(1):
            raise Reject("undecodable", f"The value is longer than schema {number} says.")
        return dict(value)  # type: ignore[arg-type]

    def _is_ours(self, number: int, topic: str) -> bool:
        """Whether a schema id means the very schema by which this program knows the topic."""
        known = self._same.get((number, topic))
        if known is None:
            known = self._writer_schema(number) == self._our_schema(topic)
            self._same[number, topic] = known
        return known

    def _number(self, topic: str) -> int:
        if topic not in self._numbers:
            subject = f"{self._prefix}{topic}-value"
            self._numbers[topic] = self._ids.id_of(subject, self._schema_of(topic))
        return self._numbers[topic]

    def _our_schema(self, topic: str) -> Any:
        if topic not in self._ours:
            self._ours[topic] = fastavro.parse_schema(dict(self._schema_of(topic)))
        return self._ours[topic]

    def _writer_schema(self, number: int) -> Any:
        if number not in self._writers:
            self._writers[number] = fastavro.parse_schema(dict(self._ids.schema(number)))
        return self._writers[number]
