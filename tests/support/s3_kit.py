"""An S3 on the loopback, spoken by moto."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.s3.models import S3Backend, s3_backends
from moto.server import ThreadedMotoServer

_MOTOS_ACCOUNT = "123456789012"


@contextmanager
def loopback_s3() -> Iterator[S3Backend]:
    """What it holds. While it serves, the environment names its address and credentials."""
    with served_s3() as (host, port), pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(host, port).items():
            patch.setenv(name, value)
        yield s3_backends[_MOTOS_ACCOUNT]["aws"]


@contextmanager
def served_s3() -> Iterator[tuple[str, int]]:
    """Where it listens."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


def s3_environment(host: str, port: int) -> dict[str, str]:
    """Settings by which clients find it, and may use it."""
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "ada",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }


def bucket_for(s3: S3Backend, test: str) -> str:
    """A bucket of a test's own, by the test's name."""
    name = test.replace("_", "-")[-60:].strip("-")
    s3.create_bucket(name, "us-east-1")
    return name
