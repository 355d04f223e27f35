"""Whether records may go to an engine: breakers together, probes, and the broker's own."""

import pytest

from streamkit.gate import BROKER, DEAD_LETTERS, Gate
from streamkit.metrics import Meter


@pytest.fixture
def gate() -> Gate:
    """A gate that nothing has happened to."""
    return Gate(Meter("gate"))


def test_an_open_gate_lets_everything_through(gate: Gate) -> None:
    assert gate.room(7, 0.0) == 7
    assert not gate.probe(0.0)
    assert gate.next_at(0.0) is None


def test_what_is_busy_shuts_the_gate_at_once(gate: Gate) -> None:
    assert gate.failed("store", "no answer", 0.0, at_once=True)
    assert gate.room(7, 0.5) == 0
    assert gate.opened == [("store", "no answer")]
    assert gate.next_at(0.5) == 1.0


def test_failures_in_a_row_shut_the_gate(gate: Gate) -> None:
    assert [gate.failed("store", "no answer", 0.0) for _ in range(3)] == 2 * [False] + [True]


def test_a_success_between_failures_begins_the_count_anew(gate: Gate) -> None:
    for _ in range(20):
        gate.failed("store", "no answer", 0.0)
        gate.succeeded()
    assert gate.room(7, 0.0) == 7
    assert gate.open_breakers() == []


def test_a_success_does_not_open_a_shut_gate(gate: Gate) -> None:
    gate.failed("store", "no answer", 0.0, at_once=True)
    gate.succeeded()
    assert gate.open_breakers() == ["store"]


def test_one_record_probes_a_gate_that_was_shut_for_a_while(gate: Gate) -> None:
    gate.failed("store", "no answer", 0.0, at_once=True)
    assert gate.room(7, 1.0) == 1
    gate.probe(1.0)
    assert gate.room(7, 1.0) == 0
    gate.probed(1.1)
    assert gate.room(7, 1.1) == 7
    assert gate.open_breakers() == []


def test_a_probe_that_fails_shuts_it_for_twice_as_long(gate: Gate) -> None:
    gate.failed("store", "no answer", 0.0, at_once=True)
    gate.room(1, 1.0)
    gate.probe(1.0)
    gate.probe_failed(1.0, "store")
    assert gate.room(1, 2.9) == 0
    assert gate.room(1, 3.0) == 1
    assert gate.opened == [("store", "no answer")], "told once"


def test_a_probe_that_comes_to_nothing_is_followed_by_another(gate: Gate) -> None:
    gate.failed("store", "no answer", 0.0, at_once=True)
    gate.room(1, 1.0)
    gate.probe(1.0)
    gate.forgotten()
    assert gate.room(1, 1.0) == 1


def test_a_probe_that_fails_for_want_of_one_thing_says_nothing_of_others(gate: Gate) -> None:
    gate.failed("store", "no answer", 0.0, at_once=True)
    gate.failed("catalog", "no answer", 0.0, at_once=True)
    gate.room(1, 1.0)
    gate.probe(1.0)
    gate.probe_failed(1.0, "store")
    assert sorted(gate.open_breakers()) == ["catalog", "store"]
    assert gate.room(1, 1.5) == 0
    assert gate.room(1, 3.0) == 1
    gate.probe(3.0)
    gate.probed(3.0)
    assert gate.open_breakers() == []


def test_the_broker_is_back_once_it_has_acknowledged_something(gate: Gate) -> None:
    gate.failed(BROKER, "no acknowledgement", 0.0, at_once=True)
    gate.room(1, 1.0)
    gate.probe(1.0)
    gate.probed(1.0)
    assert gate.room(1, 1.1) == 0
    gate.there(BROKER)
    assert gate.room(7, 1.1) == 7
    gate.there(BROKER)


def test_a_failure_that_has_no_dependency_keeps_a_surge_shut(gate: Gate) -> None:
    for _ in range(50):
        gate.finished(0.0, dead=True)
    assert gate.open_breakers() == [DEAD_LETTERS]
    gate.room(1, 1.0)
    gate.probe(1.0)
    gate.probe_failed(1.0)
    assert gate.room(1, 2.0) == 0


def test_dead_letters_that_are_few_among_many_shut_nothing(gate: Gate) -> None:
    for _ in range(200):
        gate.finished(0.0, dead=False)
        gate.finished(0.0, dead=True)
    assert gate.room(7, 0.0) == 7


def test_failures_that_were_too_few_are_no_matter_for_a_probe(gate: Gate) -> None:
    gate.failed("store", "no answer", 0.0)
    gate.failed("catalog", "no answer", 0.0, at_once=True)
    gate.room(1, 1.0)
    gate.probe(1.0)
    gate.probe_failed(1.0, "store")
    assert gate.open_breakers() == ["catalog"]
    assert gate.room(1, 1.0) == 1
