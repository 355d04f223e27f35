"""Apache Kafka, one node in KRaft mode (broker and controller in one process)."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from darkroom_cli.infra.probes import require_listener
from darkroom_cli.paths import DataFolder
from darkroom_cli.supervision.spec import Kind, NotReadyError, Probe, ProcessSpec, WrongPeerError

# C1 only: ready in half the time on a small machine, and the broker's work is I/O.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}
# Topics are applied from schemas/topics.yaml; a misspelt name must fail.
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
num.partitions=1
# The broker's own topics, in sizes for one machine.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# A killed worker's partitions come back after 10 s instead of 45 (KIP-848: the broker decides).
group.consumer.min.session.timeout.ms=10000
group.consumer.session.timeout.ms=10000
group.consumer.min.heartbeat.interval.ms=2000
group.consumer.heartbeat.interval.ms=2000
group.min.session.timeout.ms=2000
group.initial.rebalance.delay.ms=0
# Threads for one machine's few clients; the defaults are for a server, and each polls.
num.network.threads=2
num.io.threads=4
group.coordinator.threads=1
# Small segments, so that retention and compaction have something to work on.
log.segment.bytes=67108864
log.retention.hours=336
log.cleaner.dedupe.buffer.size=16777216
"""


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """Where the broker's program and address are."""

    java: Path
    jars: Path
    logging: Path
    port: int
    controller_port: int


def formatted_cluster_id(data: DataFolder) -> str | None:
    """The cluster id that the data folder was formatted with; None before."""
    file = data.kafka / "meta.properties"
    if not file.is_file():
        return None
    pairs = (line.partition("=") for line in file.read_text().splitlines())
    return next((value.strip() for key, _, value in pairs if key.strip() == "cluster.id"), None)


def kafka_specs(data: DataFolder, place: KafkaPlace, cluster_id: str) -> tuple[ProcessSpec, ...]:
    """The broker, preceded by formatting where that has not happened."""
    formatted = formatted_cluster_id(data)
    broker = _broker(data, place, formatted or cluster_id)
    return (broker,) if formatted else (_format(data, place, cluster_id), broker)


def _settings_file(data: DataFolder) -> Path:
    return data.run / "kafka.properties"


def _write_settings(data: DataFolder, place: KafkaPlace) -> None:
    _settings_file(data).write_text(
        _SETTINGS.format(port=place.port, controller_port=place.controller_port, folder=data.kafka)
    )


def _java(place: KafkaPlace, *arguments: str) -> tuple[str, ...]:
    return (
        str(place.java),
        *_JVM,
        f"-Dlog4j2.configurationFile={place.logging}",
        "-cp",
        f"{place.jars}/*",
        *arguments,
    )


def _format(data: DataFolder, place: KafkaPlace, cluster_id: str) -> ProcessSpec:
    def prepare() -> None:
        shutil.rmtree(data.kafka, ignore_errors=True)  # what an interrupted one left
        data.kafka.mkdir()
        _write_settings(data, place)

    options = ("format", "-t", cluster_id, "-c", str(_settings_file(data)))
    return ProcessSpec(
        name="kafka-format",
        argv=_java(place, "kafka.tools.StorageTool", *options),
        kind=Kind.STEP,
        attempts=2,
        prepare=prepare,
    )


def _broker(data: DataFolder, place: KafkaPlace, cluster_id: str) -> ProcessSpec:
    return ProcessSpec(
        name="kafka",
        argv=_java(place, "kafka.Kafka", str(_settings_file(data))),
        after=("kafka-format",),
        port=place.port,
        prepare=lambda: _write_settings(data, place),
        probe=same_cluster(place.port, cluster_id),
    )


def same_cluster(port: int, cluster_id: str) -> Probe:
    """Ready when the broker that answers is ours; another one is refused.

    A broker that can't bind its port leaves clients talking to whoever holds it.
    """

    def probe() -> None:
        require_listener(port)
        # Named, because the answer is lost when the client is collected before it is there.
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        try:
            cluster = client.describe_cluster(request_timeout=3).result(timeout=4)
        except (KafkaException, TimeoutError) as error:
            raise NotReadyError("the broker does not answer yet") from error
        if cluster.cluster_id != cluster_id:
            raise WrongPeerError(
                f"another Kafka (cluster {cluster.cluster_id}) answers on 127.0.0.1:{port}; "
                f"this data folder's cluster is {cluster_id}"
            )

    return probe
