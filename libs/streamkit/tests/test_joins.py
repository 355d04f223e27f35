"""A join's decisions: pure, repeatable, whatever comes in whatever order."""

import copy
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import Reject
from streamkit.messages import Emit
from streamkit.workflow import (
    EXPIRED,
    Branch,
    Expiry,
    Failures,
    Join,
    Joined,
    Part,
    everything,
)

STAGES = ("a", "b", "c")
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

Event = tuple[str, dict[str, Any]]


def decide(joined: Joined) -> Mapping[str, Any]:
    return {
        "revision": joined.revision,
        "parts": {name: part["n"] for name, part in joined.parts.items()},
        "failed": sorted(joined.failed),
        "partial": joined.partial,
    }


def join(**options: Any) -> Join:
    usual = {
        "name": "joiner",
        "parts": tuple(Part(name, name) for name in STAGES),
        "failures": (Failures("failed", lambda value: value["stage"]),),
        "into": "done",
        "decide": decide,
    }
    return Join(**{**usual, **options})


class Machine:
    """A join, its table, and all that it emitted."""

    def __init__(self, machine: Join | None = None, at: datetime = NOON) -> None:
        self.join = machine or join()
        self.at = at
        self.table: dict[str, Any] = {}
        self.emitted: list[Emit] = []

    def feed(self, *events: Event, key: str = "k") -> list[Emit]:
        """What comes of these; states go through JSON, as they do in a table."""
        before = len(self.emitted)
        for topic, value in events:
            state, original = self.table.get(key), copy.deepcopy((self.table.get(key), value))
            headers = {"ce_time": self.at.isoformat()}
            following, emits = self.join.step(state, topic, key, value, headers)
            assert (state, value) == original
            self.emitted += emits
            if following is None:
                del self.table[key]
            else:
                self.table[key] = json.loads(json.dumps(following))
                assert self.table[key] == following
        return self.emitted[before:]

    def said(self) -> dict[str, Any]:
        """Value by id; the same id must always have the same value."""
        found: dict[str, Any] = {}
        for emit in self.emitted:
            record = (emit.topic, emit.key, emit.value)
            assert found.setdefault(emit.id, record) == record
        return found

    def outcomes(self) -> list[Any]:
        return [value for _, _, value in self.said().values()]


def part(name: str, number: int = 1, **more: Any) -> Event:
    return name, {"n": number, **more}


def failed(name: str, **more: Any) -> Event:
    return "failed", {"stage": name, **more}


ALL = tuple(part(name) for name in STAGES)


def test_the_last_part_brings_the_outcome() -> None:
    machine = Machine()
    assert machine.feed(*ALL[:2]) == []
    (emit,) = machine.feed(ALL[2])
    assert (emit.topic, emit.key) == ("done", "k")
    assert emit.value == {
        "revision": 1,
        "parts": {"a": 1, "b": 1, "c": 1},
        "failed": [],
        "partial": False,
    }


def test_keys_are_joined_apart_under_ids_of_their_own() -> None:
    machine = Machine()
    (one,), (two,) = machine.feed(*ALL, key="k1"), machine.feed(*ALL, key="k2")
    assert one.id != two.id


def test_a_repeated_part_says_the_outcome_again_under_the_same_id() -> None:
    machine = Machine()
    (first,) = machine.feed(*ALL)
    assert machine.feed(part("a", 99), part("c")) == [first, first]


def test_a_repeated_part_of_what_is_not_decided_says_nothing() -> None:
    assert Machine().feed(part("a"), part("a")) == []


def test_a_failed_stage_has_ended_and_the_outcome_is_partial() -> None:
    machine = Machine()
    machine.feed(part("a"), failed("b"), part("c"))
    (value,) = machine.outcomes()
    assert (value["failed"], value["partial"], value["parts"]) == (["b"], True, {"a": 1, "c": 1})


def test_even_if_every_stage_failed_there_is_an_outcome() -> None:
    machine = Machine()
    machine.feed(*map(failed, STAGES))
    assert [value["failed"] for value in machine.outcomes()] == [["a", "b", "c"]]


