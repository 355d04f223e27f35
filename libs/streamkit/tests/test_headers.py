"""Headers of events: ids that never repeat, times, and which traces are sampled."""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import Emit, headers
from streamkit.headers import (
    TRACE_SAMPLE,
    event_headers,
    in_version_00,
    is_traceparent,
    next_span,
    readable,
    sample_new_traces,
    traceparent_of,
)

EVENT = Emit("photo.text-read.v1", "key", {}, "id-é")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _default_sampling() -> Iterator[None]:
    yield
    sample_new_traces(TRACE_SAMPLE)


def test_an_event_has_seven_headers_in_a_fixed_order() -> None:
    found = event_headers(EVENT, source="ocr", traceparent=TRACE)
    assert [name for name, _ in found] == [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "content-type",
        "traceparent",
    ]
    assert dict(found)["ce_id"].decode() == "id-é"
    assert dict(found)["ce_source"] == b"/darkroom/ocr"
    assert dict(found)["ce_type"] == b"darkroom.photo.text-read.v1"


@given(st.integers(0, 4_000_000_000_000))
def test_the_time_is_rfc_3339_in_utc_to_the_millisecond(ms: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamkit.headers.time.time", lambda: (ms + 0.5) / 1000)
        found = readable(event_headers(EVENT, source="ocr"))["ce_time"]
    expected = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    assert found == expected.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_events_of_a_span_carry_it_as_it_is() -> None:
    found = event_headers(EVENT, source="ocr", traceparent="ignored", span=TRACE)
    assert dict(found)["traceparent"].decode() == TRACE


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_flags_of_a_trace_are_kept(flags: str) -> None:
    cause = TRACE[:-2] + flags
    after = next_span(cause)
    assert after[-2:] == flags
    assert after[:36] == cause[:36]
    assert is_traceparent(after)


@pytest.mark.parametrize(
    ("later", "flags"),
    [
        ("01" + TRACE[2:], "01"),
        ("cc" + TRACE[2:-2] + "fe", "00"),
        ("cc" + TRACE[2:] + "-what-the-future-will-be-like", "01"),
        ("fe" + TRACE[2:] + "-" + "x" * 10_000, "01"),
    ],
)
def test_a_trace_of_a_later_version_is_continued(later: str, flags: str) -> None:
    found = TRACE[:-2] + flags
    assert traceparent_of([("traceparent", later.encode())]) == found
    assert in_version_00(later) == found
    after = next_span(later)
    assert is_traceparent(after)
    assert (after[:36], after[-2:]) == (found[:36], flags)


@pytest.mark.parametrize(
    "rubbish",
    [
        *("ff" + TRACE[2:], "01" + TRACE[2:] + ".more", TRACE + "-more", "1" + TRACE[2:]),
        *(f"01-{'0' * 32}-b7ad6b7169203331-01", "01" + TRACE[2:].upper(), "", "01-"),
    ],
)
def test_no_version_makes_a_trace_of_rubbish(rubbish: str) -> None:
    assert not is_traceparent(in_version_00(rubbish))
    assert next_span(rubbish)[3:35] != TRACE[3:35]


@pytest.mark.parametrize(("fraction", "least", "most"), [(0, 0, 0), (1, 2000, 2000)])
def test_all_or_no_new_trace_can_be_sampled(fraction: float, least: int, most: int) -> None:
    sample_new_traces(fraction)
    sampled = sum(next_span(None).endswith("-01") for _ in range(2000))
    assert least <= sampled <= most


def test_new_traces_are_sampled_by_their_fraction() -> None:
    sample_new_traces(0.25)
    sampled = sum(next_span(None).endswith("-01") for _ in range(10_000))
    # Ten standard deviations to either side.
    assert 2_060 <= sampled <= 2_940


def test_one_trace_in_a_hundred_is_sampled_by_default() -> None:
    sampled = sum(next_span(None).endswith("-01") for _ in range(20_000))
    assert 60 <= sampled <= 340


def test_a_trace_that_came_is_not_sampled_again() -> None:
    sample_new_traces(0)
    assert next_span(TRACE).endswith("-01")


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sample_new_traces(fraction)


def test_ids_do_not_repeat_if_somebody_seeds_the_common_generator() -> None:
    def drawn() -> set[str]:
        random.seed(1)
        return {next_span(None) for _ in range(10)}

    assert drawn() & drawn() == set()


def test_a_forked_process_draws_other_ids() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, next_span(None).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode()[3:35] != next_span(None)[3:35]
    os.close(reading)
    os.close(writing)


def test_headers_know_no_zero_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers._ids, "getrandbits", lambda _: 0)
    assert is_traceparent(next_span(None))
    assert is_traceparent(next_span(TRACE))
