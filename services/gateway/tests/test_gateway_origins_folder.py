"""Which files an import sees and how their names are shown."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.origins import OriginMeans, open_origin
from gateway.origins.files import (
    Seen,
    UnreadableError,
    problem_of,
    read_file,
    shown,
    version_of,
    walk,
)
from gateway.origins.patterns import Rule, rule_of
from streamkit import Busy, ObjectStore


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


def at(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [str(folder / name) for name in names]


def rule(**location: object) -> Rule:
    return rule_of(location)


@pytest.mark.parametrize(
    "roots",
    [
        ["a/b", "a", "a/c.jpg"],
        ["a", "a/b"],
        ["a", "a/c.jpg"],
        ["a/c.jpg", "a"],
        ["a", "a"],
    ],
)
def test_what_several_roots_reach_comes_once(tmp_path: Path, roots: list[str]) -> None:
    everything = at(tmp_path, "a/b/d.jpg", "a/c.jpg")
    found = paths(*(tmp_path / root for root in roots))
    assert sorted(found) == everything


@pytest.mark.parametrize("nested", ["a/.b", "a/raw"])
def test_a_root_that_another_ones_walk_passes_over_is_read(tmp_path: Path, nested: str) -> None:
    outer, inner = at(tmp_path, "a/x.jpg", f"{nested}/y.jpg")
    roots = [str(tmp_path / "a"), str(tmp_path / nested)]
    found = [seen.path for seen in walk(roots, rule(exclude=["raw/"]))]
    assert found == [outer, inner]


def test_a_root_in_a_folder_that_can_be_entered_but_not_listed_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photo,) = at(tmp_path, "a/closed/b/x.jpg")
    listing = os.scandir

    def scandir(folder: str) -> Any:
        if folder.endswith("/closed"):
            raise PermissionError(errno.EACCES, "no")
        return listing(folder)

    monkeypatch.setattr(os, "scandir", scandir)  # root, who may run this, may list everything
    closed = tmp_path / "a" / "closed"
    found = walk([str(tmp_path / "a"), str(closed), str(closed / "b")])
    assert [(one.path, one.problem and one.problem.code) for one in found] == [
        (str(closed), "file_forbidden"),
        (photo, None),
    ]


def test_patterns_are_about_paths_below_the_root(tmp_path: Path) -> None:
    at(tmp_path, "2024/a.JPG", "2024/raw/b.jpg", "2024/c.png", "d.jpg", "raw.jpg")
    found = walk([str(tmp_path)], rule(include=["*.jpg"], exclude=["**/raw/**"]))
    names = [Path(one.path).relative_to(tmp_path).as_posix() for one in found]
    assert names == ["2024/a.JPG", "d.jpg", "raw.jpg"]


def test_an_excluded_folder_is_not_even_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(tmp_path, "raw/x.jpg", "a.jpg")
    listed: list[str] = []
    listing = os.scandir

    def scandir(folder: str) -> Any:
        listed.append(folder)
        return listing(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(list(walk([str(tmp_path)], rule(exclude=["raw"])))) == 1
    assert listed == [str(tmp_path)]


def test_hidden_names_come_only_if_they_are_wanted(tmp_path: Path) -> None:
    at(tmp_path, ".a.jpg", ".b/c.jpg", "d.jpg")
    assert paths(tmp_path) == [str(tmp_path / "d.jpg")]
    assert len(list(walk([str(tmp_path)], rule(hidden=True)))) == 3


def test_links_are_not_followed_even_if_hidden_names_are_wanted(tmp_path: Path) -> None:
    (outside,) = at(tmp_path, "outside/x.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file.jpg").symlink_to(outside)
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "outside")
    assert list(walk([str(tmp_path / "in")], rule(hidden=True))) == []


def test_a_file_named_as_a_root_is_under_the_patterns_by_its_name(tmp_path: Path) -> None:
    (photo,) = at(tmp_path, "a.jpg")
    assert list(walk([photo], rule(include=["*.png"]))) == []
    assert list(walk([photo], rule(include=["a.*"]))) == [Seen(photo)]


def test_a_version_changes_with_the_file(tmp_path: Path) -> None:
    (photo,) = at(tmp_path, "a.jpg")
    before = version_of(photo)
    assert version_of(photo) == before
    Path(photo).write_bytes(b"x")
    assert version_of(photo) != before
    with pytest.raises(UnreadableError):
        version_of(f"{photo}.gone")


def test_the_origin_counts_what_it_walks_and_reads_it(tmp_path: Path) -> None:
    (photo,) = at(tmp_path, "a.jpg")
    Path(photo).write_bytes(b"12345")
    origin = open_origin("folder", [str(tmp_path)], {}, OriginMeans(ObjectStore("memory:///")))
    assert [seen.path for seen in origin.walk()] == [photo]
    assert list(origin.count()) == list(origin.walk())
    assert origin.read(photo, 5) == b"12345"
    origin.close()


def test_a_kind_that_is_not_walked_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="upload is not walked"):
        open_origin("upload", [], {}, OriginMeans(ObjectStore("memory:///")))


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
