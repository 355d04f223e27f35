"""Large uploads on their way over the disk."""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.api.problems import ProblemError
from gateway.api.spool import KEPT_FREE, MOST_AT_ONCE, Spool


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_body_is_a_file_as_long_as_it_is_needed(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    chunks = [os.urandom(700_000) for _ in range(5)]
    async with Spool().take(body(*chunks), folder, 0) as file:
        assert file.read_bytes() == b"".join(chunks)
        (folder / "kept").hardlink_to(file)
    assert left(folder) == ["kept"]


async def test_nothing_is_left_of_a_body_that_breaks_off(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        async with Spool().take(broken(), tmp_path, 0):
            pytest.fail("there is no whole body")
    assert left(tmp_path) == []


async def test_what_a_killed_door_left_is_swept_away_and_what_another_one_writes_is_not(
    tmp_path: Path,
) -> None:
    left, written = tmp_path / "upload-left", tmp_path / "upload-written"
    left.touch()
    with written.open("xb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        async with Spool().take(body(), tmp_path, 0):
            assert not left.exists()
            assert written.exists()


def room(monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
    """Free bytes, question by question; the last answer stays."""
    answers = list(free)

    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=answers.pop(0) if len(answers) > 1 else answers[0])

    monkeypatch.setattr(shutil, "disk_usage", usage)


@pytest.mark.parametrize("free", [[KEPT_FREE + 99], [KEPT_FREE + 100, KEPT_FREE]])
async def test_a_disk_is_never_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[int]
) -> None:
    room(monkeypatch, *free)
    with pytest.raises(ProblemError) as refused:
        async with Spool().take(body(b"x" * 2_000_000), tmp_path, 100):
            pytest.fail("there is no room")
    assert (refused.value.status_code, refused.value.code) == (507, "disk_full")
    assert left(tmp_path) == []


async def test_no_more_come_than_the_disk_may_take(tmp_path: Path) -> None:
    spool = Spool()
    release = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await release.wait()

    async def one() -> None:
        async with spool.take(slow(), tmp_path, 0):
            pass

    coming = [asyncio.create_task(one()) for _ in range(MOST_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError, match="Too many archives") as refused:
        async with spool.take(body(), tmp_path, 0):
            pytest.fail("there is no room")
    assert refused.value.code == "too_many_uploads"
    release.set()
    await asyncio.gather(*coming)
    async with spool.take(body(b"again"), tmp_path, 0) as file:
        assert file.read_bytes() == b"again"
