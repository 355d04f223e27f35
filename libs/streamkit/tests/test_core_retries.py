"""What becomes of records that fail: retry tiers, dead letters, waiting for what is away."""

import pytest

from scripted_stage import DONE, LANES, SERVICE, ScriptedStage, done
from streamkit.errors import Busy, DeadlineExceeded, OutOfMemory, Reject, Retry
from streamkit.memory.broker import MemoryBroker
from streamkit.messages import Emit, Events, Failure, Message
from streamkit.policy import Policy
from streamkit.records import Partition, RawRecord, Taken
from streamkit.settle import HandlerDefectError
from streamkit.testing.clock import EPOCH

HOUR = 3600.0
LATE_S = 1.0
JITTER = 0.1


@pytest.fixture
def stage() -> ScriptedStage:
    """A service whose workers have started."""
    stage = ScriptedStage()
    stage.kit.advance(1)
    return stage


# -- retry tiers ----------------------------------------------------------------------------------


def test_a_record_that_fails_is_tried_again_by_its_tiers_and_late_by_a_second_at_most(
    stage: ScriptedStage,
) -> None:
    stage.script.does("flaky", Retry("not yet"))
    stage.say("flaky")
    stage.kit.advance(400)
    first, *later = stage.times("flaky")
    waits = [b - a for a, b in zip([first, *later], later, strict=False)]
    assert len(waits) == 3
    for wait, tier in zip(waits, (5, 30, 300), strict=True):
        assert tier <= wait <= tier * (1 + JITTER) + LATE_S
    assert stage.attempts("flaky") == [1, 2, 3, 4]


def test_a_record_that_succeeds_on_a_later_attempt_is_no_dead_letter(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=2)
    stage.say("flaky")
    stage.kit.advance(60)
    assert stage.done() == ["flaky"]
    assert stage.kit.dead_letters() == []
    assert stage.unread() == 0


def test_a_record_comes_back_as_it_first_was(stage: ScriptedStage) -> None:
    stage.kit.advance(10)
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.kit.produce("said.high", "key", {"text": "flaky"}, headers={"mine": "kept"})
    stage.kit.advance(10)
    first, second = [call.message for call in stage.script.calls]
    assert (second.topic, second.lane, second.key) == ("said.high", "high", "key")
    assert (second.partition, second.offset) == (first.partition, first.offset)
    assert second.timestamp_ms == first.timestamp_ms
    assert second.headers == first.headers
    assert second.headers["mine"] == "kept"


def test_the_jitter_spreads_what_failed_together(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=1)
    texts = [f"flaky {number}" for number in range(20)]
    stage.pile_up(*texts)
    stage.kit.advance(10)
    comings = [round(stage.times(text)[1], 2) for text in texts]
    assert len(set(comings)) > 10
    assert sorted(stage.done()) == sorted(texts)


def test_attempts_are_counted_over_all_causes(stage: ScriptedStage) -> None:
    causes = [Retry("one"), DeadlineExceeded("two"), OutOfMemory("three"), Retry("four")]

    def fail(message: Message) -> Events:
        raise causes[message.attempt - 1]

    stage.script.does("unlucky", fail)
    stage.say("unlucky")
    stage.kit.advance(400)
    assert stage.attempts("unlucky") == [1, 2, 3, 4]
    assert [letter.attempts for letter in stage.kit.dead_letters()] == [4]


def test_the_dead_letter_of_a_record_that_always_took_too_long_says_so(
    stage: ScriptedStage,
) -> None:
    stage.script.does("slow", DeadlineExceeded("It took longer than 60 s."))
    stage.say("slow")
    stage.kit.advance(400)
    (letter,) = stage.kit.dead_letters()
    assert (letter.code, letter.message) == ("deadline", "It took longer than 60 s.")


def test_without_tiers_the_first_failure_is_the_last() -> None:
    stage = ScriptedStage(policy=Policy(retry_tiers=()))
    stage.script.does("flaky", Retry("no"))
    stage.say("flaky")
    stage.kit.advance(1)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["gave_up"]
    assert stage.unread() == 0


