"""Records that are themselves at fault, and words that go astray, hold nobody up and end."""

from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from scripted_stage import GIVEN_UP, ScriptedStage
from streamkit.engine.direct import EngineDies
from streamkit.errors import Busy, Reject, Retry
from streamkit.messages import Emit, Events, Failure, Message
from streamkit.ports import Delivery
from streamkit.publishing import PublishError
from streamkit.records import RawRecord

HOUR = 3600.0


@pytest.fixture
def stage() -> ScriptedStage:
    """A service whose workers have started."""
    stage = ScriptedStage()
    stage.kit.advance(1)
    return stage


def test_records_that_blame_a_dependency_hold_nobody_up_and_end_as_dead_letters(
    stage: ScriptedStage,
) -> None:
    stage.script.does("bad", Retry("their own bucket is away", dependency="objects"))
    stage.pile_up(*(f"bad {n}" for n in range(6)), *(f"good {n}" for n in range(100)))
    stage.kit.advance(60)
    assert len(stage.done()) == 100
    for minute in range(40):
        stage.say(f"good at {minute}")
        stage.kit.advance(60)
    assert len(stage.kit.dead_letters()) == 6
    assert len(stage.done()) == 140
    assert stage.unread() == 0


def test_an_outage_of_hours_gives_nobody_up(stage: ScriptedStage) -> None:
    stage.script.does("said", Retry("no answer", dependency="objects"))
    stage.pile_up(*(f"said {n}" for n in range(6)))
    stage.kit.advance(4 * HOUR)
    stage.script.forgets("said")
    stage.kit.advance(HOUR)
    assert len(stage.done()) == 6
    assert stage.kit.dead_letters() == []
    assert len(stage.kit.notices()) == 1


def test_a_single_record_of_a_quiet_lane_does_not_burn_its_attempts_either(
    stage: ScriptedStage,
) -> None:
    stage.script.does("said", Retry("no answer", dependency="objects"))
    stage.say("said")
    stage.kit.advance(HOUR)
    stage.script.forgets("said")
    stage.kit.advance(60)
    assert stage.done() == ["said"]
    assert len(stage.kit.notices()) == 1


def test_a_probe_that_fails_lets_another_record_be_the_next(stage: ScriptedStage) -> None:
    stage.script.does("bad", Busy("only for this one", dependency="objects"))
    stage.pile_up("bad", "good")
    stage.kit.advance(10)
    assert stage.done() == ["good"]


def test_events_that_can_never_be_published_end_in_the_dead_letters_and_hold_nobody_up(
    stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unpublishable(stage, monkeypatch, "done-bad")
    stage.pile_up("bad", *(f"good {n}" for n in range(50)))
    stage.kit.advance(120)
    assert len(stage.done()) == 50
    stage.kit.advance(HOUR)
    (letter,) = stage.kit.dead_letters()
    assert letter.code == "unpublishable"
    assert stage.unread() == 0


def test_a_dead_letter_goes_alone_where_the_words_beside_it_can_never_be_published(
    stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unpublishable(stage, monkeypatch, "given-up-bad")
    stage.script.does("bad", Reject("no", "No."))
    stage.say("bad")
    for minute in range(10):
        stage.say(f"good {minute}")
        stage.kit.advance(60)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["no"]
    assert stage.kit.outputs(GIVEN_UP) == []
    assert stage.unread() == 0


def _unpublishable(stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch, event_id: str) -> None:
    """Have the broker acknowledge nothing that has this event in it."""
    producer = stage.worker._producer
    refused: list[Delivery] = []
    send, poll = producer.send, producer.poll

    def sent(ticket: int, records: Sequence[RawRecord], *, urgent: bool = False) -> None:
        if any(("ce_id", event_id.encode()) in record.headers for record in records):
            refused.append(Delivery(ticket, PublishError("no leader"), 0))
        else:
            send(ticket, records, urgent=urgent)

    def polled(timeout_s: float) -> list[Delivery]:
        found, refused[:] = [*refused, *poll(timeout_s)], []
        return found

    monkeypatch.setattr(producer, "send", sent)
    monkeypatch.setattr(producer, "poll", polled)


@pytest.mark.parametrize("trouble", [EngineDies(), Retry("not now"), Busy("away")])
def test_last_words_are_asked_for_again_where_something_went_wrong(
    stage: ScriptedStage, trouble: BaseException
) -> None:
    asked: list[str] = []

    def words(message: Message, failure: Failure) -> Events:
        asked.append(failure.code)
        if len(asked) == 1:
            raise trouble
        return [Emit(GIVEN_UP, message.key, {"text": failure.code}, "words")]

    stage.script.words = words
    stage.script.does("bad", Reject("no", "No."))
    stage.say("bad")
    stage.kit.advance(60)
    assert asked == ["no", "no"]
    assert [event.value["text"] for event in stage.kit.outputs(GIVEN_UP)] == ["no"]
    assert len(stage.kit.dead_letters()) == 1


def test_words_that_never_come_are_not_waited_for_for_ever(stage: ScriptedStage) -> None:
    def words(_message: Message, _failure: Failure) -> Events:
        raise Retry("never")

    stage.script.words = words
    stage.script.does("bad", Reject("no", "No."))
    stage.say("bad")
    stage.kit.advance(60)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["no"]
    assert stage.kit.outputs(GIVEN_UP) == []


def test_an_exception_handed_to_an_instruction_instead_of_its_text_stops_no_worker(
    stage: ScriptedStage,
) -> None:
    odd = ValueError("odd")
    stage.script.does("bad", Reject(404, odd))  # type: ignore[arg-type]
    stage.say("bad", "good")
    (letter,) = stage.kit.dead_letters()
    assert (letter.code, letter.message) == ("404", "odd")
    assert stage.done() == ["good"]


def test_half_characters_in_a_reason_stop_no_worker(stage: ScriptedStage) -> None:
    stage.script.does("bad", Busy("cannot read \udcff.jpg", dependency="folder \udcff"), times=1)
    stage.say("bad")
    stage.kit.advance(5)
    assert stage.done() == ["bad"]
    (notice,) = stage.kit.notices()
    assert notice.value["subject"] == "folder ?"


def test_an_engine_that_dies_by_itself_is_counted(stage: ScriptedStage) -> None:
    labels = {"stage": "stage", "engine": "bulk", "why": "died"}
    before = REGISTRY.get_sample_value("darkroom_engine_restarts_total", labels) or 0.0
    stage.script.does("bad", EngineDies(), times=1)
    stage.say("bad")
    stage.kit.advance(30)
    after = REGISTRY.get_sample_value("darkroom_engine_restarts_total", labels)
    assert after == before + 1


def test_a_dead_letters_log_line_says_which_record_it_is(stage: ScriptedStage) -> None:
    stage.script.does("bad", Reject("no", "No."))
    with capture_logs() as logs:
        stage.say("bad")
    (line,) = [line for line in logs if line["event"] == "dead_letter"]
    assert (line["topic"], line["offset"], line["key"]) == ("said.batch", 0, "bad")
    assert len(line["trace_id"]) == 32
