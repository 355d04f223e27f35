"""The rules of the api door that need no server: headers, origins, cursors, names, roots."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.api.cursors import decode_index, decode_place, encode_index, encode_place
from gateway.api.guard import host_allowed, origin_allowed
from gateway.api.kafka_version import parse, release_of, request
from gateway.api.media import disposition
from gateway.api.prefer import wait_of
from gateway.api.problems import ProblemError
from gateway.api.roots import allowed_roots, resolve
from gateway.api.uploads import shown_name
from gateway.catalog.read import Place
from gateway.catalog.read_batches import batch_shown
from gateway.catalog.read_failures import Failing

PLACE = Place(datetime(2026, 11, 24, 10, 0, 0, 123456, UTC), UUID(int=7))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=5"], 5),
        (["Wait = 5"], 5),
        (['respond-async, wait="10"'], 10),
        (["respond-async;foo=bar", "wait=7; x=y"], 7),
        (["wait=3, wait=30"], 3),
        (["wait=0"], 0),
        (["wait=9999"], 60),
        (["wait=-1"], None),
        (["wait=soon"], None),
        (["wait"], None),
        ([",,;=\x00, wait=4"], 4),
        (['note="wait=9, yes", handling=lenient'], None),
    ],
)
def test_the_wait_preference_is_read_as_rfc_7240_says(
    headers: list[str], seconds: int | None
) -> None:
    assert wait_of(headers) == seconds


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8080", True),
        ("LOCALHOST", True),
        ("[::1]:8080", True),
        ("photos.home:8080", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:8080", False),
        ("localhost:8080:evil", False),
        ("", False),
    ],
)
def test_only_names_of_ours_are_answered(host: str, *, allowed: bool) -> None:
    assert host_allowed(host, ("localhost", "127.0.0.1", "[::1]", "photos.home")) is allowed


def test_a_star_admits_every_host() -> None:
    assert host_allowed("anything.example", ("*",))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:8080", True),
        ("https://127.0.0.1:8080", True),
        ("http://127.0.0.1:3000", False),
        ("http://localhost:8080", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
        ("http://[", False),
        (f"http://127.0.0.1:{'8' * 5000}", False),
    ],
)
def test_another_origin_may_change_nothing(origin: str | None, *, allowed: bool) -> None:
    assert origin_allowed(origin, "127.0.0.1:8080") is allowed


def test_default_ports_need_not_be_named() -> None:
    assert origin_allowed("https://photos.home", "photos.home:443")
    assert origin_allowed("http://photos.home:80", "photos.home")


def test_a_cursor_leads_back_to_its_place() -> None:
    assert decode_place(encode_place(PLACE)) == PLACE
    assert decode_index(encode_index(41)) == 41


def test_no_cursor_is_the_beginning() -> None:
    assert decode_place(None) is None
    assert decode_index(None) == -1
    assert encode_place(None) is None
    assert encode_index(None) is None


@pytest.mark.parametrize("cursor", ["x", "ä", "e30", "WzFd", "bnVsbA", "WyJhIiwiYiJd", "////"])
def test_a_foreign_cursor_of_photos_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError) as caught:
        decode_place(cursor)
    assert (caught.value.status_code, caught.value.code) == (422, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["x", "WyJhIl0", "Wy0xXQ", "W3RydWVd", "WzEsMl0"])
def test_a_foreign_cursor_of_files_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError, match="next"):
        decode_index(cursor)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, None),
        ("cat.jpg", "cat.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("a\u202e\nb.jpg", "ab.jpg"),
        ("/", None),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_file_name_is_made_fit_to_show(given: str | None, shown: str | None) -> None:
    assert shown_name(given) == shown


def test_bytes_that_are_no_picture_are_only_downloaded() -> None:
    name = 'tö"rn\r\n.jpg'
    assert disposition(name, "original", "application/octet-stream").startswith("attachment;")
    told = disposition(name, "original", "image/jpeg")
    assert told == "inline; filename*=UTF-8''t%C3%B6%22rn%0D%0A.jpg"
    assert disposition(name, "thumbnail", "image/jpeg") == "inline"


def test_roots_come_from_the_settings_and_from_the_file(tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    named = tmp_path / "named"
    file = tmp_path / "roots"
    file.write_text(f'"{named}"\n"relative/path"\n\n', encoding="utf-8")
    assert allowed_roots([listed], file) == [listed, named]
    assert allowed_roots([], tmp_path / "absent") == []


def test_a_line_of_the_roots_file_is_one_folder_whatever_its_name(tmp_path: Path) -> None:
    """The file's text stands in the tests of the program that writes it, too."""
    file = tmp_path / "roots"
    file.write_bytes(b'"/photos"\n"/pics\\n/etc"\n"/a\\u2028/b"\n"/caf\\u00e9 \\"x\\""\n')
    assert allowed_roots([], file) == [
        Path("/photos"),
        Path("/pics\n/etc"),
        Path("/a\u2028/b"),
        Path('/café "x"'),
    ]


