"""The local stack's real programs: Kafka, the registry, PostgreSQL and Redis."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from redis import Redis

from darkroom_cli.errors import StackError
from darkroom_cli.infra.kafka import formatted_cluster_id, same_cluster
from darkroom_cli.infra.ports import is_free
from darkroom_cli.stack import INFRASTRUCTURE, Stack
from darkroom_cli.supervision.identity import birth_of
from darkroom_cli.supervision.spec import WrongPeerError

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]

SCHEMA = {"schema": '{"type": "record", "name": "Kept", "fields": []}'}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The infrastructure below a folder that only root or its owner may enter."""
    private = tmp_path_factory.mktemp("private")
    private.chmod(0o700)
    with Stack(private / "data", ()) as running:
        yield running


def produce(stack: Stack, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": stack.addresses["kafka"]})
    outcomes: list[object] = []
    producer.produce(topic, value, callback=lambda error, _: outcomes.append(error))
    assert producer.flush(20) == 0
    assert outcomes == [None]


def consume_one(stack: Stack, topic: str, group: str) -> bytes:
    consumer = Consumer(
        {
            "bootstrap.servers": stack.addresses["kafka"],
            "log_level": 0,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        record = consumer.poll(30)
        assert record is not None
        assert record.error() is None
        value = record.value()
        assert isinstance(value, bytes)
        return value
    finally:
        consumer.close()


def create_topic(stack: Stack, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.addresses["kafka"]})
    admin.create_topics([NewTopic(topic, num_partitions=1)])[topic].result(20)


def register(stack: Stack, subject: str) -> int:
    url = f"{stack.addresses['registry']}/subjects/{subject}/versions"
    return int(httpx.post(url, json=SCHEMA, timeout=20).raise_for_status().json()["id"])


def registered(stack: Stack, schema_id: int) -> str:
    url = f"{stack.addresses['registry']}/schemas/ids/{schema_id}"
    return str(httpx.get(url, timeout=20).raise_for_status().json()["schema"])


def test_the_broker_is_the_one_that_was_formatted_here_and_another_is_refused(
    stack: Stack,
) -> None:
    cluster_id = formatted_cluster_id(stack.data)
    assert cluster_id is not None
    port = int(stack.addresses["kafka"].rpartition(":")[2])
    same_cluster(port, cluster_id)()
    with pytest.raises(WrongPeerError, match="another Kafka"):
        same_cluster(port, "AAAAAAAAAAAAAAAAAAAAAA")()


def test_a_record_goes_through_the_broker(stack: Stack) -> None:
    create_topic(stack, "there-and-back")
    produce(stack, "there-and-back", b"hello")
    assert consume_one(stack, "there-and-back", "reader") == b"hello"


def test_the_database_compares_vectors_and_folds_letters_of_all_scripts(stack: Stack) -> None:
    with psycopg.connect(stack.addresses["database"]) as connection:
        row = connection.execute("SELECT '[1,2]'::vector <-> '[1,5]', lower('ÄΩ')").fetchone()
    assert row == (3.0, "äω")


def test_the_database_wants_its_password(stack: Stack) -> None:
    place = urlsplit(stack.addresses["database"])
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=place.hostname, port=place.port, user="darkroom", dbname="darkroom")


def test_redis_answers(stack: Stack) -> None:
    with Redis.from_url(stack.addresses["redis"]) as redis:
        assert redis.ping()


def test_everything_listens_on_the_loopback_interface_only(stack: Stack) -> None:
    ports = json.loads((stack.data.run / "ports.json").read_text()).values()
    wanted = {f"{port:04X}" for port in ports}
    listening = [
        line.split()[1].split(":")
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"  # TCP_LISTEN
    ]
    # 127.0.0.1, as itself and as an IPv6 socket shows it
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {address for address, port in listening if port in wanted} <= loopback


def test_a_second_supervisor_is_refused_while_one_runs(stack: Stack) -> None:
    with pytest.raises(StackError, match="already up"):
        Stack(stack.data.root, ()).start()
    assert stack.running


def test_a_killed_broker_comes_back_with_its_records(stack: Stack) -> None:
    create_topic(stack, "survives")
    produce(stack, "survives", b"kept")
    before = stack.pid("kafka")
    os.kill(before, signal.SIGKILL)
    stack.wait_until(lambda s: s.process("kafka").restarts > 0 and s.all_ready, 60, "kafka is back")
    assert stack.pid("kafka") != before
    assert consume_one(stack, "survives", "after-the-kill") == b"kept"


def test_a_stop_leaves_nothing_running_and_the_next_start_finds_everything(stack: Stack) -> None:
    create_topic(stack, "stays")
    produce(stack, "stays", b"here")
    schema_id = register(stack, "stays-value")
    with psycopg.connect(stack.addresses["database"]) as connection:
        connection.execute("CREATE TABLE stays AS SELECT 42 AS answer")
    pids, addresses = stack.pids(), stack.addresses
    assert set(pids) == {*INFRASTRUCTURE, "supervisor"}

    stack.stop()
    assert not stack.running
    assert [name for name, pid in pids.items() if birth_of(pid) is not None] == []
    ports = json.loads((stack.data.run / "ports.json").read_text()).values()
    assert [port for port in ports if not is_free(port)] == []

    stack.start()
    assert stack.addresses == addresses
    assert consume_one(stack, "stays", "second-life") == b"here"
    assert "Kept" in registered(stack, schema_id)
    with psycopg.connect(stack.addresses["database"]) as connection:
        assert connection.execute("SELECT answer FROM stays").fetchone() == (42,)