def test_a_failure_after_the_part_changes_nothing() -> None:
    machine = Machine()
    machine.feed(part("a"), failed("a"), part("b"), part("c"), failed("c"))
    assert [value["failed"] for value in machine.outcomes()] == [[]]


def test_a_part_after_the_failure_counts_while_nothing_is_decided() -> None:
    machine = Machine()
    machine.feed(failed("a"), part("a"), failed("a"), part("b"), part("c"))
    assert [value["failed"] for value in machine.outcomes()] == [[]]


def test_a_late_part_makes_the_next_revision_and_a_repetition_says_both() -> None:
    machine = Machine()
    machine.feed(failed("a"), part("b"), part("c"))
    (second,) = machine.feed(part("a", 5))
    assert (second.value["revision"], second.value["parts"]["a"]) == (2, 5)
    assert len(machine.said()) == 2
    assert [emit.value["revision"] for emit in machine.feed(part("b"))] == [1, 2]
    assert [emit.value["revision"] for emit in machine.feed(failed("a"))] == [1, 2]


def test_a_failure_of_what_the_join_does_not_wait_for_is_rejected() -> None:
    with pytest.raises(Reject) as caught:
        Machine().feed(failed("d"))
    assert caught.value.code == "impossible_record"


def test_a_failure_that_nobody_expected_any_more_says_nothing() -> None:
    many = dynamic()
    many.feed(("list", {"n": 0}))
    assert many.feed(("failed", {"stage": "item/7"})) == []


def test_the_outcome_goes_where_the_branch_says() -> None:
    branch = Branch(
        name="which",
        choose=lambda value: "partial" if value["partial"] else "whole",
        topics={"partial": "p", "whole": "w"},
    )
    machine = Machine(join(into=branch))
    machine.feed(*ALL, key="1")
    machine.feed(failed("a"), *ALL[1:], key="2")
    assert [emit.topic for emit in machine.emitted] == ["w", "p"]


def test_only_what_is_to_be_kept_is_kept() -> None:
    parts = (Part("a", "a", keep=lambda value: {"n": value["n"]}), Part("b", "b"))
    machine = Machine(join(parts=parts, failures=()))
    machine.feed(part("a", private="x"), part("b", public="y"))
    assert machine.table["k"][""]["parts"] == {"a": {"n": 1}, "b": {"n": 1, "public": "y"}}


def test_moments_are_kept_as_milliseconds() -> None:
    value = {"at": NOON, "list": [{"at": NOON}], "pair": (1, None), "text": "x"}
    ms = round(NOON.timestamp() * 1000)
    assert everything(value) == {
        "at": ms,
        "list": [{"at": ms}],
        "pair": [1, None],
        "text": "x",
    }


def test_the_id_of_an_outcome_can_be_chosen() -> None:
    machine = Machine(join(event_id=lambda joined: f"{joined.key}:{joined.revision}"))
    (emit,) = machine.feed(*ALL)
    assert emit.id == "k:1"


def identified(**options: Any) -> Machine:
    return Machine(join(identity=lambda value: value["id"], **options))


def of(identity: str, *events: Event) -> list[Event]:
    return [(topic, {**value, "id": identity}) for topic, value in events]


def test_things_of_one_key_are_joined_apart() -> None:
    machine = identified()
    machine.feed(*of("one", *ALL[:2]), *of("two", *ALL), *of("one", ALL[2]))
    assert len(machine.said()) == 2


def test_of_many_things_of_one_key_the_first_with_an_outcome_are_forgotten() -> None:
    machine = identified(identities=3)
    machine.feed(*of("open", ALL[0]))
    for number in range(6):
        machine.feed(*of(str(number), *ALL))
    assert list(machine.table["k"]) == ["open", "4", "5"]


def dynamic() -> Machine:
    """As many items as the list says."""

    def expected(parts: Mapping[str, Any], failures: Mapping[str, Any]) -> list[str] | None:
        if "list" in failures:
            return ["list"]
        if "list" not in parts:
            return None
        return ["list", *(f"item/{number}" for number in range(parts["list"]["n"]))]

    parts = (Part("list", "list"), Part("item", "item", each=lambda value: value["n"]))
    return Machine(join(parts=parts, expects=expected))


