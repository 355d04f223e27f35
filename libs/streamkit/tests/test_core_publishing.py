"""What a record causes is with the broker before it is acknowledged, whatever goes wrong."""

from collections import Counter
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from scripted_stage import DONE, GIVEN_UP, SERVICE, ScriptedStage, done
from streamkit.errors import Busy, Reject, Retry
from streamkit.events import Delivered, Lost
from streamkit.memory.producer import MemoryProducer
from streamkit.messages import Emit, Events, Message
from streamkit.policy import Policy
from streamkit.ports import Delivery
from streamkit.publishing import ProducerLostError, PublishError
from streamkit.records import RawRecord

DLQ = f"darkroom.{SERVICE}.dlq"
NOTICES = "ops.notified.v1"


@pytest.fixture
def stage() -> ScriptedStage:
    """A service whose worker has started."""
    stage = ScriptedStage()
    stage.kit.advance(1)
    return stage


def silent(_message: Message) -> Events:
    """Say nothing."""
    return ()


def numbered(word: str, count: int) -> list[str]:
    """So many texts that begin with a word."""
    return [f"{word} {number}" for number in range(count)]


# -- acknowledgement ------------------------------------------------------------------------------


def test_a_record_is_committed_after_the_broker_has_its_events_and_not_before(
    stage: ScriptedStage,
) -> None:
    stage.kit.world.broker.drop_acks = True
    stage.say("said")
    stage.kit.advance(20)
    assert set(stage.done()) == {"said"}
    assert stage.unread() == 1
    stage.kit.world.broker.drop_acks = False
    stage.kit.advance(31)
    assert stage.unread() == 0


def test_a_record_without_events_is_acknowledged_at_once(stage: ScriptedStage) -> None:
    stage.script.does("quiet", silent)
    stage.say("quiet")
    stage.kit.advance(1)
    assert stage.unread() == 0
    assert stage.kit.outputs(DONE) == []


def test_events_carry_the_trace_of_their_record(stage: ScriptedStage) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    stage.kit.produce("said.batch", "key", {"text": "said"}, headers={"traceparent": trace})
    (event,) = stage.kit.outputs(DONE)
    assert event.headers["traceparent"][3:35] == trace[3:35]
    assert event.id == "done-said"


def test_what_is_sent_while_the_broker_is_away_is_there_when_it_returns(
    stage: ScriptedStage,
) -> None:
    stage.freeze()
    stage.say(*numbered("said", 20))
    for worker in stage.kit.workers:
        worker.frozen = False
    stage.kit.world.step()
    stage.kit.world.broker.down = True
    stage.kit.advance(20)
    stage.kit.world.broker.down = False
    stage.kit.advance(5)
    assert Counter(stage.done()) == Counter(numbered("said", 20))
    assert stage.kit.notices() == []


# -- a broker that does not acknowledge -----------------------------------------------------------


def test_events_are_sent_three_times_within_a_second_then_the_record_is_tried_again(
    stage: ScriptedStage,
) -> None:
    sent: list[int] = []

    def count(message: Message) -> Events:
        sent.append(len(stage.done()))
        return done(message)

    stage.script.does("said", count)
    stage.kit.world.broker.drop_acks = True
    stage.say("said")
    stage.kit.advance(0.99)
    assert len(stage.done()) == 3
    stage.kit.advance(2)
    assert sent == [0, 3]
    assert stage.attempts("said") == [1, 1], "the record is not to blame"


