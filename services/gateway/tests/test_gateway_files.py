"""Which files an import sees and how their names are shown."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.files import (
    Seen,
    UnreadableError,
    outermost,
    problem_of,
    read_file,
    shown,
    walk,
)
from streamkit import Busy


def paths(*roots: Path) -> list[str]:
    return [seen.path for seen in walk([str(root) for root in roots])]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """The lowest of more nested folders than Python nests calls."""
    folders = [tmp_path / "d"]
    while len(folders) < 1200:
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    yield folders[-1]
    # pytest's own clearing up recurses.
    for folder in reversed(folders):
        for file in folder.glob("*.jpg"):
            file.unlink()
        folder.rmdir()


def test_a_folder_deeper_than_the_recursion_limit_is_read_to_the_bottom(
    tmp_path: Path, deep: Path
) -> None:
    (deep / "photo.jpg").touch()
    assert paths(tmp_path) == [str(deep / "photo.jpg")]


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        (["/a/b", "/a", "/a/c.jpg"], ["/a"]),
        (["/a", "/a"], ["/a"]),
        (["/a", "/ab"], ["/a", "/ab"]),
        (["/", "/a"], ["/"]),
        (["/a", "/a/.hidden", "/a/.b/c"], ["/a", "/a/.hidden", "/a/.b/c"]),
        (["/.a", "/.a/b"], ["/.a"]),
    ],
)
def test_roots_within_others_are_no_roots_of_their_own(
    roots: list[str], expected: list[str]
) -> None:
    assert outermost(roots) == expected


def test_the_order_is_that_of_the_bytes_of_the_names(tmp_path: Path) -> None:
    for name in ("b", "a.b", "a/z", "B", "é"):
        file = tmp_path / f"{name}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.touch()

    found = [Path(one).relative_to(tmp_path).as_posix() for one in paths(tmp_path)]
    assert found == ["B.jpg", "a/z.jpg", "a.b.jpg", "b.jpg", "é.jpg"]


def test_a_root_that_is_not_there_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (seen,) = walk([str(tmp_path / "nowhere")])
    assert seen.problem is not None
    assert seen.problem.code == "file_missing"


def test_a_root_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "photo.jpg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    (seen,) = walk([str(tmp_path / "link")])
    assert seen.problem is not None
    assert seen.problem.code == "not_a_file"


def test_a_file_named_as_a_root_is_taken_even_if_it_is_hidden(tmp_path: Path) -> None:
    (tmp_path / ".hidden.jpg").touch()
    assert list(walk([str(tmp_path / ".hidden.jpg")])) == [Seen(str(tmp_path / ".hidden.jpg"))]


def test_shown_names_are_text_and_differ_where_the_names_differ() -> None:
    names = [b"caf\xe9", b"caf\\xe9", b"caf\\\\xe9", "café".encode(), b"\xff\xfe", b"plain"]
    as_shown = [shown(os.fsdecode(name)) for name in names]

    assert as_shown[0] == r"caf\xe9"
    assert as_shown[3] == "café"
    assert len(set(as_shown)) == len(names)
    for one in as_shown:
        one.encode("utf-8")


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(b"12345")

    assert read_file(str(photo), limit=5) == b"12345"
    with pytest.raises(UnreadableError, match="It has 5 bytes; the limit is 4"):
        read_file(str(photo), limit=4)


def test_a_file_that_lies_about_its_size_is_still_bounded() -> None:
    # Files of /proc say that they have 0 bytes.
    with pytest.raises(UnreadableError) as refused:
        read_file("/proc/self/status", limit=10)
    assert refused.value.problem.code == "file_too_large"


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError) as refused:
        read_file(str(tmp_path / "pipe"), limit=10)
    assert refused.value.problem.code == "not_a_file"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, "file_missing"),
        (errno.EACCES, "file_forbidden"),
        (errno.ELOOP, "not_a_file"),
        (errno.EIO, "file_unreadable"),
    ],
)
def test_errors_of_the_system_have_reasons_for_people(number: int, code: str) -> None:
    problem = problem_of(OSError(number, os.strerror(number)))
    assert problem.code == code
    assert problem.message.endswith(".")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE, errno.ETIMEDOUT])
def test_trouble_that_may_pass_refuses_no_file(number: int) -> None:
    with pytest.raises(Busy):
        problem_of(OSError(number, os.strerror(number)))
