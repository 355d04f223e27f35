"""What workers are harmed on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom_cli.stack import Stack
from worker_world import Places, World


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker, a registry and a Redis that the tests may kill."""
    wanted = ("redis", "kafka", "registry")
    with Stack(tmp_path_factory.mktemp("stack"), services=(), infrastructure=wanted) as stack:
        yield stack


@pytest.fixture
def world(stack: Stack, tmp_path: Path) -> Iterator[World]:
    places = Places(*(stack.address(name) for name in ("kafka", "registry", "redis")))
    world = World(places, tmp_path, partitions=6)
    yield world
    world.close()