def test_a_broker_that_is_away_for_long_is_told_of_once_and_work_waits(
    stage: ScriptedStage,
) -> None:
    stage.kit.world.broker.drop_acks = True
    texts = numbered("said", 100)
    stage.pile_up(*texts)
    stage.kit.advance(600)
    assert len(stage.script.calls) < 100 + 150, "a probe every five seconds"
    stage.kit.world.broker.drop_acks = False
    stage.kit.advance(60)
    assert set(stage.done()) == set(texts)
    assert {notice.id for notice in stage.kit.notices()} == {stage.kit.notices()[0].id}
    assert stage.kit.notices()[0].value["subject"] == "kafka"
    assert stage.kit.dead_letters() == []
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_work_that_publishes_nothing_goes_on_without_the_broker(stage: ScriptedStage) -> None:
    stage.script.does("quiet", silent)
    stage.kit.world.broker.drop_acks = True
    stage.say("said")
    stage.kit.advance(2)
    stage.say(*numbered("quiet", 50), lane="high")
    stage.kit.advance(10)
    assert len({call.text for call in stage.script.calls}) == 51


def test_a_broker_that_is_down_loses_nothing(stage: ScriptedStage) -> None:
    texts = numbered("said", 50)
    stage.freeze()
    stage.say(*texts)
    for worker in stage.kit.workers:
        worker.frozen = False
    stage.kit.world.step()
    stage.kit.world.broker.down = True
    stage.kit.advance(300)
    stage.kit.world.broker.down = False
    stage.kit.advance(60)
    assert set(stage.done()) == set(texts)
    assert stage.unread() == 0


