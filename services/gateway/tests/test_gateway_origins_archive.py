"""What is read from archives, whatever they are made of."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.origins import ArchiveLimits, Origin, OriginMeans, Seen, UnreadableError, open_origin
from gateway.origins.archive_kinds import is_archive
from gateway.origins.files import shown
from gateway.origins.members import path_of
from streamkit import Busy, ObjectStore, Retry

LIMIT: Final = 1000

Packed = Callable[[dict[str, bytes]], bytes]


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            add(archive, tarfile.TarInfo(name), data)
    return packed.getvalue()


def add(archive: tarfile.TarFile, info: tarfile.TarInfo, data: bytes = b"") -> None:
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


KINDS: Final[dict[str, Packed]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda files: gzip.compress(tarred(files)),
    "tar.bz2": lambda files: bz2.compress(tarred(files)),
    "tar.xz": lambda files: lzma.compress(tarred(files)),
}


def an_origin(content: bytes, limits: ArchiveLimits | None = None, **location: object) -> Origin:
    objects = ObjectStore("memory:///objects")
    uri = objects.put("archives/one", content)
    means = OriginMeans(objects, limits or ArchiveLimits())
    return open_origin("archive", ["p.zip"], {"uri": uri, "name": "p.zip", **location}, means)


def told(origin: Origin) -> list[tuple[str, str | None]]:
    return [(shown(seen.path), code_of(seen)) for seen in origin.walk()]


def code_of(seen: Seen) -> str | None:
    return None if seen.problem is None else seen.problem.code


def reason(origin: Origin, path: str, limit: int = LIMIT) -> str:
    with pytest.raises(UnreadableError) as refused:
        origin.read(path, limit)
    return refused.value.problem.code


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_in_the_archives_order_and_can_be_read(kind: str) -> None:
    files = {"b/1.jpg": b"one", "a.jpg": b"two" * 100, "b/é.jpg": b"", "c": b"x" * LIMIT}
    origin = an_origin(KINDS[kind](files))
    assert told(origin) == [(name, None) for name in files]
    assert list(origin.count()) == list(origin.walk())
    for name, data in files.items():
        assert origin.read(name, LIMIT) == data
    for name, data in reversed(files.items()):  # and back again
        assert origin.read(name, LIMIT) == data
        assert origin.read(name, LIMIT) == data
    assert reason(origin, "nowhere") == "file_missing"
    assert origin.read("a.jpg", LIMIT) == files["a.jpg"]
    origin.close()
    assert origin.read("a.jpg", LIMIT) == files["a.jpg"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_told_by_the_content(kind: str) -> None:
    assert is_archive(io.BytesIO(KINDS[kind]({"a.jpg": b"photo"})))
    assert is_archive(io.BytesIO(KINDS[kind]({})))


_NOISE = random.Random(7).randbytes(100)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff\xe0" + bytes(2000),
        b"text" * 1000,
        gzip.compress(b"no tar" * 1000),
        bz2.compress(b"no tar" * 1000),
        lzma.compress(b"no tar" * 1000),
        b"\x1f\x8b" + _NOISE,
        b"BZh9" + _NOISE,
        b"\xfd7zXZ\0" + _NOISE,
    ],
    ids=range(9),
)
def test_what_is_no_archive_is_known_by_its_content(content: bytes) -> None:
    assert not is_archive(io.BytesIO(content))
    ((path, code),) = told(an_origin(content))
    assert (path, code) == ("p.zip", "archive_broken")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_archive_has_no_files(kind: str) -> None:
    assert told(an_origin(KINDS[kind]({}))) == []


ESCAPING: Final = ["/etc/passwd", "../x.jpg", "a/../../x.jpg", "C:/x.jpg", "c:x.jpg", "a/.."]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ESCAPING)
def test_a_name_that_leads_out_is_refused_and_the_others_are_read(kind: str, name: str) -> None:
    origin = an_origin(KINDS[kind]({name: b"bad", "good.jpg": b"good"}))
    assert told(origin) == [(name, "path_escapes"), ("good.jpg", None)]
    assert origin.read("good.jpg", LIMIT) == b"good"
    assert reason(origin, name) == "file_missing"


def test_backslashes_of_a_zip_are_slashes() -> None:
    content = zipped({r"..\x.jpg": b"", r"\x.jpg": b"", r"C:\x.jpg": b"", r"a\b.jpg": b"ok"})
    origin = an_origin(content)
    assert [code for _, code in told(origin)] == ["path_escapes"] * 3 + [None]
    assert origin.read("a/b.jpg", LIMIT) == b"ok"
    assert told(an_origin(tarred({r"a\b.jpg": b""}))) == [(r"a\\b.jpg", None)]


@given(st.text(st.sampled_from("./\\aC:"), max_size=12))
def test_a_path_never_leads_out(name: str) -> None:
    path = path_of(name)
    if path is not None:
        joined = os.path.normpath(f"/archive/{path}")
        assert joined == "/archive" or joined.startswith("/archive/")
        assert not {".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_come_again_get_paths_of_their_own(kind: str) -> None:
    names = ["a.jpg", "./a.jpg", "a//b", "a/b", "a (2).jpg", ".x/../y"]
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for number, name in enumerate(names):
                archive.writestr(name, str(number))
    else:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for number, name in enumerate(names):
                add(tar, tarfile.TarInfo(name), str(number).encode())
    origin = an_origin(packed.getvalue())
    walked = [path for path, code in told(origin) if code is None]
    assert walked == ["a.jpg", "a (2).jpg", "a/b", "a/b (2)", "a (2) (2).jpg"]
    assert [origin.read(path, LIMIT) for path in walked] == [b"0", b"1", b"2", b"3", b"4"]
    assert [path for path, code in told(origin) if code is None] == walked


def test_paths_are_the_same_for_whoever_comes_first() -> None:
    origin = an_origin(tarred({"a": b"1", "./a": b"2", "././a": b"3"}))
    walk, count = origin.walk(), origin.count()
    assert [next(walk).path, next(count).path, next(count).path] == ["a", "a", "a (2)"]
    assert origin.read("a (3)", LIMIT) == b"3"
    assert [one.path for one in walk] == ["a (2)", "a (3)"]
    assert [one.path for one in count] == ["a (3)"]


def test_only_files_of_a_tar_are_taken() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, tarfile.TarInfo("real.jpg"), b"photo")
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"other{number}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        device = tarfile.TarInfo("null")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
        archive.addfile(device)
        hard = tarfile.TarInfo("hard.jpg")
        hard.type, hard.linkname = tarfile.LNKTYPE, "real.jpg"
        archive.addfile(hard)
    assert told(an_origin(packed.getvalue())) == [("real.jpg", None), ("hard.jpg", "not_a_file")]


def test_only_files_of_a_zip_are_taken() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("folder")
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder/a.jpg", b"photo")
    assert told(an_origin(packed.getvalue())) == [("folder/a.jpg", None)]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hidden_files_and_those_of_macos_come_only_if_they_are_wanted(kind: str) -> None:
    names = ["__MACOSX/._a.jpg", "__MACOSX/a.jpg", "x/._a.jpg", ".b/c.jpg", "./a.jpg"]
    content = KINDS[kind](dict.fromkeys(names, b""))
    assert told(an_origin(content)) == [("a.jpg", None)]
    assert len(told(an_origin(content, hidden=True))) == 5


def test_patterns_are_about_paths_in_the_archive() -> None:
    content = zipped(dict.fromkeys(["x/a.JPG", "x/raw/b.jpg", "c.png"], b""))
    origin = an_origin(content, include=["*.jpg"], exclude=["**/raw/**"])
    assert told(origin) == [("x/a.JPG", None)]


def test_names_that_are_not_utf8_are_shown_by_the_rule_of_files() -> None:
    content = zipped({"cafX.jpg": b"photo"}).replace(b"X", b"\xe9")
    assert told(an_origin(content)) == [(r"caf\xe9.jpg", None)]
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as archive:
        add(archive, tarfile.TarInfo("café.jpg"), b"photo")
    assert told(an_origin(packed.getvalue())) == [(r"caf\xe9.jpg", None)]


def test_utf8_that_a_zip_does_not_declare_is_read_as_such() -> None:
    content = zipped({"cafXX.jpg": b"photo"}).replace(b"XX", "é".encode())
    assert told(an_origin(content)) == [("café.jpg", None)]


def test_an_encrypted_file_is_refused_with_its_reason() -> None:
    content = bytearray(zipped({"a.jpg": b"photo"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    origin = an_origin(bytes(content))
    assert told(origin) == [("a.jpg", "archive_encrypted")]


def test_a_way_of_packing_that_is_not_known_is_named() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.jpg", b"photo")
    with pytest.raises(UnreadableError, match="method 14") as refused:
        an_origin(packed.getvalue()).read("a.jpg", LIMIT)
    assert refused.value.problem.code == "archive_method"


class Peak:
    """Memory that Python took at most, in MB."""

    def __enter__(self) -> "Peak":
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mb = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()


BOMB: Final = bytes(30_000_000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_without_being_unpacked(kind: str) -> None:
    content = KINDS[kind]({"bomb.jpg": BOMB, "a.jpg": b"photo"})
    origin = an_origin(content)
    with Peak() as peak:
        assert told(origin) == [("bomb.jpg", None), ("a.jpg", None)]
        assert reason(origin, "bomb.jpg") == "file_too_large"
        assert origin.read("a.jpg", LIMIT) == b"photo"
    assert peak.mb < 20


def test_a_zip_that_lies_about_a_size_is_not_unpacked_further() -> None:
    content = bytearray(zipped({"bomb.jpg": BOMB}))
    struct.pack_into("<L", content, content.index(b"PK\1\2") + 24, 10)
    origin = an_origin(bytes(content))
    with Peak() as peak:
        assert reason(origin, "bomb.jpg") == "archive_broken"
    assert peak.mb < 10


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_behind_the_limits_is_one_refused_entry(kind: str) -> None:
    files = {f"{number}.jpg": b"x" * 100 for number in range(5)}
    several = ArchiveLimits(members=3)
    assert told(an_origin(KINDS[kind](files), several)) == [
        ("0.jpg", None),
        ("1.jpg", None),
        ("2.jpg", None),
        ("p.zip", "archive_too_large"),
    ]
    bytes_ = ArchiveLimits(expanded_bytes=250)
    assert told(an_origin(KINDS[kind](files), bytes_)) == [
        ("0.jpg", None),
        ("1.jpg", None),
        ("p.zip", "archive_too_large"),
    ]


@pytest.mark.timeout(20)
def test_a_tar_that_would_unpack_to_a_terabyte_ends_before_it_does() -> None:
    info = tarfile.TarInfo("huge")
    info.size = 10**12
    head = info.tobuf(tarfile.GNU_FORMAT)
    content = gzip.compress(head + bytes(100_000_000))
    assert told(an_origin(content)) == [("p.zip", "archive_too_large")]


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("part", [0.4, 0.9])
def test_what_a_cut_off_tar_still_holds_is_read(kind: str, part: float) -> None:
    files = {f"{number}.jpg": os.urandom(100_000) for number in range(20)}
    content = KINDS[kind](files)
    origin = an_origin(content[: int(len(content) * part)])
    entries = told(origin)
    assert entries[-1] == ("p.zip", "archive_broken")
    names = [path for path, code in entries if code is None]
    assert names == list(files)[: len(names)]
    assert len(names) >= (5 if kind != "tar.bz2" else 0)
    for name in names[:-1]:
        assert origin.read(name, 200_000) == files[name]


def test_a_tar_that_ends_between_two_files_was_cut_off() -> None:
    content = tarred({"a.jpg": b"photo"})[:1024]
    assert told(an_origin(content)) == [("a.jpg", None), ("p.zip", "archive_broken")]


def test_a_file_that_was_cut_off_is_refused() -> None:
    origin = an_origin(tarred({"a.jpg": b"x" * 900})[:1100])
    assert told(origin) == [("a.jpg", None), ("p.zip", "archive_broken")]
    assert reason(origin, "a.jpg") == "archive_broken"


@pytest.mark.parametrize("where", [b"PK\1\2", b"PK\5\6"])
def test_a_zip_without_its_directory_is_one_refused_entry(where: bytes) -> None:
    content = zipped({"a.jpg": b"photo"})
    origin = an_origin(content[: content.index(where)])
    assert told(origin) == [("p.zip", "archive_broken")]


def test_the_archives_own_name_may_be_that_of_a_member() -> None:
    content = tarred({"p.zip": b"nested"})[:1024]
    origin = an_origin(content)
    assert told(origin) == [("p.zip", None), ("p (2).zip", "archive_broken")]


def test_damaged_bytes_are_refused_and_the_others_are_read() -> None:
    content = zipped({"a.jpg": b"a" * 50, "b.jpg": b"b"}).replace(b"a.jpgKL", b"a.jpgKK", 1)
    origin = an_origin(content)
    assert reason(origin, "a.jpg") == "archive_broken"
    assert origin.read("b.jpg", LIMIT) == b"b"


def header(kind: bytes, size: int, name: str = "h") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def sparse_map() -> bytes:
    """A file whose map of holes never ends."""
    about = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    block = about.ljust(512, b"\0")
    return header(tarfile.XHDTYPE, len(about)) + block + header(b"0", 10**9) + b"9" * 1_000_000_0


@pytest.mark.parametrize(
    "content",
    [
        header(tarfile.XHDTYPE, 2**32) + b"x" * 50_000_000,
        header(tarfile.GNUTYPE_LONGNAME, 2**32) + b"x" * 50_000_000,
        header(tarfile.XHDTYPE, 0) * 100_000,
        header(tarfile.GNUTYPE_LONGNAME, 0) * 100_000,
        header(tarfile.XHDTYPE, -1024) * 10,
        header(b"0", -1024) * 10,
        sparse_map(),
    ],
    ids=["attributes", "name", "chain", "names", "negative", "back", "holes"],
)
@pytest.mark.timeout(20)
def test_headers_made_to_exhaust_memory_do_not(content: bytes) -> None:
    origin = an_origin(tarred({"a.jpg": b"photo"})[:1024] + content)
    with Peak() as peak:
        entries = told(origin)
    assert entries[0] == ("a.jpg", None)
    assert entries[-1][1] in ("archive_broken", "archive_too_large")
    assert len(entries) < 20
    assert peak.mb < 20


@pytest.mark.timeout(20)
def test_a_zip_with_an_endless_directory_takes_little_memory() -> None:
    one = zipped({"a": b""})
    body = one[one.index(b"PK\1\2") : one.index(b"PK\5\6")] * 30_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(body), 4, 0)
    origin = an_origin(b"PK\3\4" + body + end, ArchiveLimits(members=10_000))
    with Peak() as peak:
        entries = sum(1 for _ in origin.walk())
    assert entries == 10_001
    assert peak.mb < 10


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_many_small_members_are_read_in_one_pass(kind: str) -> None:
    files = {f"{number:05}.jpg": b"%d" % number for number in range(5_000)}
    origin = an_origin(KINDS[kind](files))
    began = time.process_time()
    read = [origin.read(seen.path, LIMIT) for seen in origin.walk()]
    took = time.process_time() - began
    assert read == list(files.values())
    assert took < 20  # a second; a quarter of an hour, were it quadratic


def test_a_zip_behind_other_bytes_and_with_large_sizes_is_read() -> None:
    packed = io.BytesIO()
    packed.write(b"PK\3\4 something before")
    with zipfile.ZipFile(packed, "a") as archive:
        with archive.open("a.jpg", "w", force_zip64=True) as member:
            member.write(b"photo")
        archive.comment = b"PK\5\6" + bytes(30)
    origin = an_origin(packed.getvalue())
    assert told(origin) == [("a.jpg", None)]
    assert origin.read("a.jpg", LIMIT) == b"photo"


def test_a_directory_behind_four_gigabytes_is_found() -> None:
    content = zipped({"a.jpg": b"photo"})
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, end - start, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    short = struct.pack(
        "<4s4H2LH", b"PK\5\6", *(0xFFFF,) * 4, 0xFFFFFFFF, 0xFFFFFFFF, 0
    )  # what does not fit
    for before in (b"", b"PK\3\4 something before"):
        origin = an_origin(before + content[:end] + large + locator + short)
        assert told(origin) == [("a.jpg", None)]
        assert origin.read("a.jpg", LIMIT) == b"photo"


def test_xz_that_wants_gigabytes_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]
    content = bytearray(lzma.compress(tarred({"a.jpg": b"photo"}), filters=filters))
    # Behind the stream's header (12 bytes) the block's: size, flags, filter, its size, dictionary.
    assert content[14:16] == b"\x21\x01"
    content[16] = 38  # 2 GiB
    content[20:24] = struct.pack("<L", zlib.crc32(content[12:20]))
    ((_, code),) = told(an_origin(bytes(content)))
    assert code == "archive_broken"


class Away(ObjectStore):
    """A store that is away when it shall be."""

    away = False

    def open(self, uri: str) -> object:  # type: ignore[override]
        if self.away:
            raise Retry("no", dependency="object store")
        return super().open(uri)


def test_an_archive_that_is_away_is_waited_for_and_one_that_is_gone_is_told() -> None:
    objects = Away("memory:///objects")
    uri = objects.put("archives/one", zipped({"a.jpg": b"photo"}))
    origin = open_origin("archive", [], {"uri": uri, "name": "p.zip"}, OriginMeans(objects))
    objects.away = True
    with pytest.raises(Busy):
        next(origin.walk())
    with pytest.raises(Busy):
        origin.read("a.jpg", LIMIT)
    objects.away = False
    assert told(origin) == [("a.jpg", None)]
    assert origin.read("a.jpg", LIMIT) == b"photo"

    objects.delete(uri)
    origin.close()
    assert told(origin) == [("p.zip", "archive_missing")]
    assert reason(origin, "a.jpg") == "file_missing"


def test_a_local_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    objects = ObjectStore(f"file://{tmp_path}")
    uri = objects.put("archives/one", tarred({"a.jpg": b"photo"}))
    origin = open_origin("archive", [], {"uri": uri, "name": "p"}, OriginMeans(objects))
    assert list(origin.walk()) == [Seen("a.jpg")]
    assert origin.read("a.jpg", LIMIT) == b"photo"


SEEDS: Final = [pack({"a.jpg": b"photo" * 50, "b/c.jpg": b"x"}) for pack in KINDS.values()]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_no_bytes_break_the_import(
    seed: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    content = bytearray(seed)
    for place, value in changes:
        content[int(place * len(content))] = value
    origin = an_origin(bytes(content[: int(len(content) * kept) + 1]))
    for seen in list(origin.walk()):
        with suppress(UnreadableError):
            assert len(origin.read(seen.path, LIMIT)) <= LIMIT
