"""What becomes of a record once an engine has answered: published, tried again, or given up."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final, NoReturn, Protocol

import structlog

from streamkit.backoff import Later, delay_s
from streamkit.deadletters import dead_letter, without_value
from streamkit.engine.work import Result
from streamkit.errors import Reject
from streamkit.gate import BROKER, Gate
from streamkit.headers import is_traceparent, traceparent_of
from streamkit.items import Item
from streamkit.job import HIGH, Job
from streamkit.logs import RecordLines, named
from streamkit.messages import Failure
from streamkit.outside import Outside
from streamkit.policy import Policy
from streamkit.ports import Delivery
from streamkit.publishing import ProducerLostError
from streamkit.records import RawRecord
from streamkit.retry import JITTER, BrokerClock, RetryPlan, tier_s
from streamkit.telling import Telling
from streamkit.tracing import forwarded

_log = structlog.get_logger("streamkit.settle")

_PROBES_AN_ATTEMPT: Final = 3
"""A record that blames a dependency is charged its attempts once it failed so often as a probe
while other records succeeded."""

_MOST_ASKED: Final = 4
"""So often a job is asked for its last words on a record."""

_MOST_ROUNDS: Final = 3
"""A record is charged an attempt when its events could not be published in so many rounds."""

_MOST_LETTERS: Final = 10
"""Sends of a dead letter, before it goes without what makes it unpublishable."""


class HandlerDefectError(RuntimeError):
    """A handler raised what is no instruction: a defect, and the process stops. Holds the
    traceback. The record is not acknowledged."""


class Halves(Protocol):
    """See Dispatcher.halve."""

    def __call__(self, item: Item, engine: str, /) -> bool: ...


class Settler:
    """Publishes, and acknowledges a record when the broker has all that it caused.

    At-least-once: whatever fails on the way leaves the record unacknowledged, and it is tried
    again here, by a retry topic, or by the next worker.
    """

    def __init__(
        self,
        job: Job,
        policy: Policy,
        outside: Outside,
        gate: Gate,
        retries: RetryPlan,
        later: Later,
    ) -> None:
        self._job = job
        self._policy = policy
        self._clock = outside.clock
        self._producer = outside.producer
        self._gate = gate
        self.meter = outside.meter
        self._retries = retries
        self._later = later
        self._chance = outside.chance
        self._broker_clock = BrokerClock(outside.clock)
        self._tickets: dict[int, Item] = {}
        self._resting: dict[int, Item] = {}
        self._resending: dict[int, Item] = {}
        self._acks = 0
        self._telling = Telling(job.service, outside, later)
        self._unmetered: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lines = RecordLines()

    # -- what engines say -----------------------------------------------------------------------

    def settle(
        self, found: Sequence[tuple[Item, Result]], halve: Halves, engine: str, now: float
    ) -> None:
        """Deal with an engine's results. Raises HandlerDefectError."""
        back: list[Item] = []
        last: list[Item] = []
        for item, result in found:
            # A probe that failed lets another record be the next: it may be itself at fault.
            unfit = last if item.probe else back
            if item.probe:
                self._probed(item, result, now)
            if item.gone:
                item.lane.over(item)
                continue
            item.ms = result.ms
            kind = result.kind
            if item.failure is not None:
                if not self._said(item, result, now):
                    unfit.append(item)
            elif kind == "done":
                self._gate.succeeded()
                self._done(item, result.events, now)
            elif result.kind == "returned":
                back.append(item)
            elif self._to_do_again(item, result, halve, engine, now):
                unfit.append(item)
        self._put_back(back)
        for item in self._ours(last):
            item.lane.put_last([item])

    def _to_do_again(
        self, item: Item, result: Result, halve: Halves, engine: str, now: float
    ) -> bool:
        """Whether the record shall wait its turn again, as if it had not been tried."""
        if result.kind == "memory" and halve(item, engine):
            return True
        return not self._instructed(item, result, now)

    def _said(self, item: Item, result: Result, now: float) -> bool:
        """Bury a record with its job's last words; False if they have to be asked for again."""
        match result.kind:
            case "returned":
                return False
            case "busy":
                self._gate.failed(result.dependency, result.message, now, at_once=True)
                return False
            case "retry" if result.dependency:
                self._gate.failed(result.dependency, result.message, now)
                return False
            case "defect":
                self._raise_defect(item, result)
            case "done":
                pass
            case _ if self._ask_again(item):
                return False
            case _:
                _log.error("no_last_words", reason=result.message[:300], **_about(item))
        self._bury(item, result.events)
        return True

    def _ask_again(self, item: Item) -> bool:
        """Whether a record's last words are worth asking for once more: what failed was not what
        is said, and what waits for the record's end waits for them."""
        item.asked += 1
        item.alone = True
        return item.asked < _MOST_ASKED

    def _done(self, item: Item, events: tuple[RawRecord, ...], now: float) -> None:
        if events:
            item.outcome = "done"
            self._send(item, events)
        else:
            self.finish(item, "done", now)

    def _instructed(self, item: Item, result: Result, now: float) -> bool:
        """Follow an instruction; False if the record shall wait its turn again, unburnt."""
        match result.kind:
            case "defect":
                self._raise_defect(item, result)
            case "reject":
                self.give_up(item, result.code, result.message)
            case "busy":
                self._gate.failed(result.dependency, result.message, now, at_once=True)
                self.meter.retried(item.lane.name, "lane", result.dependency)
                return False
            case "retry" if result.dependency and self._blames(item, result, now):
                return False
            case "memory":
                self.again(item, "out_of_memory", result.message or "Out of memory.")
            case "deadline":
                self.again(item, "deadline", result.message or "It took too long.")
            case _:
                self.again(item, result.code or "retry", result.message)
        return True

    def _blames(self, item: Item, result: Result, now: float) -> bool:
        """Whether it is the dependency that is at fault, and no attempt to be counted.

        A record that failed so often as a probe, while others succeeded in between, has had its
        chance: it is itself at fault.
        """
        away = self._gate.failed(result.dependency, result.message, now)
        return away and item.probes < _PROBES_AN_ATTEMPT

    def _raise_defect(self, item: Item, result: Result) -> NoReturn:
        raise HandlerDefectError(
            f"a handler of {self._job.service} failed on {item.record.topic}"
            f"[{item.record.partition}]@{item.record.offset}\n{result.message}"
        )

    def _probed(self, item: Item, result: Result, now: float) -> None:
        item.probe = False
        if result.kind == "returned" or (result.kind == "done" and item.failure is not None):
            self._gate.forgotten()
        elif result.kind == "done":
            self._gate.probed(now)
            if not result.events:
                self._gate.forgotten()
        else:
            if self._acks > item.acks:
                item.acks, item.probes = self._acks, item.probes + 1
            self._gate.probe_failed(now, result.dependency)

    def lost(self, items: Sequence[Item], why: str) -> None:
        """An engine ended with these in hand. One alone is at fault; of several nobody knows which,
        so each goes to an engine alone."""
        live = []
        for item in items:
            if item.probe:
                item.probe = False
                self._gate.probe_failed(self._clock.monotonic())
            if item.gone:
                item.lane.over(item)
            else:
                live.append(item)
        if len(items) == 1 and live:
            code = "deadline" if why == "deadline" else "engine_died"
            if live[0].failure is not None and self._ask_again(live[0]):
                self._put_back(live)
            elif live[0].failure is not None:
                self._bury(live[0], ())
            else:
                self.again(live[0], code, f"The engine was lost while it worked on this: {why}.")
            return
        for item in live:
            item.alone = True
        self._put_back(live)

    def _put_back(self, items: list[Item]) -> None:
        by_lane: dict[str, list[Item]] = {}
        for item in self._ours(items):
            by_lane.setdefault(item.lane.name, []).append(item)
        for back in by_lane.values():
            back[0].lane.put_back(back)

    def _ours(self, items: list[Item]) -> list[Item]:
        """Those that are to stay here; the others are left to the next worker."""
        ours = [item for item in items if not item.left]
        for item in items:
            if item.left:
                item.lane.over(item)
        return ours

    # -- trying again, giving up ----------------------------------------------------------------

    def again(self, item: Item, code: str, message: str) -> None:
        """An attempt failed: the next retry topic, or the dead letters after the last.

        In an ordered lane the record waits here, its key's others behind it.
        """
        lane, attempt = item.lane, item.attempt
        _log.warning("retry", code=code, reason=message[:300], attempt=attempt, **_about(item))
        tiers = self._policy.retry_tiers
        if attempt > len(tiers):
            self.give_up(item, "gave_up" if code == "retry" else code, message)
            return
        tier = tiers[attempt - 1]
        self.meter.retried(lane.name, tier, code)
        if lane.lane.ordered:
            item.attempt += 1
            pause = tier_s(tier) * (1 + JITTER * self._chance.random())
            self._wait(item, pause, lambda: lane.put_back([item]), self._resting)
            return
        now_ms = self._broker_clock.now_ms()
        record = self._retries.next(
            item.record, lane.name, attempt, code, message, now_ms, self._chance
        )
        if record is None:
            raise TypeError("the policy and the plan of retries have different tiers")
        item.outcome = "retry"
        self._send(item, (forwarded(record),))

    def give_up(self, item: Item, code: str, message: str) -> None:
        """Have the job say what it says of a record that it gives up, then bury it."""
        item.failure = Failure(code, message, item.attempt)
        self._put_back([item])

    def bury_unread(self, item: Item, code: str, message: str) -> None:
        """Bury a record that can't be handed to any handler."""
        item.failure = Failure(code, message, item.attempt)
        self._bury(item, ())

    def _bury(self, item: Item, words: tuple[RawRecord, ...]) -> None:
        """Publish the dead letter and what the job says of it, for as long as it takes.

        What the broker refuses is left out: first the job's events, then the letter's value, which
        still lies where the letter says that it came from.
        """
        job, failure = self._job, item.failure
        if failure is None:
            raise TypeError("only a record that failed can be buried")
        letter = forwarded(
            dead_letter(
                job.dead_letters,
                item.record,
                failure,
                service=job.service,
                version=job.version,
                lane=item.lane.name,
                now_s=self._clock.time(),
            )
        )
        item.choices = [(letter,), (without_value(letter),)]
        item.outcome = "dead_letter"
        self._send(item, (*words, letter))

    # -- publishing -----------------------------------------------------------------------------

    def _send(self, item: Item, records: tuple[RawRecord, ...]) -> None:
        item.sent = self._clock.monotonic()
        item.records = records
        self._tickets[item.id] = item
        self._producer.send(item.id, records, urgent=item.lane.name == HIGH)

    def delivered(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Deal with what the broker acknowledged or did not. Raises ProducerLostError, and Reject
        for a dead letter that it refuses in every form."""
        for ticket, error, appended_ms in deliveries:
            if isinstance(error, ProducerLostError):
                raise error
            item = self._tickets.pop(ticket, None)
            if item is None:
                self._telling.delivered(ticket, error)
            elif error is None:
                if appended_ms:
                    self._broker_clock.observe(item.sent, now, appended_ms)
                self._acks += 1
                self._gate.there(BROKER)
                self.finish(item, item.outcome, now)
            elif item.gone:
                item.lane.over(item)
            elif isinstance(error, Reject):
                self._refused(item, error)
            else:
                self._unpublished(item, error, now)

    def _refused(self, item: Item, error: Reject) -> None:
        if item.outcome != "dead_letter":
            self.give_up(item, error.code, error.message)
        elif item.choices:
            _log.error("dead_letter_refused", reason=error.message, **_about(item))
            self._send(item, item.choices.pop(0))
        else:
            raise error

    def _unpublished(self, item: Item, error: Exception, now: float) -> None:
        """Send again. A record's own events only so often, then the record is tried again, behind
        others; and if that helps as little, it is an attempt that failed."""
        item.tries += 1
        self.meter.publish_retried(1)
        records, ours = item.records, item.outcome == "done"
        if ours and item.tries >= self._policy.publish_tries:
            item.tries = 0
            item.rounds += 1
            self._gate.failed(BROKER, str(error), now, at_once=True)
            if item.rounds >= _MOST_ROUNDS:
                self.again(item, "unpublishable", str(error))
            else:
                for one in self._ours([item]):
                    one.lane.put_last([one])
            return
        if not ours:
            self._gate.failed(BROKER, str(error), now)
            if self._only_this(item):
                records = item.choices.pop(0)
        pause = delay_s(item.tries, self._chance)
        if ours:
            pause = min(pause, self._policy.publish_delay_s)
        self._wait(item, pause, lambda: self._send(item, records), self._resending)

    def _only_this(self, item: Item) -> bool:
        """Whether the broker takes other records but not, however often, this dead letter with
        what is said beside it: then less is to be sent."""
        if item.tries == 1:
            item.acks = self._acks
        return item.tries >= _MOST_LETTERS and bool(item.choices) and self._acks > item.acks

    def _wait(
        self, item: Item, seconds: float, then: Callable[[], None], kept: dict[int, Item]
    ) -> None:
        kept[item.id] = item

        def resume() -> None:
            if kept.pop(item.id, None) is not None:
                then()

        self._later(seconds, resume)

    def forget(self, unwanted: Callable[[Item], bool]) -> None:
        """Records that wait here for their next try are not ours any more."""
        for kept in (self._resting, self._resending):
            for item in [one for one in kept.values() if unwanted(one)]:
                del kept[item.id]
                item.lane.over(item)

    def finish(self, item: Item, outcome: str, now: float) -> None:
        """Acknowledge a record: all that it caused is with the broker."""
        claim, lane = item.claim, item.lane
        claim.tracker.complete(item.offset)
        claim.source.dirty.add(claim.tracker.partition)
        if lane.lane.ordered:
            lane.over(item)
        times = self._unmetered.get((lane.name, outcome))
        if times is None:
            times = self._unmetered[(lane.name, outcome)] = ([], [])
        if self._lines.wants(item.record.topic):
            said = f', "lane": "{lane.name}", "outcome": "{outcome}"'
            self._lines.add("handled", item.record, said, item.ms, item.attempt)
        times[0].append(item.ms / 1000)
        times[1].append(max(0.0, self._clock.time() - item.record.timestamp_ms / 1000))
        if outcome == "dead_letter" and item.failure is not None:
            self.meter.dead_letter(lane.name, item.failure.code)
            _log.error("dead_letter", **asdict(item.failure), **_about(item))
            self._telling.gave_up(item.failure)
        if outcome != "retry":
            self._gate.finished(now, dead=outcome == "dead_letter")

    def tell(self) -> None:
        """Say what is to be said of breakers that opened."""
        self._telling.opened(self._gate)

    def flush_metrics(self) -> None:
        """Count what was finished since the last time, by lane and outcome."""
        for (lane, outcome), (durations, ages) in self._unmetered.items():
            self.meter.finished(lane, outcome, durations, ages)
            self._counts[lane, outcome] += len(durations)
        self._unmetered.clear()
        self._lines.flush()

    def finished(self, lane: str) -> tuple[int, int]:
        """How many of a lane's records are over, and how many of those were given up."""
        done, failed = self._counts[lane, "done"], self._counts[lane, "dead_letter"]
        return done + failed, failed

    def active(self) -> list[Item]:
        """All that wait for the broker's acknowledgement."""
        return list(self._tickets.values())

    def resending(self) -> list[Item]:
        """All that are to be sent again, since the broker did not take them."""
        return list(self._resending.values())

    def resting(self) -> list[Item]:
        """All that wait here for their next attempt."""
        return list(self._resting.values())

    def broker_is_at(self, appended_ms: int) -> None:
        """A record with this time of appending came, so the broker's clock is that far at least."""
        self._broker_clock.at_least(appended_ms)

    def broker_now_ms(self) -> int:
        """The broker's clock, as well as it is known."""
        return self._broker_clock.now_ms()


def _about(item: Item) -> Mapping[str, object]:
    """Which record a log line is about, as engines' log lines say it."""
    record = item.record
    about = {
        "lane": item.lane.name,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode("utf-8", "replace")[:100],
        **named(record.topic, record.key),
    }
    traceparent = traceparent_of(record.headers)
    return {**about, "trace_id": traceparent[3:35]} if is_traceparent(traceparent) else about
