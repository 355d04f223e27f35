"""How a service of folds becomes a Faust application, and how it begins and ends."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka.structs import TopicPartition

from streamkit import Readiness
from streamkit.codec import Codec
from streamkit.faust import FoldApp, JoinSettings, join_app
from streamkit.faust import app as apps
from streamkit.faust.app import Running, build, faust_settings
from streamkit.faust.consuming import Transport
from streamkit.faust.inbox import Chunk
from streamkit.faust.tables import FoldTable
from streamkit.metrics import Meter
from streamkit.records import Partition
from streamkit.standing import LaneStanding, Standing
from streamkit.watchdog import Watchdog
from streamkit.workflow import Expiry, Join, Part


def join(**options: Any) -> Join:
    usual = {
        "name": "pages",
        "version": "7",
        "parts": (Part("a", "a.v1"), Part("b", "b.v1")),
        "into": "done.v1",
        "decide": lambda joined: {"n": len(joined.parts)},
        "partitions": 3,
    }
    return Join(**{**usual, **options})


def settings(**options: Any) -> JoinSettings:
    return JoinSettings.model_validate({"topic_prefix": "t.", "join_instance": "one", **options})


def schema_of(_topic: str) -> dict[str, Any]:
    return {}


def service(**options: Any) -> FoldApp:
    return join_app(join(**options), settings(), schema_of)


CODEC = Codec(None, dict, "t.")  # type: ignore[arg-type]


def test_a_join_is_a_service_with_one_fold() -> None:
    app = service()
    (fold,) = app.folds
    assert (app.service, app.version, app.application) == ("pages", "7", "darkroom-pages")
    assert app.dead_letters == "darkroom.pages.dlq"
    assert app.writes == ("done.v1",)
    assert (app.instance, app.most) == ("one", 1_000)
    assert (fold.topics, fold.partitions, fold.due) == (("a.v1", "b.v1"), 3, None)


def test_a_join_with_an_expiry_is_told_the_time() -> None:
    (fold,) = service(expiry=Expiry("tick.v1", after_s=60)).folds
    assert fold.topics == ("a.v1", "b.v1", "tick.v1")
    assert fold.due is not None


def test_group_and_static_member_have_the_prefix(tmp_path: Path) -> None:
    found = faust_settings(service(), tmp_path)
    assert found["id"] == "t.darkroom-pages"
    assert found["consumer_group_instance_id"] == "t.darkroom-pages-one"


def test_several_brokers_are_named_as_faust_wants_them(tmp_path: Path) -> None:
    app = join_app(join(), settings(kafka="a:1,b:2"), schema_of)
    assert faust_settings(app, tmp_path)["broker"] == "kafka://a:1;b:2"


async def test_topics_have_inboxes_and_the_table_a_changelog(tmp_path: Path) -> None:
    running = build(service(), CODEC, tmp_path)
    transport: Any = running.app.transport
    assert isinstance(transport, Transport)
    assert set(transport.inboxes) == {"t.a.v1", "t.b.v1"}
    assert transport.inboxes["t.a.v1"] is running.agents["joins"].inbox
    (table,) = running.app.tables.values()
    assert table.changelog_topic_name == "t.darkroom-pages-joins-changelog"
    assert table.partitions == 3
    assert running.app.conf.topic_allow_declare is False


async def test_a_table_keeps_keys_with_their_partition(tmp_path: Path) -> None:
    (found,) = build(service(), CODEC, tmp_path).app.tables.values()
    assert isinstance(found, FoldTable)
    table: Any = found
    assert table.read(b"k") is None
    table.write(2, b"k", b"v")
    table.write(1, b"l", b"w")
    assert table.read(b"k") == b"v"
    assert list(table.entries()) == [(b"k", b"v"), (b"l", b"w")]
    assert table.data._key_partition == {b"k": 2, b"l": 1}
    table.write(2, b"k", None)
    table.write(2, b"never", None)
    assert list(table.entries()) == [(b"l", b"w")]
    assert table.data._key_partition == {b"l": 1}


@pytest.mark.parametrize(
    ("started", "state", "stuck", "lacking"),
    [
        (True, {}, False, []),
        (False, {}, False, ["partitions and tables"]),
        (True, {"rebalancing": True}, False, ["partitions and tables"]),
        (True, {"in_recovery": True}, False, ["partitions and tables"]),
        (True, {}, True, ["acknowledgements of the broker"]),
    ],
)
def test_it_is_ready_with_its_partitions_its_tables_and_a_broker_that_acknowledges(
    started: bool, state: dict[str, bool], stuck: bool, lacking: list[str]
) -> None:
    app: Any = SimpleNamespace(**{"rebalancing": False, "in_recovery": False, **state})
    agent: Any = SimpleNamespace(delivery=SimpleNamespace(stuck=stuck))
    assert Running(app, {"joins": agent}, Meter("t")).waiting_for(started) == lacking


class Faust:
    """An application that starts, and crashes or stops as the test says."""

    def __init__(self) -> None:
        self.rebalancing = self.in_recovery = False
        self.crash_reason: BaseException | None = None
        self.starting: BaseException | None = None
        self.stops: Callable[[], Any] = lambda: asyncio.sleep(0)
        self.stopped = False

    @property
    def crashed(self) -> bool:
        return self.crash_reason is not None

    async def start(self) -> None:
        if self.starting is not None:
            raise self.starting

    async def stop(self) -> None:
        await self.stops()
        self.stopped = True

    async def crash(self, reason: BaseException) -> None:
        self.crash_reason = reason


def until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2_000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it never came about")


class Served:
    """A service whose Faust is a stand-in, run in a thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.faust, self.stop, self.readiness = Faust(), threading.Event(), Readiness("start")
        self.closed: list[float] = []
        self.raised: list[BaseException] = []
        agent = SimpleNamespace(close=self._close, delivery=SimpleNamespace(stuck=False))
        self.beats: Any = None

        def build(*_: Any) -> Any:
            return Running(self.faust, {"joins": agent}, Meter("t"), self.beats)  # type: ignore[arg-type, dict-item]

        monkeypatch.setattr(apps, "build", build)
        monkeypatch.setattr(apps, "SchemaIds", lambda *_: None)
        monkeypatch.setattr(Codec, "preload", lambda _self, topics, _stop: self.preloaded(topics))
        self.learned: list[str] = []
        self.heartbeat_s = 0.0
        self._settings = settings(cache=folder)

    def preloaded(self, topics: Any) -> None:
        self.learned += topics

    async def _close(self, within_s: float) -> None:
        self.closed.append(within_s)

    def run(self) -> None:
        try:
            app = join_app(join(), self._settings, schema_of)
            replace(app, heartbeat_s=self.heartbeat_s).run(self.stop, self.readiness)
        except BaseException as error:  # noqa: BLE001 - to be looked at by the test
            self.raised.append(error)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        yield
        thread.join(20)
        assert not thread.is_alive()

    def until_ready(self) -> None:
        until(lambda: not self.readiness())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    return Served(monkeypatch, tmp_path)


