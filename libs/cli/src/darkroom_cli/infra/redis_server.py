"""Redis: rate limits, locks and fan-out. Keeps nothing on disk."""

import os
import socket
from pathlib import Path

from darkroom_cli.paths import DataFolder
from darkroom_cli.supervision.spec import NotReadyError, Probe, ProcessSpec

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
save ""
appendonly no
daemonize no
maxmemory 256mb
maxmemory-policy volatile-ttl
"""


def redis_spec(data: DataFolder, program: str, port: int, password: str) -> ProcessSpec:
    """Loopback only, with a password that stands in a file of its owner, not in argv."""
    file = data.run / "redis.conf"
    return ProcessSpec(
        name="redis",
        argv=(program, str(file)),
        port=port,
        prepare=lambda: _write(file, data.redis, port, password),
        probe=_ping(port, password),
    )


def _write(file: Path, folder: Path, port: int, password: str) -> None:
    quoted = '"' + str(folder).replace("\\", "\\\\").replace('"', '\\"') + '"'
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(_CONFIGURATION.format(port=port, folder=quoted, password=password))


def _ping(port: int, password: str) -> Probe:
    def probe() -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), 2.0) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(256)):
                    answer += part
        except OSError as error:
            raise NotReadyError(f"nothing listens on 127.0.0.1:{port}") from error
        if answer != b"+OK\r\n+PONG\r\n":
            raise NotReadyError(f"redis answers {answer.decode(errors='replace').strip()}")

    return probe
