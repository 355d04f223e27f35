"""What doors tell Prometheus of the disks that they write to."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from gateway.api.app import build_api
from gateway.control.app import build_control
from gateway.disks import DISK_FREE, DISK_SIZE, watch_disks
from gateway.settings import Settings

USAGE = SimpleNamespace(total=100, used=91, free=9)


@pytest.fixture(autouse=True)
def no_places() -> None:
    DISK_FREE.clear()
    DISK_SIZE.clear()


def free(place: str) -> float | None:
    return REGISTRY.get_sample_value("darkroom_disk_free_bytes", {"place": place})


def size(place: str) -> float | None:
    return REGISTRY.get_sample_value("darkroom_disk_size_bytes", {"place": place})


def test_what_is_free_is_asked_each_time_and_a_store_without_a_folder_has_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_disks({"spool": tmp_path, "objects": None})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: USAGE)
    assert (free("spool"), size("spool")) == (9, 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=100, free=3))
    assert free("spool") == 3
    assert free("objects") is None


def test_a_folder_that_is_not_there_yet_has_the_disk_on_which_it_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", {tmp_path: USAGE}.__getitem__)
    watch_disks({"spool": tmp_path / "none" / "spool"})
    assert (free("spool"), size("spool")) == (9, 100)


def test_a_disk_that_does_not_answer_is_full_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", fails)
    watch_disks({"objects": tmp_path})
    with capture_logs() as said:
        assert (free("objects"), size("objects")) == (0, 1)
    assert said[0]["event"] == "disk_unknown"
    assert "Input/output error" in said[0]["reason"]


def test_each_door_tells_of_the_disks_that_it_writes_to(tmp_path: Path) -> None:
    settings = Settings(objects=f"file://{tmp_path}", spool=tmp_path / "spool")
    build_control(settings, MagicMock(), MagicMock())
    assert (free("objects") is None, free("spool") is None) == (False, True)
    build_api(settings, MagicMock())
    assert free("spool") is not None
