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
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ALLOW_HTTP", "true")
            patch.setenv("AWS_ACCESS_KEY_ID", "ada")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            patch.setenv("AWS_REGION", "us-east-1")
            yield s3_backends[_MOTOS_ACCOUNT]["aws"]
    finally:
        server.stop()


def bucket_for(s3: S3Backend, test: str) -> str:
    """A bucket of a test's own, by the test's name."""
    name = test.replace("_", "-")[-60:].strip("-")
    s3.create_bucket(name, "us-east-1")
    return name