def test_a_join_may_wait_for_as_many_parts_as_one_of_them_says() -> None:
    machine = dynamic()
    machine.feed(part("item", 2), part("item", 0), ("list", {"n": 3}))
    assert machine.emitted == []
    (emit,) = machine.feed(part("item", 1))
    assert emit.value["parts"] == {"item/0": 0, "item/1": 1, "item/2": 2, "list": 3}


def test_one_of_many_parts_may_fail() -> None:
    machine = dynamic()
    machine.feed(part("list", 2), part("item", 0), failed("item/1"))
    assert [value["failed"] for value in machine.outcomes()] == [["item/1"]]


def test_what_nobody_expects_is_let_go_when_all_is_there() -> None:
    machine = dynamic()
    machine.feed(part("item", 9), part("list", 1), part("item", 0), part("item", 8))
    assert [value["parts"] for value in machine.outcomes()] == [{"item/0": 0, "list": 1}]
    assert set(machine.table["k"][""]["parts"]) == {"item/0", "list"}


def test_if_nobody_can_say_how_many_there_is_an_outcome_all_the_same() -> None:
    machine = dynamic()
    machine.feed(part("item", 0), failed("list"))
    assert [value["failed"] for value in machine.outcomes()] == [["list"]]


def test_a_join_without_a_decision_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="joiner has no decide"):
        Machine(join(decide=None)).feed(*ALL)


DAY = timedelta(days=1)


def expiring(**options: Any) -> Machine:
    return Machine(join(expiry=Expiry("tick", after_s=DAY.total_seconds()), **options))


def ticks(machine: Machine, now: datetime) -> list[Emit]:
    """Publish the ticks that are due; what came of them."""
    due = list(machine.join.due(machine.table.items(), now))
    assert {emit.topic for emit in due} <= {"tick"}
    came: list[Emit] = []
    for emit in due:
        came += machine.feed((emit.topic, dict(emit.value)), key=emit.key)
    return came


def test_a_join_without_an_outcome_ends_partially_in_its_time() -> None:
    machine = expiring()
    machine.feed(part("a"), failed("b"))
    assert ticks(machine, NOON + DAY / 2) == []
    (emit,) = ticks(machine, NOON + DAY)
    assert (emit.value["failed"], emit.value["parts"]) == (["b", "c"], {"a": 1})
    assert machine.table["k"][""]["failed"]["c"] == {"code": EXPIRED}
    (later,) = machine.feed(part("c"))
    assert later.value["revision"] == 2


def test_what_had_its_outcome_is_forgotten_in_its_time() -> None:
    machine = expiring()
    machine.feed(*ALL)
    assert ticks(machine, NOON + DAY - timedelta(seconds=1)) == []
    assert machine.table
    assert ticks(machine, NOON + DAY) == []
    assert machine.table == {}


def test_what_ended_by_a_tick_is_kept_for_as_long_again() -> None:
    machine = expiring()
    machine.feed(part("a"))
    ticks(machine, NOON + DAY)
    ticks(machine, NOON + 1.5 * DAY)
    assert machine.table
    ticks(machine, NOON + 2 * DAY)
    assert machine.table == {}


def test_each_thing_of_a_key_has_a_time_of_its_own() -> None:
    machine = expiring(identity=lambda value: value["id"])
    machine.feed(*of("one", *ALL))
    machine.at = NOON + DAY / 2
    machine.feed(*of("two", *ALL))
    ticks(machine, NOON + DAY)
    assert set(machine.table["k"]) == {"two"}


@pytest.mark.parametrize("ce_time", ["", "yesterday", "9999-12-31T23:59:59-23:59"])
def test_what_does_not_say_when_it_was_published_counts_from_the_next_tick(ce_time: str) -> None:
    machine = expiring()
    machine.table["k"], _ = machine.join.step(None, "a", "k", {"n": 1}, {"ce_time": ce_time})
    assert ticks(machine, NOON) == []
    assert ticks(machine, NOON + DAY / 2) == []
    assert len(ticks(machine, NOON + DAY)) == 1