def test_asked_to_stop_it_finishes_what_is_in_hand_and_leaves(served: Served) -> None:
    with served.running():
        served.until_ready()
        served.stop.set()
    assert served.raised == []
    assert served.faust.stopped
    assert len(served.closed) == 1
    assert served.learned == ["done.v1"]


def test_a_loop_that_stands_still_is_seen_from_outside(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "Watchdog", lambda **options: Watchdog(dead_s=0.0, **options))
    with served.running():
        served.until_ready()
        assert "has stood still" in served.readiness.trouble()
        served.stop.set()
    assert served.readiness.trouble() == ""


def test_what_crashed_the_worker_is_raised_and_nothing_is_waited_for(served: Served) -> None:
    with served.running():
        served.until_ready()
        served.faust.crash_reason = ValueError("a defect")
    assert [str(error) for error in served.raised] == ["a defect"]
    assert served.closed == []


def test_what_keeps_it_from_starting_is_raised(served: Served) -> None:
    served.faust.starting = RuntimeError("no broker")
    with served.running():
        pass
    assert [str(error) for error in served.raised] == ["no broker"]


def test_a_worker_that_hangs_is_left_after_a_while(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "_LEAVE_S", 0.01)
    served.faust.stops = lambda: asyncio.sleep(60)
    with served.running():
        served.until_ready()
        served.stop.set()
    assert served.raised == []
    assert not served.faust.stopped