def test_bad_lines_of_the_roots_file_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "roots"
    bad = [b"/etc", b"[" * 100_000, b'"/caf\xe9"', b'"/\\ud800"', b'"/a\\u0000"', b"7", b'"/etc']
    file.write_bytes(b"\n".join([b'"/photos"', *bad, b'"/more"']))
    assert allowed_roots([], file) == [Path("/photos"), Path("/more")]


def test_paths_that_are_no_text_are_refused(tmp_path: Path) -> None:
    nameless = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    nameless.mkdir()
    (tmp_path / "link").symlink_to(nameless)
    for path in ("/\ud800", str(nameless), str(tmp_path / "link")):
        with pytest.raises(ProblemError) as caught:
            resolve(path, [tmp_path])
        assert (caught.value.status_code, caught.value.code) == (422, "path_unreadable")
        caught.value.detail.encode()


def test_a_path_outside_the_roots_is_refused_with_the_cure(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "way-out").symlink_to(tmp_path)
    assert resolve(str(inside), [inside]) == str(inside)
    for path in (tmp_path, tmp_path / "absent", inside / ".." / "x", inside / "way-out"):
        with pytest.raises(ProblemError, match="darkroom import") as caught:
            resolve(str(path), [inside])
        assert caught.value.status_code == 403


def test_paths_must_be_absolute_and_exist(tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as relative:
        resolve("photos", [tmp_path])
    with pytest.raises(ProblemError) as absent:
        resolve(str(tmp_path / "absent"), [tmp_path])
    assert (relative.value.status_code, absent.value.status_code) == (422, 404)


def test_a_root_that_only_begins_alike_is_another_folder(tmp_path: Path) -> None:
    (tmp_path / "photos-private").mkdir()
    with pytest.raises(ProblemError):
        resolve(str(tmp_path / "photos-private"), [tmp_path / "photos"])


@pytest.mark.parametrize(
    ("level", "release"),
    [(7, "3.3"), (19, "3.7"), (25, "4.0"), (33, "4.4"), (34, "4.5"), (40, "4.5+"), (0, "unknown")],
)
def test_a_feature_level_names_the_release(level: int, release: str) -> None:
    assert release_of(level) == release


def test_the_version_of_kafka_is_read_from_its_answer() -> None:
    feature = bytes([17]) + b"metadata.version" + (7).to_bytes(2) + (33).to_bytes(2) + b"\0"
    features = b"\x02" + feature
    answer = (
        (1).to_bytes(4)  # correlation id
        + (0).to_bytes(2)  # no error
        + b"\x02" + bytes(6) + b"\0"  # one api
        + bytes(4)  # throttle
        + b"\x01\x00" + bytes([len(features)]) + features
    )  # fmt: skip
    assert parse(answer) == "4.4"
    assert parse((1).to_bytes(4) + (35).to_bytes(2)) == "unknown"
    assert request()[4:8] == b"\0\x12\0\x03"


BATCH: dict[str, Any] = {
    "batch_id": UUID(int=1),
    "state": "scanning",
    "lane": "batch",
    "roots": ["/photos"],
    "expected": 12,
    "found": 10,
    "duplicates": 2,
    "refused": 1,
    "submitted": 7,
    "totals": None,
    "elapsed_s": 3.2,
    "started_at": PLACE.created_at,
    "completed_at": None,
    "error": None,
    "kind": "folder",
    "location": {},
    "sealed": False,
    "waits_for": None,
    "samples": [],
    "now": 1_795_521_600.0,
    **dict.fromkeys(
        ("paused_by", "paused_at", "paused_until", "cancelled_by", "cancelled_at", "waits_for"),
        None,
    ),
}


def test_an_import_without_totals_shows_what_the_scan_counted() -> None:
    batch = batch_shown(BATCH, Failing())
    assert (batch.found, batch.duplicates, batch.rejected, batch.pending) == (10, 2, 1, 7)
    assert (batch.expected, batch.sealed) == (12, False)


def test_an_import_adds_up_whichever_process_is_ahead() -> None:
    totals = {"found": 14, "duplicates": 2, "rejected": 3, "accepted": 4, "review": 4}
    batch = batch_shown({**BATCH, "totals": totals, "state": "running", "sealed": True}, Failing())
    assert batch.found == batch.duplicates + batch.rejected + batch.accepted + batch.pending == 14
    assert batch.review == 4
    assert (batch.expected, batch.sealed) == (14, True)