def test_a_retry_that_cannot_be_published_is_never_lost(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.kit.world.broker.drop_acks = True
    stage.say("flaky")
    stage.kit.advance(4)
    assert stage.unread() == 1
    stage.worker.kill()
    stage.kit.world.broker.drop_acks = False
    stage.kit.add(stage.job)
    stage.kit.advance(60)
    assert set(stage.done()) == {"flaky"}
    assert stage.unread() == 0


def test_a_retry_is_sent_until_the_broker_takes_it(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.kit.world.broker.drop_acks = True
    stage.say("flaky")
    stage.kit.advance(60)
    calls = len(stage.times("flaky"))
    stage.kit.world.broker.drop_acks = False
    stage.kit.advance(60)
    assert calls == 1 + len([at for at in stage.times("flaky") if 5 < at <= 61])
    assert "flaky" in stage.done()
    assert stage.unread() == 0


def test_a_dead_letter_and_its_words_are_sent_until_the_broker_takes_them(
    stage: ScriptedStage,
) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.kit.world.broker.drop_acks = True
    stage.say("bad")
    stage.kit.advance(60)
    assert stage.unread() == 1
    stage.kit.world.broker.drop_acks = False
    stage.kit.advance(40)
    assert stage.unread() == 0
    assert len(stage.given_up()) == len(stage.kit.dead_letters()) > 1
    assert stage.attempts("bad") == [1]


def test_a_partition_that_is_lost_while_its_events_are_sent_again_is_worked_on_anew(
    stage: ScriptedStage,
) -> None:
    stage.kit.world.broker.drop_acks = True
    stage.say("said")
    stage.kit.advance(0.1)
    stage.kit.world.broker.expel_all()
    stage.kit.advance(1)
    stage.kit.world.broker.drop_acks = False
    stage.kit.advance(40)
    assert len(stage.script.calls) >= 2
    assert stage.unread() == 0


def test_a_partition_that_is_lost_before_its_events_were_refused_is_no_matter(
    stage: ScriptedStage,
) -> None:
    stage.freeze()
    stage.say("said")
    stage.worker.frozen = False
    stage.kit.world.step()
    stage.kit.world.broker.down = True
    stage.kit.advance(1)
    places = stage.worker.core.partitions()["batch"]
    stage.worker.post(Lost("batch", places))
    stage.kit.advance(40)
    stage.kit.world.broker.down = False
    stage.worker.kill()
    stage.kit.add(stage.job)
    stage.kit.advance(20)
    assert set(stage.done()) == {"said"}
    assert stage.unread() == 0


def test_a_producer_that_is_lost_ends_the_worker(stage: ScriptedStage) -> None:
    stage.worker.post(Delivered([Delivery(1, ProducerLostError("fenced"), 0)]))
    with pytest.raises(ProducerLostError, match="fenced"):
        stage.kit.world.settle()


def test_a_worker_whose_producer_is_lost_leaves(stage: ScriptedStage) -> None:
    lost = Delivered([Delivery(1, ProducerLostError("fenced"), 0)])
    stage.worker.post(lost)
    with pytest.raises(ProducerLostError):
        stage.kit.world.settle()
    stage.worker.leave()
    stage.worker.post(lost)
    stage.kit.advance(1)
    assert stage.worker.over


# -- records that the broker refuses --------------------------------------------------------------


def test_a_record_whose_events_are_too_large_is_a_dead_letter(stage: ScriptedStage) -> None:
    stage.kit.world.broker.refused.add(DONE)
    stage.say("said")
    (letter,) = stage.kit.dead_letters()
    assert letter.code == "too_large"
    assert stage.given_up() == ["said: too_large"]


def test_a_retry_that_is_too_large_is_a_dead_letter(stage: ScriptedStage) -> None:
    stage.script.does("flaky", Retry("not yet"))
    stage.kit.world.broker.refused.add(f"darkroom.{SERVICE}.retry-5s.bulk")
    stage.say("flaky")
    assert [letter.code for letter in stage.kit.dead_letters()] == ["too_large"]


def test_a_dead_letter_goes_without_words_that_are_refused(stage: ScriptedStage) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.kit.world.broker.refused.add(GIVEN_UP)
    stage.say("bad")
    letters = stage.kit.dead_letters()
    assert {letter.headers["dl_id"] for letter in letters} == {letters[0].headers["dl_id"]}
    assert letters[-1].value is not None
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_a_dead_letter_that_is_too_large_goes_without_its_value() -> None:
    stage = ScriptedStage()
    stage.kit.world.broker.declare(DLQ, 1, largest=1000)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad " + 2000 * "x", key="key")
    (letter,) = stage.kit.dead_letters()
    assert letter.value is None
    assert letter.headers["dl_value"] == "left"
    assert letter.code == "too_dark"
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_a_dead_letter_that_is_refused_in_every_form_ends_the_worker(
    stage: ScriptedStage,
) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.kit.world.broker.refused.add(DLQ)
    with pytest.raises(Reject, match="not one that the broker takes"):
        stage.say("bad")
    assert stage.unread() == 1


def unacknowledged(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    """Have the broker not acknowledge whatever goes to a topic, though it takes all else."""
    decide = MemoryProducer._delivery

    def delivery(self: MemoryProducer, ticket: int, records: Sequence[RawRecord]) -> Delivery:
        if any(record.topic == topic for record in records):
            return Delivery(ticket, PublishError("no acknowledgement"), 0)
        return decide(self, ticket, records)

    monkeypatch.setattr(MemoryProducer, "_delivery", delivery)


def test_a_record_whose_events_are_never_acknowledged_does_not_hold_up_others_for_ever(
    stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(message: Message) -> Events:
        return [Emit("elsewhere", message.key, message.value, "id")]

    unacknowledged(monkeypatch, "elsewhere")
    stage.script.does("odd", elsewhere)
    stage.say("odd")
    stage.say(*numbered("said", 20))
    stage.kit.advance(60)
    assert sorted(stage.done()) == sorted(numbered("said", 20))
    stage.kit.advance(1200)
    assert [letter.code for letter in stage.kit.dead_letters()] == ["unpublishable"]
    stage.kit.advance(1)
    assert stage.unread() == 0


def test_words_that_are_never_acknowledged_do_not_keep_a_dead_letter_from_being_written(
    stage: ScriptedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    unacknowledged(monkeypatch, GIVEN_UP)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad")
    for number in range(120):
        stage.say(f"said {number}")
        stage.kit.advance(1)
    assert len(stage.kit.dead_letters()) == 1
    assert stage.given_up() == []
    stage.kit.advance(60)
    assert stage.unread() == 0


# -- notices --------------------------------------------------------------------------------------


def test_a_notice_that_is_not_acknowledged_is_sent_again(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.kit.world.broker.drop_acks = True
    stage.say("said")
    stage.kit.advance(10)
    sent = len(stage.kit.notices())
    assert sent > 1
    stage.kit.world.broker.drop_acks = False
    stage.kit.advance(60)
    assert len(stage.kit.notices()) <= sent + 1
    assert len({notice.id for notice in stage.kit.notices()}) == 1


def test_a_notice_is_given_up_after_a_while(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.kit.world.broker.drop_acks = True
    stage.say("said")
    stage.kit.advance(600)
    sent = len(stage.kit.notices())
    stage.kit.advance(600)
    assert len(stage.kit.notices()) == sent <= 20


def test_a_notice_that_is_refused_holds_nothing_up(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"), times=1)
    stage.kit.world.broker.refused.add(NOTICES)
    stage.say("said")
    stage.kit.advance(10)
    assert stage.done() == ["said"]
    assert stage.kit.notices() == []


def test_what_was_away_and_is_away_again_within_the_hour_is_told_once(
    stage: ScriptedStage,
) -> None:
    for _ in range(3):
        stage.script.does("said", Busy("no answer", dependency="catalog"))
        stage.say(f"said {stage.now}")
        stage.kit.advance(5)
        stage.script.forgets("said")
        stage.kit.advance(60)
    assert len(stage.done()) == 3
    assert len(stage.kit.notices()) == 1
    stage.kit.advance(3600)
    stage.script.does("said", Busy("no answer", dependency="catalog"), times=1)
    stage.say("said once more")
    assert len(stage.kit.notices()) == 2


# -- metrics --------------------------------------------------------------------------------------


def metric(name: str, **labels: str) -> float:
    """What a metric stands at."""
    return REGISTRY.get_sample_value(name, {"stage": SERVICE, **labels}) or 0.0


def test_what_becomes_of_records_is_counted(stage: ScriptedStage) -> None:
    def counts() -> list[float]:
        name = "darkroom_messages_processed_total"
        outcomes = [
            metric(name, lane="batch", outcome=outcome)
            for outcome in ("done", "retry", "dead_letter")
        ]
        letters = metric("darkroom_dead_letters_total", lane="batch", code="too_dark")
        retries = metric("darkroom_retries_total", lane="batch", tier="5s", error="retry")
        return [*outcomes, letters, retries]

    before = counts()
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.script.does("flaky", Retry("not yet"), times=1)
    stage.say("good 1", "good 2", "bad", "flaky")
    stage.kit.advance(10)
    assert [b - a for a, b in zip(before, counts(), strict=True)] == [3, 1, 1, 1, 1]


def test_the_age_of_the_oldest_record_shows_until_it_is_over(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.say("said")
    stage.kit.advance(30)
    age = metric("darkroom_oldest_record_age_seconds", lane="batch")
    assert 28 <= age <= 31
    stage.script.forgets("said")
    stage.kit.advance(40)
    assert metric("darkroom_oldest_record_age_seconds", lane="batch") == 0


def test_an_open_breaker_shows(stage: ScriptedStage) -> None:
    stage.script.does("said", Busy("no answer", dependency="catalog"))
    stage.say("said")
    assert metric("darkroom_breaker_open", dependency="catalog") == 1
    stage.script.forgets("said")
    stage.kit.advance(5)
    assert metric("darkroom_breaker_open", dependency="catalog") == 0


def test_without_anybody_to_tell_a_breaker_opens_all_the_same() -> None:
    stage = ScriptedStage(policy=Policy(), tells=False)
    stage.script.does("said", Busy("no answer", dependency="catalog"), times=1)
    stage.say("said")
    stage.kit.advance(5)
    assert stage.done() == ["said"]
    assert stage.kit.world.broker.records(NOTICES) == []