def test_a_retry_waits_for_its_time_over_a_restart(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("flaky")
    stage.kit.advance(1)
    stage.worker.kill()
    stage.kit.add(stage.job)
    stage.kit.advance(25)
    assert stage.done() == ["flaky"]
    wait = stage.times("flaky")[1] - stage.times("flaky")[0]
    assert 5 <= wait <= 5.5 + 10 + LATE_S  # a session of ten seconds has to end first


def test_high_records_do_not_wait_behind_retries_of_others(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.pile_up(*(f"flaky {number}" for number in range(300)))
    stage.say("flaky high", lane="high")
    stage.kit.advance(7)
    first, second = stage.times("flaky high")
    assert second - first <= 5.5 + LATE_S


def test_what_is_not_due_is_not_read_ahead_without_bound(
    stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.script.does("flaky", Retry("not yet"), times=2)
    texts = [f"flaky {number}" for number in range(1500)]
    stage.pile_up(*texts)
    broker, topic = stage.kit.world.broker, f"darkroom.{SERVICE}.retry-30s.bulk"
    read: list[int] = []

    def spy(partition: Partition, offset: int, most: int) -> list[Taken]:
        records = MemoryBroker.read(broker, partition, offset, most)
        if partition.topic == topic:
            read.append(len(records))
        return records

    monkeypatch.setattr(broker, "read", spy)
    stage.kit.advance(20)
    assert len(broker.records(topic)) == 1500
    assert sum(read) <= 2 * (64 + 64), "64 of each partition, and what one fetch brings"
    stage.kit.advance(60)
    assert sorted(stage.done()) == sorted(texts)


def test_records_that_wait_for_long_do_not_make_those_late_that_wait_for_less(
    stage: ScriptedStage,
) -> None:
    stage.say("pattern")
    (pattern,) = stage.kit.world.broker.records("said.batch")
    stage.script.does("flaky", Retry("not yet"), times=1)
    for tier, wait_s in (("5m", 300), ("30s", 30)):
        due = str(int(1000 * (EPOCH + stage.now + wait_s))).encode()
        for lane, name in (("batch", "bulk"), ("high", "high")):
            headers = {
                **GOOD,
                "rt_due": due,
                "rt_lane": lane.encode(),
                "rt_topic": f"said.{lane}".encode(),
            }
            topic = f"darkroom.{SERVICE}.retry-{tier}.{name}"
            for number in range(1500):
                stage.kit.world.broker.append(
                    RawRecord(topic, str(number).encode(), pattern.value, [*headers.items()])
                )
    stage.kit.advance(1)
    stage.say("flaky 1")
    stage.say("flaky 2", lane="high")
    stage.kit.advance(7)
    for text in ("flaky 1", "flaky 2"):
        first, second = stage.times(text)
        assert 5 <= second - first <= 5 * (1 + JITTER) + LATE_S


# -- dead letters ---------------------------------------------------------------------------------


def test_a_rejected_record_goes_to_the_dead_letters_at_once(stage: ScriptedStage) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad")
    (letter,) = stage.kit.dead_letters()
    assert (letter.code, letter.message) == ("too_dark", "There is nothing to see.")
    assert (letter.attempts, letter.key) == (1, "bad")
    assert stage.attempts("bad") == [1]


def test_a_dead_letter_is_the_record_byte_for_byte(stage: ScriptedStage) -> None:
    stage.kit.produce_raw("said.batch", b"\xff\x00", b"\xfe rubbish", [("odd", b"\x80")])
    (raw,) = stage.kit.world.broker.records(f"darkroom.{SERVICE}.dlq")
    assert (raw.key, raw.value) == (b"\xff\x00", b"\xfe rubbish")
    assert ("odd", b"\x80") in raw.headers


def test_a_dead_letter_says_where_from_and_why(stage: ScriptedStage) -> None:
    stage.kit.advance(9)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad")
    headers = stage.kit.dead_letters()[0].headers
    place = stage.script.calls[0].message
    assert headers["dl_topic"] == "said.batch"
    assert headers["dl_partition"] == str(place.partition)
    assert headers["dl_offset"] == str(place.offset)
    assert headers["dl_timestamp"] == str(place.timestamp_ms)
    assert headers["dl_lane"] == "batch"
    assert (headers["dl_service"], headers["dl_version"]) == (SERVICE, "1")
    assert headers["dl_time"] == "2026-01-01T00:00:10.000+00:00"


def test_what_a_service_says_of_a_record_it_gives_up_comes_with_the_dead_letter(
    stage: ScriptedStage,
) -> None:
    stage.kit.world.broker.down = True
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.kit.world.broker.down = False
    stage.say("bad")
    assert stage.given_up() == ["bad: too_dark"]
    assert stage.kit.outputs("given-up")[0].id == "given-up-bad"


def test_a_record_is_committed_after_its_dead_letter_only(stage: ScriptedStage) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    broker = stage.kit.world.broker
    broker.refused.add(f"darkroom.{SERVICE}.dlq")
    broker.refused.clear()
    broker.drop_acks = True
    stage.say("bad")
    stage.kit.advance(3)
    assert stage.unread() == 1
    broker.drop_acks = False
    stage.kit.advance(40)
    assert stage.unread() == 0


def test_a_record_that_cannot_be_decoded_is_a_dead_letter_without_words(
    stage: ScriptedStage,
) -> None:
    stage.kit.produce_raw("said.batch", b"key", b"no avro")
    (letter,) = stage.kit.dead_letters()
    assert letter.value == b"no avro"
    assert letter.attempts == 1
    assert stage.given_up() == []
    assert stage.script.calls == []
    stage.kit.advance(2)
    assert stage.unread() == 0


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"\x00\x00\x00\x00\x09\x00"])
def test_odd_values_are_dead_letters(stage: ScriptedStage, value: bytes | None) -> None:
    stage.kit.produce_raw("said.batch", b"key", value)
    assert [letter.value for letter in stage.kit.dead_letters()] == [value]


def test_an_exception_that_is_no_instruction_ends_the_worker(stage: ScriptedStage) -> None:
    stage.script.does("bug", ZeroDivisionError("in the handler"))
    with pytest.raises(
        HandlerDefectError, match=r"said\.batch.*\n.*Traceback(.|\n)*in the handler"
    ):
        stage.say("bug")
    assert stage.unread() == 1


def test_an_exception_while_giving_up_ends_the_worker(stage: ScriptedStage) -> None:
    def forget(_message: Message, _failure: Failure) -> Events:
        raise ZeroDivisionError("in the last words")

    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.words = forget
    with pytest.raises(HandlerDefectError, match="in the last words"):
        stage.say("bad")
    assert stage.kit.dead_letters() == []


def test_giving_up_waits_for_what_it_needs(stage: ScriptedStage) -> None:
    away = True

    def look_up(message: Message, _failure: Failure) -> Events:
        if away:
            raise Busy("no answer", dependency="catalog")
        return [Emit("given-up", message.key, {"text": "at last"}, "id")]

    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.words = look_up
    stage.say("bad")
    stage.kit.advance(10)
    assert stage.kit.dead_letters() == []
    assert [notice.value["subject"] for notice in stage.kit.notices()] == ["catalog"]
    away = False
    stage.kit.advance(31)
    assert stage.given_up() == ["at last"]
    assert len(stage.kit.dead_letters()) == 1


def test_giving_up_waits_for_a_dependency_that_fails_again_and_again(
    stage: ScriptedStage,
) -> None:
    away = True

    def look_up(message: Message, _failure: Failure) -> Events:
        if away:
            raise Retry("timed out", dependency="catalog")
        return [Emit("given-up", message.key, {"text": "at last"}, "id")]

    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.words = look_up
    stage.say("bad")
    stage.kit.advance(10)
    assert stage.kit.dead_letters() == []
    away = False
    stage.kit.advance(31)
    assert stage.given_up() == ["at last"]


def test_last_words_that_fail_are_asked_for_again(stage: ScriptedStage) -> None:
    asked: list[int] = []

    def fail_once(message: Message, _failure: Failure) -> Events:
        asked.append(message.attempt)
        if len(asked) == 1:
            raise Retry("not yet")
        return [Emit("given-up", message.key, {"text": "at last"}, "id")]

    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.words = fail_once
    stage.say("bad")
    stage.kit.advance(1)
    assert stage.given_up() == ["at last"]
    assert len(asked) == 2
    assert len(stage.kit.dead_letters()) == 1


def test_a_record_that_finds_its_dependency_away_each_time_does_not_hold_up_all_others(
    stage: ScriptedStage,
) -> None:
    stage.script.does("odd", Busy("no answer", dependency="catalog"))
    stage.say("odd")
    stage.say(*(f"said {number}" for number in range(20)))
    stage.kit.advance(60)
    assert sorted(stage.done()) == sorted(f"said {number}" for number in range(20))


@pytest.mark.parametrize(
    "instruction",
    [Reject("no", "No."), Retry("later"), DeadlineExceeded("slow"), OutOfMemory("large")],
)
def test_a_record_is_buried_without_words_if_they_fail(
    stage: ScriptedStage, instruction: Exception
) -> None:
    def fail(_message: Message, _failure: Failure) -> Events:
        raise instruction

    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.words = fail
    stage.say("bad")
    assert [letter.code for letter in stage.kit.dead_letters()] == ["too_dark"]
    assert stage.given_up() == []


# -- waiting for what is away ---------------------------------------------------------------------


def test_busy_waits_without_counting_and_tells_once(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    texts = [f"said {number}" for number in range(50)]
    stage.pile_up(*texts)
    stage.kit.advance(60)
    assert stage.done() == []
    assert len(stage.script.calls) < 50, "the breaker keeps records from being tried in vain"
    stage.script.forgets("said")
    stage.kit.advance(31)
    assert sorted(stage.done()) == sorted(texts)
    assert {call.message.attempt for call in stage.script.calls} == {1}
    assert stage.kit.dead_letters() == []
    (notice,) = stage.kit.notices()
    assert notice.value["kind"] == "dependency_away"
    assert (notice.value["service"], notice.value["subject"]) == (SERVICE, "catalog")


def test_a_dependency_that_fails_for_a_minute_burns_no_attempts(stage: ScriptedStage) -> None:
    stage.script.does("said", Retry("timed out", dependency="store"))
    texts = [f"said {number}" for number in range(200)]
    stage.pile_up(*texts[:100])
    for number in range(100, 160):
        stage.say(texts[number], lane="high" if number % 2 else "batch")
        stage.kit.advance(1)
    stage.script.forgets("said")
    stage.say(*texts[160:])
    stage.kit.advance(60)
    assert sorted(stage.done()) == sorted(texts)
    assert stage.kit.dead_letters() == []
    assert [one.value["subject"] for one in stage.kit.notices()] == ["store"]
    assert max(call.message.attempt for call in stage.script.calls) == 2
    burnt = {call.text for call in stage.script.calls if call.message.attempt > 1}
    assert len(burnt) < 5, "only those that opened the breaker"


def kinds_told(stage: ScriptedStage) -> list[str]:
    """Kinds of the notices."""
    return [one.value["kind"] for one in stage.kit.notices()]


def test_a_dependency_that_fails_some_records_only_does_not_hold_up_others(
    stage: ScriptedStage,
) -> None:
    stage.script.does("odd", Retry("timed out", dependency="store"))
    for number in range(20):
        stage.say(f"odd {number}", f"even {number}")
    assert len(stage.done()) == 20
    assert stage.kit.notices() == []


def test_two_things_that_are_away_are_told_of_once_each(stage: ScriptedStage) -> None:
    stage.script.does("first", Busy("no answer", dependency="catalog"))
    stage.script.does("second", Busy("no answer", dependency="store"))
    stage.pile_up(*(f"{word} {number}" for number in range(10) for word in ("first", "second")))
    stage.kit.advance(120)
    stage.script.forgets("first")
    stage.kit.advance(120)
    stage.script.forgets("second")
    stage.kit.advance(120)
    assert len(stage.done()) == 20
    assert sorted(one.value["subject"] for one in stage.kit.notices()) == ["catalog", "store"]


def test_a_bad_record_does_not_prove_that_what_was_away_is_back(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.pile_up("said 1", *(f"bad {number}" for number in range(5)), "said 2")
    stage.kit.advance(60)
    stage.script.forgets("said")
    stage.kit.advance(60)
    assert sorted(kinds_told(stage)) == ["dependency_away", "first_dead_letter"]
    assert sorted(stage.done()) == ["said 1", "said 2"]
    assert len(stage.kit.dead_letters()) == 5


def test_records_that_waited_go_together_but_for_those_that_are_given_up(
    stage: ScriptedStage,
) -> None:
    stage.pile_up(*(f"before {number}" for number in range(100)))
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.does("said", Busy("no answer", dependency="catalog"), times=1)
    stage.pile_up("bad 1", *(f"said {number}" for number in range(10)), "bad 2")
    stage.kit.advance(5)
    assert sorted(stage.given_up()) == ["bad 1: too_dark", "bad 2: too_dark"]
    assert len(stage.done()) == 110


def test_a_surge_of_dead_letters_stops_the_service_which_tries_again_later(
    stage: ScriptedStage,
) -> None:
    stage.script.does("said", Reject("broken", "The model is broken."))
    texts = [f"said {number}" for number in range(500)]
    stage.pile_up(*texts)
    stage.kit.advance(60)
    spoilt = len(stage.kit.dead_letters())
    assert 50 <= spoilt < 350, "what one chunk holds, and a few probes"
    assert sorted(kinds_told(stage)) == ["dead_letter_surge", "first_dead_letter"]
    stage.kit.advance(300)
    assert len(stage.kit.dead_letters()) - spoilt <= 12, "a probe every half minute"
    stage.script.forgets("said")
    stage.kit.advance(60)
    assert len(stage.done()) + len(stage.kit.dead_letters()) == 500
    assert len(stage.kit.notices()) == 2


def test_retries_do_not_hide_a_surge_of_dead_letters() -> None:
    stage = ScriptedStage(policy=Policy(retry_tiers=("1s",)))
    stage.script.does("said", Retry("always"))
    stage.pile_up(*(f"said {number}" for number in range(60)))
    stage.kit.advance(10)
    assert sorted(kinds_told(stage)) == ["dead_letter_surge", "first_dead_letter"]


def test_a_few_dead_letters_among_many_records_stop_nothing(stage: ScriptedStage) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    for number in range(100):
        stage.say(f"bad {number}", f"good {number}", f"fine {number}")
    assert len(stage.kit.dead_letters()) == 100
    assert kinds_told(stage) == ["first_dead_letter"]


# -- headers that nobody of ours wrote ------------------------------------------------------------

GOOD = {
    "rt_topic": b"said.batch",
    "rt_partition": b"1",
    "rt_offset": b"7",
    "rt_timestamp": b"1767225600000",
    "rt_lane": b"batch",
    "rt_attempt": b"2",
    "rt_due": str(int(EPOCH * 1000) + 5000).encode(),
}


@pytest.mark.parametrize(
    "change",
    [
        {"rt_topic": b"elsewhere"},
        {"rt_topic": b"said.high"},
        {"rt_attempt": b"-1"},
        {"rt_attempt": b"1000000"},
        {"rt_offset": b"\xff"},
        {"rt_due": b"x"},
        {"rt_due": b""},
    ],
)
def test_rubbish_in_a_retry_topic_is_a_dead_letter(
    stage: ScriptedStage, change: dict[str, bytes]
) -> None:
    topic = f"darkroom.{SERVICE}.retry-5s.bulk"
    stage.kit.produce_raw(topic, b"key", b"value", list({**GOOD, **change}.items()))
    stage.kit.advance(20)
    (letter,) = stage.kit.dead_letters()
    assert (letter.code, letter.value) == ("bad_retry_headers", b"value")
    first = {**GOOD, **change}
    known = first["rt_offset"] != b"\xff"
    assert letter.topic == (first["rt_topic"].decode() if known else topic)
    committed = stage.kit.world.broker.committed(f"darkroom.{SERVICE}.retry")
    assert sum(committed.get(Partition(topic, number), 0) for number in range(2)) == 1


def test_headers_of_retries_mean_nothing_on_other_topics(stage: ScriptedStage) -> None:
    headers = {"rt_attempt": "4", "rt_lane": "high", "rt_topic": "said.high"}
    stage.script.does("flaky", Retry("not yet"))
    stage.kit.produce("said.batch", "key", {"text": "flaky"}, headers=headers)
    stage.kit.advance(400)
    assert stage.attempts("flaky") == [1, 2, 3, 4]
    assert {call.message.lane for call in stage.script.calls} == {"batch"}


def test_a_record_written_for_a_retry_by_hand_is_worked_on(stage: ScriptedStage) -> None:
    value = stage.kit.world.broker
    stage.say("hand")
    original = value.records("said.batch")[0]
    topic = f"darkroom.{SERVICE}.retry-5s.bulk"
    value.append(RawRecord(topic, original.key, original.value, list(GOOD.items())))
    stage.kit.advance(10)
    second = stage.script.calls[1].message
    assert (second.attempt, second.partition, second.offset) == (2, 1, 7)
    assert stage.times("hand")[1] >= 5.0


# -- what a record that kills its engine costs ----------------------------------------------------


def test_lanes_keep_their_names_through_retries() -> None:
    stage = ScriptedStage(lanes=LANES)
    stage.script.does("flaky", Retry("not yet"), times=3)
    stage.say("flaky", lane="high")
    stage.kit.advance(400)
    assert {call.message.lane for call in stage.script.calls} == {"high"}
    assert [event.topic for event in stage.kit.outputs(DONE)] == [DONE]
    assert done(stage.script.calls[0].message)[0].topic == DONE


def test_many_records_that_fail_each_get_all_their_attempts(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=3)
    texts = [f"flaky {number}" for number in range(40)]
    stage.pile_up(*texts)
    stage.kit.advance(HOUR / 4)
    assert sorted(stage.done()) == sorted(texts)
    assert all(stage.attempts(text) == [1, 2, 3, 4] for text in texts)
    assert stage.unread() == 0
