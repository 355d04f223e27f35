"""Codec and schema ids against a registry in memory."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamkit import (
    Busy,
    Codec,
    RegistryRefusesError,
    Reject,
    SchemaIds,
    Stopped,
    UnregisteredSchemaError,
)

V1 = {"type": "record", "name": "Said", "fields": [{"name": "text", "type": "string"}]}
V2 = {
    "type": "record",
    "name": "Said",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "loud", "type": "boolean", "default": False},
    ],
}
UNION = [V1, "null"]
PLAIN = "string"
OTHER = {"type": "record", "name": "Seen", "fields": [{"name": "place", "type": "long"}]}


class Registry:
    """As much of Confluent's API as a worker uses."""

    def __init__(self, *schemas: Any) -> None:
        self.schemas = [json.dumps(schema) for schema in schemas]
        self.away = False
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused")
        if self.status != httpx.codes.OK:
            return httpx.Response(self.status, text="no")
        if request.method == "POST":
            schema = json.loads(request.content)["schema"]
            if schema not in self.schemas:
                return httpx.Response(404, json={})
            return httpx.Response(200, json={"id": self.schemas.index(schema) + 1})
        number = int(request.url.path.rpartition("/")[2])
        if not 0 < number <= len(self.schemas):
            return httpx.Response(404, json={})
        return httpx.Response(200, json={"schema": self.schemas[number - 1]})


def codec(registry: Registry, cache: Path, schema: Any) -> Codec:
    http = httpx.Client(transport=httpx.MockTransport(registry), base_url="http://registry")
    ids = SchemaIds("http://registry/", cache, http)
    return Codec(ids, lambda _topic: schema, prefix="t.")


def test_a_value_survives_encoding_and_decoding(tmp_path: Path) -> None:
    one = codec(Registry(V1), tmp_path, V1)
    data = one.encode("said", {"text": "hé"})
    assert data[:5] == b"\x00\x00\x00\x00\x01"
    assert one.decode("said", data) == {"text": "hé"}


def test_an_older_writer_is_understood_by_a_newer_reader_and_the_reverse(tmp_path: Path) -> None:
    registry = Registry(V1, V2)
    old, new = codec(registry, tmp_path / "a", V1), codec(registry, tmp_path / "b", V2)
    assert new.decode("said", old.encode("said", {"text": "x"})) == {"text": "x", "loud": False}
    assert old.decode("said", new.encode("said", {"text": "x", "loud": True})) == {"text": "x"}


def test_work_starts_from_remembered_ids_while_the_registry_is_away(tmp_path: Path) -> None:
    registry = Registry(V1)
    data = codec(registry, tmp_path, V1).encode("said", {"text": "x"})
    codec(registry, tmp_path, V1).decode("said", data)
    registry.away = True
    later = codec(registry, tmp_path, V1)
    assert later.encode("said", {"text": "x"}) == data
    assert later.decode("said", data) == {"text": "x"}


def test_a_remembered_id_of_another_version_is_not_used(tmp_path: Path) -> None:
    registry = Registry(V1, V2)
    codec(registry, tmp_path, V1).encode("said", {"text": "x"})
    registry.away = True
    with pytest.raises(Busy, match="unknown"):
        codec(registry, tmp_path, V2).encode("said", {"text": "x", "loud": True})


def test_a_schema_that_was_never_applied_is_named_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(UnregisteredSchemaError, match="darkroom schemas apply"):
        codec(Registry(), tmp_path, V1).preload(["said"], threading.Event())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "not_framed"),
        (b"", "not_framed"),
        (b"\x01\x00\x00\x00\x01\x02x", "not_framed"),
        (b"\x00\x00\x00\x00\x09\x02x", "unknown_schema"),
        (b"\x00\x00\x00\x00\x01\x08x", "undecodable"),
        (b"\x00\x00\x00\x00\x01\x02xtrailing", "undecodable"),
        (b"\x00\x00\x00\x00\x02\x02", "wrong_schema"),
        (b"\x00\x00\x00\x00\x03\x02x", "wrong_schema"),
        (b"\x00\x00\x00\x00\x04\x02x", "wrong_schema"),
        (b"\x00\x00\x00\x00\x05\x02x", "wrong_schema"),
        (b"\x00\x00\x00\x00\x06\x02x", "wrong_schema"),
    ],
)
def test_bytes_that_are_no_record_are_rejected(tmp_path: Path, data: Any, code: str) -> None:
    registry = Registry(V1, OTHER, PLAIN, UNION, {"type": "record", "name": "Broken"})
    registry.schemas.append('syntax = "proto3";')
    with pytest.raises(Reject) as caught:
        codec(registry, tmp_path, V1).decode("said", data)
    assert caught.value.code == code


def test_an_unknown_id_waits_for_the_registry_rather_than_losing_the_record(tmp_path: Path) -> None:
    registry = Registry(V1)
    registry.away = True
    with pytest.raises(Busy):
        codec(registry, tmp_path, V1).decode("said", b"\x00\x00\x00\x00\x01\x02x")


def test_a_start_waits_for_the_registry_until_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(V1)
    registry.away = True

    def come_back(_attempt: int, _stop: threading.Event) -> None:
        registry.away = False

    monkeypatch.setattr("streamkit.codec.wait", come_back)
    one = codec(registry, tmp_path, V1)
    one.preload(["said"], threading.Event())
    registry.away = True
    assert one.encode("said", {"text": "x"})


def test_a_start_that_waits_ends_when_it_shall_stop(tmp_path: Path) -> None:
    registry, stop = Registry(V1), threading.Event()
    registry.away = True
    stop.set()
    with pytest.raises(Stopped):
        codec(registry, tmp_path, V1).preload(["said"], stop)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_registry_with_trouble_is_waited_for(tmp_path: Path, status: int) -> None:
    registry = Registry(V1)
    registry.status = status
    with pytest.raises(Busy):
        codec(registry, tmp_path, V1).encode("said", {"text": "x"})


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_is_no_absent_one(tmp_path: Path, status: int) -> None:
    registry = Registry(V1)
    registry.status = status
    with pytest.raises(RegistryRefusesError, match=str(status)):
        codec(registry, tmp_path, V1).encode("said", {"text": "x"})


def test_what_one_registry_said_is_not_believed_of_another(tmp_path: Path) -> None:
    registries = {"http://a": Registry(V1, OTHER), "http://b": Registry(OTHER, V1)}

    def name_of_schema_1(place: str) -> str:
        transport = httpx.MockTransport(registries[place])
        http = httpx.Client(transport=transport, base_url=place)
        return str(SchemaIds(place, tmp_path, http).schema(1)["name"])

    assert [name_of_schema_1(place) for place in registries] == ["Said", "Seen"]
    for registry in registries.values():
        registry.away = True
    assert [name_of_schema_1(place) for place in registries] == ["Said", "Seen"]


def test_a_registry_that_was_made_anew_is_asked_before_memory(tmp_path: Path) -> None:
    registry = Registry(V1, OTHER)
    assert codec(registry, tmp_path, V1).decode("said", b"\x00\x00\x00\x00\x01\x02x")
    registry.schemas.reverse()
    with pytest.raises(Reject):
        codec(registry, tmp_path, V1).decode("said", b"\x00\x00\x00\x00\x01\x02x")
    assert codec(registry, tmp_path, V1).decode("said", b"\x00\x00\x00\x00\x02\x02x")
