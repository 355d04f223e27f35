"""Logs of bounded size, and reading them while they grow."""

import errno
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darkroom_cli.supervision.logfile import LogFile
from darkroom_cli.supervision.logreader import Follower, last_lines, merged


def at(second: int) -> datetime:
    return datetime(2026, 1, 2, 3, 4, second, 5000, tzinfo=UTC)


def test_a_line_carries_its_time_and_the_programs_name(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "ocr.log", now=lambda: at(5))
    log.feed(b"hello\r\nwor")
    log.feed(b"ld\nunfinished")
    log.close()
    assert (tmp_path / "ocr.log").read_text().splitlines() == [
        "2026-01-02T03:04:05.005Z ocr | hello",
        "2026-01-02T03:04:05.005Z ocr | world",
        "2026-01-02T03:04:05.005Z ocr | unfinished",
    ]


def test_a_log_never_takes_more_than_its_limit_times_its_copies(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", limit=1000, copies=3)
    for number in range(500):
        log.feed(b"line %d\n" % number)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["a.log", "a.log.1", "a.log.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert last_lines(tmp_path / "a.log", 1)[0].endswith("| line 499")


class FullFile(io.FileIO):
    """Takes as many bytes as there is room for."""

    room = 0

    def write(self, data: Any) -> int:
        taken = super().write(bytes(data)[: self.room])
        self.room -= taken
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return taken


def test_lines_for_which_there_is_no_room_are_dropped_and_counted(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", now=lambda: at(5))
    log.feed(b"before\n")
    full = FullFile(tmp_path / "a.log", "ab")
    log._file, roomy = full, log._file
    full.room = 12  # of a line and a half
    log.feed(b"lost\nlost\nlost\n")
    log._file = roomy
    log.feed(b"after\n")
    log.close()
    said = [line.partition(" | ")[2] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert said == ["before", "[3 lines are missing: the disk was full]", "after"]


def test_a_line_without_end_does_not_grow_in_memory(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    for _ in range(4):
        log.feed(b"x" * 65536)
    assert (tmp_path / "a.log").stat().st_size >= 3 * 65536
    log.close()


def test_the_last_lines_are_found_however_long_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("".join(f"{number} {'y' * 50_000}\n" for number in range(10)))
    assert [line.split()[0] for line in last_lines(file, 3)] == ["7", "8", "9"]
    assert last_lines(file, 0) == []
    assert last_lines(tmp_path / "none.log", 3) == []


def test_several_logs_are_merged_by_time(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("2026-01-01T00:00:01 a\n2026-01-01T00:00:03 a\n")
    (tmp_path / "b.log").write_text("2026-01-01T00:00:02 b\n")
    lines = merged([tmp_path / "a.log", tmp_path / "b.log"], 2)
    assert lines == ["2026-01-01T00:00:02 b", "2026-01-01T00:00:03 a"]


def test_following_a_log_misses_nothing_when_it_rotates(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", limit=200)
    log.feed(b"before\n")
    follower = Follower(tmp_path / "a.log")
    log.feed(b"one\ntwo\n")
    seen = follower.new_lines()
    for number in range(4):
        log.feed(b"%d %s\n" % (number, b"z" * 40))
        log.feed(b"half")
        seen += follower.new_lines()
        log.feed(b" whole\n")
    seen += follower.new_lines()
    log.close()
    words = [line.split("| ")[1].split()[0] for line in seen]
    assert words == ["one", "two", "0", "half", "1", "half", "2", "half", "3", "half"]