class Beats:
    """What a service told of itself."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def turn(self, *, ready: bool) -> None:
        word = "ready" if ready else "not ready"
        if self.told[-1:] != [word]:
            self.told.append(word)

    def stop(self) -> None:
        self.told.append("stops")

    def drained(self) -> None:
        self.told.append("has drained")


def test_it_tells_how_it_stands_until_it_has_drained(served: Served) -> None:
    served.beats = Beats()
    served.faust.in_recovery = True
    with served.running():
        until(lambda: served.beats.told == ["not ready"])
        served.faust.in_recovery = False
        until(lambda: served.beats.told == ["not ready", "ready"])
        served.stop.set()
    assert served.beats.told == ["not ready", "ready", "stops", "has drained"]


def test_what_keeps_it_from_starting_is_no_readiness(served: Served) -> None:
    served.beats = Beats()
    served.faust.starting = RuntimeError("no broker")
    with served.running():
        pass
    assert "ready" not in served.beats.told


class Said(AbstractContextManager["Said"]):
    """Heartbeats that are kept instead of published."""

    made: ClassVar[list["Said"]] = []

    def __init__(self, service: str, version: str, every_s: float, _means: Any) -> None:
        self.about = (service, version, every_s)
        self.ended = False
        self.made.append(self)

    def tell(self, standing: Standing) -> None:
        """Keep none."""

    def __exit__(self, *_: object) -> None:
        self.ended = True


@pytest.mark.parametrize("crashes", [False, True])
def test_its_heartbeats_last_from_its_start_to_its_end(
    served: Served, monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    monkeypatch.setattr(apps, "Heartbeats", Said)
    monkeypatch.setattr(Said, "made", [])
    served.heartbeat_s = 7.0
    with served.running():
        served.until_ready()
        (said,) = Said.made
        assert (said.about, said.ended) == (("pages", "7", 7.0), False)
        if crashes:
            served.faust.crash_reason = ValueError("a defect")
        served.stop.set()
    assert said.ended
    assert len(served.raised) == crashes


def test_without_a_pace_there_are_no_heartbeats(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "Heartbeats", None)
    with served.running():
        served.until_ready()
        served.stop.set()
    assert served.raised == []


async def test_it_tells_of_what_it_is_assigned_and_of_no_changelog(tmp_path: Path) -> None:
    told: list[Standing] = []
    running = build(replace(service(), heartbeat_s=60.0), CODEC, tmp_path, told.append)
    consumer: Any = running.app.consumer
    consumer._thread.assigned = {
        TopicPartition("t.a.v1", 2),
        TopicPartition("t.a.v1", 0),
        TopicPartition("t.darkroom-pages-joins-changelog", 2),
    }
    agent = running.agents["joins"]
    agent.inbox.put(Chunk(TopicPartition("t.a.v1", 0), 0, ["record"] * 3))
    agent.in_hand = 2
    agent.outcomes.update(done=5, dead_letter=1)
    running.app.rebalancing = running.app.in_recovery = False
    running.beat(started=False)
    running.beat(started=True)
    lane = LaneStanding(
        "events",
        (Partition("a.v1", 0), Partition("a.v1", 2)),
        waiting=3,
        in_engine=2,
        done=6,
        failed=1,
    )
    assert told == [Standing("starting"), Standing("working", (lane,))]
    running.app.rebalancing = True
    running.beat(started=True)
    assert len(told) == 2, "a rebalance is no start"


async def test_a_defect_of_an_agent_crashes_the_worker() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    async def fails() -> None:
        raise ValueError("a defect")

    faust: Any = Faust()
    await apps._guarded(
        faust,
        SimpleNamespace(run=fails),  # type: ignore[arg-type]
        SimpleNamespace(run=forever),  # type: ignore[arg-type]
    )
    (defect,) = faust.crash_reason.exceptions
    assert str(defect) == "a defect"


async def test_faust_calls_the_agent_with_a_stream_that_it_does_not_need(tmp_path: Path) -> None:
    running = build(service(), CODEC, tmp_path)
    (agent,) = (one for name, one in running.app.agents.items() if name == "joins")
    calling = asyncio.create_task(agent.fun(None))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not calling.done()
    calling.cancel()


def test_faust_is_quiet_but_for_warnings_unless_debugging() -> None:
    for name in apps._LOUD:
        logging.getLogger(name).setLevel(0)
    apps.quiet("debug")
    assert logging.getLogger("faust").level == 0
    apps.quiet("info")
    levels = {logging.getLogger(name).level for name in apps._LOUD}
    assert levels == {logging.WARNING}
