"""Apicurio Registry: Confluent's API, schemas kept in Kafka."""

from pathlib import Path

from darkroom_cli.infra.probes import http_ok
from darkroom_cli.supervision.spec import ProcessSpec

_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_API = "/apis/ccompat/v7"


def registry_url(port: int) -> str:
    """The Confluent-compatible API."""
    return f"http://127.0.0.1:{port}{_API}"


def registry_spec(
    java: Path, folder: Path, kafka_port: int, port: int, management_port: int
) -> ProcessSpec:
    """Both its doors on the loopback interface.

    The poll timeout (default 5 s) is waited out twice at every start.
    """
    return ProcessSpec(
        name="registry",
        argv=(str(java), *_JVM, "-jar", str(folder / "quarkus-run.jar")),
        after=("kafka",),
        port=port,
        env={
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka_port}",
            "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": "200",
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(management_port),
        },
        probe=http_ok(port, f"{_API}/subjects"),
    )
