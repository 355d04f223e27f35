"""The whole system with its real engines, as `./darkroom up` runs it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from darkroom_cli.sample import SampleManifest, make_sample
from darkroom_cli.stack import Stack


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("data"), extras=("prometheus",)) as stack:
        yield stack


@pytest.fixture(scope="session")
def api(system: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.addresses["api"], timeout=90) as client:
        yield client


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleManifest:
    return make_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def photo(sample: SampleManifest) -> Path:
    """A photo of a cat."""
    return sample.folder / "chelsea-the-cat.jpg"
