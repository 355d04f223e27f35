"""A broker that wants a login: as docker-compose.yml sets it, and with TLS besides."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from compose import composed, kafka_properties, secrets
from darkroom_cli.contracts import Topics
from darkroom_cli.provision import provide
from darkroom_schemas import catalogue
from gateway.api.kafka_version import kafka_version
from streamkit import Codec, Publisher, RawRecord, TopicSettings
from streamkit.faust.app import credentials
from streamkit.inbox import InboxError
from streamkit.kafka.follower import Follower
from streamkit.kafka.log import KafkaLog
from worker_process import until

pytestmark = pytest.mark.timeout(180)

TOPIC: Final = "ops.control.v1"
PASSWORD: Final = "a-scram-password"  # noqa: S105 - of a broker that is gone in a minute
WAYS: Final = ("as in compose", "by SCRAM over TLS")


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker and how to get in: settings, by the way; and what compose's services are told."""

    settings: Mapping[str, TopicSettings]
    services: Mapping[str, Any]


def free_ports(count: int) -> list[int]:
    with ExitStack() as ends:
        servers = [ends.enter_context(socket.socket()) for _ in range(count)]
        for server in servers:
            server.bind(("127.0.0.1", 0))
        return [int(server.getsockname()[1]) for server in servers]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    services = composed(secrets(folder))["services"]
    plain, secure, controller = free_ports(3)
    certificate, key = self_signed(folder)
    told = kafka_properties(services["kafka"]["environment"]) | {
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"CLIENTS://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{plain},SECURE://127.0.0.1:{secure}",
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,SECURE:SASL_SSL,"
        "CONTROLLER:PLAINTEXT",
        "log.dirs": str(folder / "log"),
        "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security."
        "scram.ScramLoginModule required;",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": str(folder / "keystore.pem"),
    }
    (folder / "keystore.pem").write_bytes(key + certificate)
    (folder / "ca.pem").write_bytes(certificate)
    file = folder / "server.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in told.items()), encoding="utf-8")
    cluster = services["kafka"]["environment"]["CLUSTER_ID"]
    scram = f"SCRAM-SHA-512=[name=darkroom,password={PASSWORD}]"
    java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file), "-S", scram).wait(120)
    service = services["ocr"]["environment"]
    ways = {
        WAYS[0]: TopicSettings(
            kafka=f"127.0.0.1:{plain}",
            kafka_security=service["DARKROOM_KAFKA_SECURITY"],
            kafka_mechanism=service["DARKROOM_KAFKA_MECHANISM"],
            kafka_user=service["DARKROOM_KAFKA_USER"],
            kafka_password=service["DARKROOM_KAFKA_PASSWORD"],
        ),
        WAYS[1]: TopicSettings(
            kafka=f"127.0.0.1:{secure}",
            kafka_security="sasl_ssl",
            kafka_user="darkroom",
            kafka_password=PASSWORD,
            kafka_ca=folder / "ca.pem",
        ),
    }
    with ExitStack() as ends:
        process = java("kafka.Kafka", str(file))
        ends.callback(process.wait)
        ends.callback(process.kill)
        until(lambda: process.poll() is not None or _listens(secure), "the broker listens")
        assert process.poll() is None
        yield Broker(ways, services)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def java(*arguments: str) -> "subprocess.Popen[bytes]":
    tools = provide(lambda _: None)
    options = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
    logging = f"-Dlog4j2.configurationFile={tools.kafka_logging}"
    return subprocess.Popen(
        (tools.java, *options, logging, "-cp", f"{tools.kafka_jars}/*", *arguments),
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
    )


def self_signed(folder: Path) -> tuple[bytes, bytes]:
    """Certificate and key of a server on the loopback, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def declared(settings: TopicSettings, options: Mapping[str, str], prefix: str) -> Topics:
    """One topic of the catalogue."""
    one: Any = [catalogue.load()[TOPIC]]
    return Topics(settings.kafka, one, prefix, replication=1, options=options)


@pytest.mark.parametrize("way", WAYS)
def test_every_client_gets_in(broker: Broker, way: str, codec: Codec) -> None:
    settings = broker.settings[way]
    options = settings.kafka_options
    prefix = f"{WAYS.index(way)}."
    (made,) = declared(settings, options, prefix).apply()
    assert made.state == "created"

    publisher = Publisher(
        settings.kafka, source="test", codec=codec, prefix=prefix, options=options
    )
    publisher.publish_raw([RawRecord(TOPIC, b"ocr", b"value", [])])
    publisher.close()

    log = KafkaLog(settings.kafka, prefix=prefix, options=options)
    assert [record.value for record in log.records(TOPIC)] == [b"value"]

    told: list[bytes | None] = []
    follower = Follower(
        settings.kafka,
        prefix + TOPIC,
        lambda _key, value: told.append(value),
        name="test",
        options=options,
    )
    assert follower.start(30)
    follower.close()
    assert told == [b"value"]

    assert asyncio.run(read_as_faust(settings, prefix + TOPIC)) == b"value"
    assert asyncio.run(kafka_version(settings.kafka, settings.kafka_tls())) == "4.4"


async def read_as_faust(settings: TopicSettings, topic: str) -> bytes | None:
    """The first record, by the driver's own words for our settings."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka,
        auto_offset_reset="earliest",
        **credentials_to_aiokafka_auth(credentials(settings)),
    )
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 30)
        return bytes(record.value)
    finally:
        await consumer.stop()


def test_the_registry_of_compose_gets_in_and_says_when(broker: Broker, tmp_path: Path) -> None:
    told = broker.services["registry"]
    port, management = free_ports(2)
    places = {
        "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": broker.settings[WAYS[0]].kafka,
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": str(management),
    }
    _, *check = told["healthcheck"]["test"]
    asks = [word.replace("/9000", f"/{management}") for word in check]
    tools = provide(lambda _: None)
    options = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
    with ExitStack() as ends, (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            (tools.java, *options, "-jar", tools.registry / "quarkus-run.jar"),
            env={"PATH": os.defpath, **told["environment"], **places},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        ends.callback(process.wait)
        ends.callback(process.kill)
        until(lambda: process.poll() is not None or _listens(management), "the registry listens")
        until(
            lambda: (
                process.poll() is not None
                or subprocess.run(asks, check=False, capture_output=True).returncode == 0
            ),
            "the registry is ready",
        )
        answer = httpx.get(f"http://127.0.0.1:{port}/apis/ccompat/v7/subjects", timeout=20)
        assert answer.json() == []


def test_who_has_a_wrong_password_does_not_get_in(broker: Broker) -> None:
    settings = broker.settings[WAYS[0]]
    wrong = {**settings.kafka_options, "sasl.password": "wrong"}
    with pytest.raises(InboxError, match="no answer from Kafka"):
        KafkaLog(settings.kafka, timeout_s=2, options=wrong).has(TOPIC)
