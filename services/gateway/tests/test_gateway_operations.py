"""What workers say is taken with care, and times are cut into points."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.catalog import samples
from gateway.control import operations
from gateway.control.operations import Heard
from streamkit import Busy, Reject
from streamkit.codec import RegistryRefusesError

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def said(worker: str = "ocr@studio:1", **changes: Any) -> dict[str, Any]:
    return {
        **{"worker": worker, "service": "ocr", "host": "studio", "pid": 1, "version": "1"},
        **{"state": "working", "started_at": BEGIN, "reported_at": BEGIN, "every_s": 5.0},
        **{"cpu": 0.5, "cpu_cores": 1.0, "memory": 0.5, "memory_bytes": 1, "lanes": []},
        **{"work": [], **changes},
    }


class Decoder:
    """Gives what it was given, whatever the bytes are."""

    def __init__(self) -> None:
        self.answer: Mapping[str, Any] | Exception = said()

    def __call__(self, topic: str, value: bytes | None) -> Mapping[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture
def heard(decoder: Decoder) -> Heard:
    return Heard(decoder)


def test_of_each_worker_the_last_word_is_taken_once(heard: Heard, decoder: Decoder) -> None:
    for worker, cpu in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        decoder.answer = said(worker, cpu=cpu)
        heard.tell(worker.encode(), b"")
    assert {one.worker: one.cpu for one in heard.take()} == {"a": 0.3, "b": 0.2}
    assert list(heard.take()) == []


@pytest.mark.parametrize(
    "trouble", [Busy("no registry", dependency="schema registry"), RegistryRefusesError("401")]
)
def test_a_registry_that_is_away_or_refuses_is_waited_for(
    heard: Heard, decoder: Decoder, trouble: Exception
) -> None:
    decoder.answer = trouble
    with pytest.raises(Busy):
        heard.tell(b"ocr@studio:1", b"")
    decoder.answer = said()
    heard.tell(b"ocr@studio:1", b"")
    assert len(heard.take()) == 1


def test_no_more_is_held_than_can_be_while_nobody_takes_it(
    heard: Heard, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_MOST_WORKERS", 2)
    for worker in ("a", "b", "a"):
        decoder.answer = said(worker)
        heard.tell(worker.encode(), b"")
    decoder.answer = said("c")
    with pytest.raises(Busy, match="nobody takes"):
        heard.tell(b"c", b"")
    heard.take()
    heard.tell(b"c", b"")
    assert [one.worker for one in heard.take()] == ["c"]


def test_a_worker_that_can_not_be_read_is_told_again_once_it_could(
    heard: Heard, decoder: Decoder
) -> None:
    def tell(answer: Mapping[str, Any] | Exception) -> None:
        decoder.answer = answer
        heard.tell(b"ocr@studio:1", b"")

    with capture_logs() as logs:
        tell(Reject("undecodable", "It is junk."))
        tell(said(cpu=float("inf")))
        tell(said())
        tell(said(cpu=2.0))
    assert [line["reason"] for line in logs] == [
        "undecodable: It is junk.",
        "cpu: Input should be less than or equal to 1",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"worker": "ocr\0"},
        {"service": "o c r"},
        {"service": "o" * 41},
        {"state": ""},
        {"every_s": 0.0},
        {"every_s": 1e9},
        {"memory": -0.1},
        {"memory_bytes": -1},
        {"cpu_cores": float("nan")},
    ],
)
def test_what_the_catalog_can_not_hold_is_passed_over(
    heard: Heard, decoder: Decoder, changes: dict[str, Any]
) -> None:
    decoder.answer = said(**changes)
    heard.tell(str(decoder.answer["worker"]).encode(), b"")
    assert list(heard.take()) == []


def test_what_is_too_near_to_nothing_is_nothing(heard: Heard, decoder: Decoder) -> None:
    decoder.answer = said(cpu=1e-300)
    heard.tell(b"ocr@studio:1", b"")
    assert [one.cpu for one in heard.take()] == [0]


def test_what_is_far_too_long_is_not_even_decoded(heard: Heard, decoder: Decoder) -> None:
    decoder.answer = AssertionError("it was decoded")
    heard.tell(None, b"x" * 200_000)
    assert list(heard.take()) == []


@pytest.mark.parametrize(
    ("since", "until", "points", "found", "step_s"),
    [
        (0, 3600, 360, 360, 10),
        (3, 3603, 360, 360, 10),
        (0, 3601, 360, 181, 20),
        (0, 25, 2, 2, 20),
        (0, 25, 1, 1, 30),
        (0, 10, 2000, 1, 10),
        (1, 9, 2, 0, 10),
        (0, 86_400, 7, 7, 12_350),
    ],
)
def test_a_span_has_at_most_so_many_points(
    since: int, until: int, points: int, found: int, step_s: int
) -> None:
    over = samples.span(BEGIN + since * SECOND, BEGIN + until * SECOND, points)
    at = over.at()
    assert (len(at), over.step_s) == (found, step_s)
    assert all(BEGIN + since * SECOND <= one < BEGIN + until * SECOND for one in at)
    assert all(one.timestamp() % 10 == 0 for one in at)


def test_a_day_is_what_is_shown_if_nobody_says_since_when() -> None:
    over = samples.span(None, BEGIN + 3 * SECOND, 360)
    assert (over.step_s, len(over.at())) == (240, 360)
    assert over.at()[0] == BEGIN + 10 * SECOND - timedelta(days=1)


def test_a_span_has_to_go_forward() -> None:
    with pytest.raises(ValueError, match="before"):
        samples.span(BEGIN, BEGIN, 10)