def test_a_moment_in_the_future_counts_from_the_next_tick() -> None:
    machine = Machine(expiring().join, at=NOON + 1000 * DAY)
    machine.feed(*ALL)
    machine.feed(("tick", {"occurred_at": NOON}))
    ticks(machine, NOON + DAY)
    assert machine.table == {}


def test_a_tick_for_a_key_without_state_changes_nothing() -> None:
    assert expiring().join.step(None, "tick", "k", {"occurred_at": NOON}, {}) == (None, [])


def test_if_nobody_can_say_how_many_parts_there_are_it_ends_with_those_that_are_there() -> None:
    machine = Machine(
        join(
            parts=(Part("list", "list"), Part("item", "item", each=lambda value: value["n"])),
            expects=lambda parts, _: None,
            expiry=Expiry("tick", after_s=DAY.total_seconds()),
        )
    )
    machine.feed(part("item", 3))
    (emit,) = ticks(machine, NOON + DAY)
    assert (emit.value["parts"], emit.value["failed"]) == ({"item/3": 3}, ["list"])


def test_without_an_expiry_nothing_is_ever_due() -> None:
    machine = Machine()
    machine.feed(*ALL)
    assert list(machine.join.due(machine.table.items(), NOON + 1000 * DAY)) == []


ends = st.fixed_dictionaries({name: st.booleans() for name in STAGES})


@st.composite
def shuffled(draw: st.DrawFn, events: Iterable[Event]) -> list[Event]:
    """In any order, some several times."""
    listed = list(events)
    return draw(st.permutations([*listed, *draw(st.lists(st.sampled_from(listed), max_size=5))]))


def as_events(good: Mapping[str, bool]) -> list[Event]:
    return [part(name) if is_good else failed(name) for name, is_good in good.items()]


@given(ends, st.data())
def test_order_and_repetition_change_nothing(good: Mapping[str, bool], data: Any) -> None:
    straight, other = Machine(), Machine()
    straight.feed(*as_events(good))
    other.feed(*data.draw(shuffled(as_events(good))))
    assert other.said() == straight.said()
    assert len(straight.said()) == 1


@given(ends, st.data())
def test_a_replay_from_any_point_onto_the_final_state_changes_nothing(
    good: Mapping[str, bool], data: Any
) -> None:
    late = [part(name) for name, is_good in good.items() if not is_good]
    events = [*data.draw(shuffled(as_events(good))), *late]
    machine = Machine()
    machine.feed(*events)
    said, table = machine.said(), copy.deepcopy(machine.table)
    machine.feed(*events[data.draw(st.integers(0, len(events))) :])
    assert (machine.said(), machine.table) == (said, table)


@given(ends, st.data())
def test_once_all_late_parts_have_come_the_last_outcome_is_whole(
    good: Mapping[str, bool], data: Any
) -> None:
    late = [part(name) for name, is_good in good.items() if not is_good]
    machine = Machine()
    machine.feed(*as_events(good))
    if late:
        machine.feed(*data.draw(shuffled(late)))
    revisions = {value["revision"]: value["failed"] for value in machine.outcomes()}
    assert sorted(revisions) == list(range(1, len(late) + 2))
    assert revisions[len(late) + 1] == []


@given(st.lists(st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.sampled_from(ALL)), max_size=40))
def test_whatever_comes_a_key_has_at_most_one_outcome_and_it_has_all_parts(
    arrivals: list[tuple[str, Event]],
) -> None:
    machine = Machine()
    for key, event in arrivals:
        machine.feed(event, key=key)
    seen: dict[str, set[str]] = {}
    for key, (topic, _) in arrivals:
        seen.setdefault(key, set()).add(topic)
    whole = {key for key, topics in seen.items() if topics == set(STAGES)}
    assert {key for _, key, _ in machine.said().values()} == whole
    assert len(machine.said()) == len(whole)
