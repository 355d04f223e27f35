"""The decode process may loop, crash, eat memory or lie; whoever asked it goes on."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image

from imaging import (
    DecodeProcess,
    DecodeProcessUnavailableError,
    ImageRejected,
    Limits,
    RejectionCode,
)
from imaging.render import prepare

Encode = Callable[..., bytes]
HOSTILE = (sys.executable, str(Path(__file__).with_name("hostile_child.py")))
LIMITS = Limits(decode_seconds=4.0, decode_memory=256 * 1024**2)
PATIENT_S = 120.0
"""Where memory is what is looked at: a large picture takes long on a busy machine."""


@pytest.fixture(scope="module")
def process() -> Iterator[DecodeProcess]:
    with DecodeProcess(LIMITS, command=HOSTILE) as running:
        yield running


@pytest.fixture(scope="module")
def photo(encode: Encode) -> Callable[..., bytes]:
    def made(comment: bytes = b"fine") -> bytes:
        return encode(Image.new("RGB", (40, 30), (9, 99, 199)), "JPEG", comment=comment)

    return made


def gone(pid: int, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        threading.Event().wait(0.02)
    return False


def test_the_answer_is_the_same_as_in_place(scene: Image.Image, encode: Encode) -> None:
    with DecodeProcess() as real:
        for kind in ("PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
            data = encode(scene, kind)
            assert real.prepare(data) == prepare(data), kind
        own = encode(scene, "JPEG")
        assert real.prepare(own, keep_gps=True) == prepare(own, keep_gps=True)


def test_a_refusal_in_the_child_arrives_with_code_and_words(
    process: DecodeProcess, photo: Callable[..., bytes]
) -> None:
    before = process.pid
    with pytest.raises(ImageRejected) as refused:
        process.prepare(photo()[:-40])
    assert refused.value.code == RejectionCode.IMAGE_TRUNCATED
    assert "cut off" in refused.value.message
    assert process.pid == before


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (b"DIE ALWAYS", RejectionCode.DECODE_CRASHED, "crash"),
        (b"LOOP", RejectionCode.DECODE_TIMED_OUT, "more than 4 seconds"),
        (b"EAT MEMORY", RejectionCode.DECODE_OUT_OF_MEMORY, "memory"),
        (b"RAISE", RejectionCode.DECODE_CRASHED, "crash"),
        (b"LIE", RejectionCode.DECODE_CRASHED, "crash"),
    ],
)
def test_a_photo_that_breaks_the_child_is_refused_and_the_next_one_works(
    process: DecodeProcess,
    photo: Callable[..., bytes],
    trouble: bytes,
    code: RejectionCode,
    words: str,
) -> None:
    with pytest.raises(ImageRejected) as refused:
        process.prepare(photo(trouble))
    assert refused.value.code == code
    assert words in refused.value.message
    assert process.prepare(photo()).width == 40


def test_a_child_that_is_killed_from_outside_does_not_cost_the_photo(
    photo: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_MARK", str(tmp_path / "died"))
    with DecodeProcess(LIMITS, command=HOSTILE) as process:
        first = process.pid
        assert process.prepare(photo(b"DIE ONCE")).width == 40
        assert (tmp_path / "died").exists()
        assert process.pid != first


def test_a_child_that_is_stopped_from_outside_does_not_cost_the_photo(
    photo: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_MARK", str(tmp_path / "stalled"))
    with DecodeProcess(LIMITS, command=HOSTILE) as process:
        process.start()
        first = process.pid
        assert process.prepare(photo(b"STALL ONCE")).width == 40
        assert (tmp_path / "stalled").exists()
        assert process.pid != first


def test_a_child_that_is_killed_while_idle_is_replaced(
    process: DecodeProcess, photo: Callable[..., bytes]
) -> None:
    process.start()
    victim = process.pid
    assert victim is not None
    os.kill(victim, 9)
    assert process.prepare(photo()).width == 40
    assert process.pid not in {victim, None}


def test_what_a_library_prints_does_not_get_into_the_answers(
    process: DecodeProcess, photo: Callable[..., bytes]
) -> None:
    assert process.prepare(photo(b"BABBLE")).width == 40


def test_a_decompression_bomb_under_the_pixel_limit_meets_the_memory_limit(
    encode: Encode, photo: Callable[..., bytes]
) -> None:
    """100 megapixels in some 100 KB are 400 MB once decoded; this process may have 256 MiB."""
    bomb = encode(Image.new("RGB", (10_000, 10_000)), "PNG")
    assert len(bomb) < 1_000_000
    with DecodeProcess(replace(LIMITS, decode_seconds=PATIENT_S)) as process:
        with pytest.raises(ImageRejected) as refused:
            process.prepare(bomb)
        assert refused.value.code == RejectionCode.DECODE_OUT_OF_MEMORY
        assert process.prepare(photo()).width == 40


def test_the_largest_pictures_fit_into_the_memory_limit_by_default(encode: Encode) -> None:
    """150 megapixels take 600 MB decoded; strips keep the rest small."""
    data = encode(Image.new("LA", (15_000, 10_000), (50, 255)), "PNG", compress_level=1)
    with DecodeProcess(Limits(decode_seconds=PATIENT_S)) as process:
        prepared = process.prepare(data)
    assert (prepared.width, prepared.rendition_width) == (15_000, 2048)


def test_a_claim_of_900_megapixels_does_not_reach_the_child(
    png_claiming: Callable[[int, int], bytes],
) -> None:
    idle = DecodeProcess(LIMITS, command=HOSTILE)
    with pytest.raises(ImageRejected) as refused:
        idle.prepare(png_claiming(30_000, 30_000))
    assert refused.value.code == RejectionCode.TOO_MANY_PIXELS
    assert idle.pid is None


def test_calls_from_several_threads_are_served_one_after_another(
    process: DecodeProcess, photo: Callable[..., bytes]
) -> None:
    widths: list[int] = []
    threads = [
        threading.Thread(target=lambda: widths.append(process.prepare(photo()).width))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert widths == [40] * 8


def test_the_child_dies_with_its_parent_even_while_it_loops(
    photo: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "loop.jpg").write_bytes(photo(b"LOOP"))
    code = f"""
import pathlib, threading
from imaging import DecodeProcess, Limits
process = DecodeProcess(Limits(decode_seconds=600), command={HOSTILE!r})
process.start()
print(process.pid, flush=True)
process.prepare(pathlib.Path({str(tmp_path / "loop.jpg")!r}).read_bytes())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    assert gone(child)


def test_closing_ends_the_child_and_a_later_photo_starts_another(
    photo: Callable[..., bytes],
) -> None:
    process = DecodeProcess(LIMITS, command=HOSTILE)
    process.start()
    first = process.pid
    assert first is not None
    process.close()
    assert process.pid is None
    assert gone(first)
    assert process.prepare(photo()).width == 40
    process.close()


def test_a_child_that_does_not_start_is_nobodys_photo(photo: Callable[..., bytes]) -> None:
    broken = DecodeProcess(LIMITS, command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(DecodeProcessUnavailableError):
        broken.prepare(photo())
