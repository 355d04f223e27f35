"""Free loopback ports that stay the same from start to start."""

import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

from darkroom_cli.errors import StackError

# Below the ranges from which Linux (32768 up) and macOS (49152 up) take outgoing ports: a port
# must not be lost to a client while its server is being restarted.
_RANGE = range(18_000, 30_000)
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on that loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def claim(file: Path, names: Sequence[str], preferred: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name, remembered in `file`, and ours as long as this process lives: no
    other one that claims ports gets them, though nobody listens yet.

    A remembered port is kept while it is free, then the preferred one is tried, then any.
    Raises StackError when no port is free.
    """
    remembered = _read(file)
    chosen: dict[str, int] = {}
    for name in names:
        candidates = [remembered.get(name), preferred.get(name)]
        taken = set(chosen.values()) | (set(remembered.values()) - set(candidates))
        wanted = [port for port in candidates if port and port not in chosen.values()]
        chosen[name] = next((port for port in wanted if _take(port)), 0) or any_port(taken)
    file.write_text(json.dumps({**remembered, **chosen}, indent=1))
    return chosen


def _take(port: int) -> bool:
    """Whether a server could listen there and no other process has claimed it."""
    if not is_free(port):
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


@cache
def _claims() -> int:
    """A file of the user's, of which processes lock the byte of each port that they claim. It is
    never closed: with it would go the locks."""
    name = f"darkroom-ports-{os.getuid()}"
    return os.open(
        Path(tempfile.gettempdir()) / name, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600
    )


def _read(file: Path) -> dict[str, int]:
    try:
        return {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
    except (FileNotFoundError, ValueError):
        return {}


def any_port(taken: Collection[int] = ()) -> int:
    """A free port that is none of these, ours as long as this process lives. Raises StackError."""
    for _ in range(_TRIES):
        port = random.choice(_RANGE)  # noqa: S311 - a port is no secret
        if port not in taken and _take(port):
            return port
    raise StackError(
        f"No free loopback port between {_RANGE.start} and {_RANGE.stop}.",
        "Stop programs that hold them.",
    )
