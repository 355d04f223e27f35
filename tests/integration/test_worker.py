"""A worker as a process of its own on the real broker: what becomes of records."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from infrastructure import Infrastructure
from streamkit.headers import readable
from worker_process import until
from worker_tasks import LETTERS
from worker_world import Done, Places, Task, World

pytestmark = pytest.mark.long

HOUR_S = 3600


@pytest.fixture
def world(infrastructure: Infrastructure, tmp_path: Path) -> Iterator[World]:
    places = Places(infrastructure.kafka, infrastructure.registry, infrastructure.redis)
    world = World(places, tmp_path)
    yield world
    world.close()


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """A file that is there until the test takes it away."""
    path = tmp_path / "flag"
    path.touch()
    return path


def once(done: Sequence[Done]) -> set[str]:
    """The names of what is done; fails if something is done twice."""
    counts = Counter(one.id for one in done)
    assert {name: count for name, count in counts.items() if count > 1} == {}
    return {one.name for one in done}


# -- retries, dead letters ----------------------------------------------------------------------


def test_a_record_is_tried_again_when_it_is_due_and_at_most_a_second_late(world: World) -> None:
    names = [f"{lane}-{number}" for lane in ("high", "batch") for number in range(10)]
    world.worker().ready()
    world.ask(*(Task(name, "retry", 2, lane=name.partition("-")[0]) for name in names))
    done = {one.name: one for one in world.await_done(*names)}
    assert once(list(done.values())) == set(names)
    for name in names:
        first, second, third = (call.at for call in world.trail.began(name))
        # What fails is known a little after it began; its time is kept in milliseconds.
        assert 0.99 < second - first < 1.0 * 1.1 + 1.0
        assert 1.99 < third - second < 2.0 * 1.1 + 1.0
        assert (done[name].attempt, done[name].lane) == (3, name.partition("-")[0])


def test_a_record_that_never_succeeds_ends_in_the_dead_letters_after_its_last_try(
    world: World,
) -> None:
    world.worker().ready()
    world.ask(Task("never", "retry", 99), Task("bad", "reject", lane="high"))
    failures = {one.name: one.failure for one in world.await_done("never", "bad")}
    assert failures == {"never": "gave_up", "bad": "bad"}
    letters = [readable(one.headers) for one in world.all_of(LETTERS)]
    told = {one["dl_code"]: (one["dl_attempts"], one["dl_lane"]) for one in letters}
    assert told == {"gave_up": ("3", "batch"), "bad": ("1", "high")}


@pytest.mark.parametrize("batch", [0, 32], ids=["one by one", "in micro-batches"])
def test_a_poison_record_among_31_good_ones_delays_none_of_them(world: World, batch: int) -> None:
    good = [f"good-{number}" for number in range(31)]
    tasks = [Task(name, key="one partition") for name in good]
    tasks.insert(7, Task("poison", "retry", 99, key="one partition"))
    world.ask(*tasks)
    world.worker(batch=batch)
    done = {one.name: one for one in world.await_done(*good, "poison")}
    assert {done[name].attempt for name in good} == {1}
    tries = [call.at for call in world.trail.began("poison")]
    second_try = next(at for at in tries if at - tries[0] > 0.9)
    ends = {call.name: call.at for call in world.trail.calls() if not call.began}
    assert max(ends[name] for name in good) < second_try


# -- engines that fail --------------------------------------------------------------------------


def test_a_handler_is_interrupted_at_its_soft_deadline_and_the_record_tried_again(
    world: World, flag: Path
) -> None:
    worker = world.worker(soft_deadline_s=0.5).ready()
    world.ask(Task("slow", "hang", flag), Task("next"))
    until(lambda: worker.lines("retry"), "it is interrupted")
    flag.unlink()
    done = {one.name: one for one in world.await_done("slow", "next")}
    assert (done["slow"].attempt, done["next"].attempt) == (2, 1)
    assert done["slow"].engine == done["next"].engine
    (line,) = worker.lines("retry")
    assert line["code"] == "deadline"


def test_an_engine_that_works_too_long_on_a_record_is_replaced_and_that_counts_as_an_attempt(
    world: World, flag: Path
) -> None:
    neighbours = [f"neighbour-{number}" for number in range(20)]
    world.ask(*(Task(name) for name in neighbours[:10]))
    world.ask(Task("stuck", "stuck", flag), *(Task(name) for name in neighbours[10:]))
    worker = world.worker(hard_deadline_s=1.5, soft_deadline_s=HOUR_S).ready()
    until(lambda: worker.lines("retry"), "the engine is replaced")
    flag.unlink()
    done = {one.name: one for one in world.await_done("stuck", *neighbours)}
    assert once(world.done()) == set(done)
    assert {done[name].attempt for name in neighbours} == {1}
    assert done["stuck"].attempt == 2
    assert done["stuck"].engine != world.trail.began("stuck")[0].engine
    assert worker.metric("darkroom_engine_restarts_total", why="deadline") >= 1
    assert worker.metric("darkroom_retries_total", error="deadline", tier="1s") == 1


def test_a_record_that_crashes_its_engine_ends_in_the_dead_letters_and_harms_no_other(
    world: World,
) -> None:
    neighbours = [f"neighbour-{number}" for number in range(31)]
    tasks = [Task(name, "wait", 2) for name in neighbours]
    tasks.insert(10, Task("crash", "crash"))
    world.ask(*tasks)
    worker = world.worker().ready()
    done = {one.name: one for one in world.await_done("crash", *neighbours)}
    assert once(world.done()) == {*neighbours, "crash"}
    assert {(done[name].attempt, done[name].failure) for name in neighbours} == {(1, "")}
    (letter,) = world.all_of(LETTERS)
    about = readable(letter.headers)
    assert (about["dl_code"], about["dl_attempts"]) == ("engine_died", "3")
    assert "SIGSEGV" in about["dl_message"]
    assert not worker.ended


def test_an_engine_is_replaced_after_its_share_of_records_with_nothing_lost_and_nothing_twice(
    world: World,
) -> None:
    names = [f"one-{number}" for number in range(300)]
    world.ask(*map(Task, names))
    worker = world.worker(records_per_process=100).ready()
    done = world.await_done(*names)
    assert once(done) == set(names)
    assert len({one.engine for one in done}) >= 2
    assert {(one.attempt, one.failure) for one in done} == {(1, "")}
    assert worker.metric("darkroom_engine_restarts_total", engine="bulk", why="recycled") >= 1


# -- order --------------------------------------------------------------------------------------


def test_urgent_records_pass_a_backlog(world: World) -> None:
    backlog = [f"bulk-{number}" for number in range(300)]
    world.ask(*(Task(name, "burn", 10) for name in backlog))
    world.worker().ready()
    until(lambda: len(world.names()) >= 20, "the backlog is being worked off")
    urgent = [f"urgent-{number}" for number in range(10)]
    world.ask(*(Task(name, "burn", 10, lane="high") for name in urgent))
    names = [one.name for one in world.await_done(*urgent, *backlog)]
    last = max(names.index(name) for name in urgent)
    assert len(set(names[last:]) & set(backlog)) > 100, "urgent records waited for the backlog"


def test_records_of_a_key_keep_their_order_where_a_lane_is_ordered_though_one_is_retried(
    world: World,
) -> None:
    first = [f"first-{number}" for number in range(10)]
    other = [f"other-{number}" for number in range(10)]
    world.ask(Task(first[0], "retry", 1, key="first"))
    for pair in zip(first[1:], other[1:], strict=True):
        world.ask(*(Task(name, key=name.partition("-")[0]) for name in pair))
    world.worker(ordered=True)
    done = [one.name for one in world.await_done(*first, *other[1:])]
    assert [name for name in done if name in first] == first
    assert [name for name in done if name in other] == other[1:]
    assert done.index(other[-1]) < done.index(first[0]), "another key waited"


# -- what is said -------------------------------------------------------------------------------


def test_a_trace_goes_on_from_a_record_to_its_events_also_after_a_retry(world: World) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    world.worker().ready()
    world.ask(Task("retried", "retry", 1), traceparent=f"00-{trace}-{span}-00")
    (done,) = world.await_done("retried")
    asked = _header(world, "tasks.asked.batch.v1", "traceparent")
    _, of_event, its_span, _ = done.headers["traceparent"].split("-")
    assert of_event == trace
    assert its_span not in {span, asked.split("-")[2]}
    worker = world.workers[0]
    assert [line["code"] for line in worker.lines("retry")] == ["retry"]


def _header(world: World, topic: str, name: str) -> str:
    (record,) = world.all_of(topic)
    return readable(record.headers)[name]


def test_a_worker_is_ready_once_it_has_its_partitions_and_counts_what_it_does(
    world: World,
) -> None:
    worker = world.worker(WORKER_LOADS="1.5")
    until(lambda: worker.get("/livez"), "it answers")
    early = worker.get("/readyz")
    assert early is not None
    assert early.status_code == 503
    assert early.json()["waiting_for"] != []
    worker.ready()
    world.ask(Task("1"), Task("2", "retry", 1), Task("3", "reject"), Task("4", lane="high"))
    world.await_done("1", "2", "3", "4")
    processed = "darkroom_messages_processed_total"
    until(lambda: worker.metric(processed) == 5, "all is counted")
    assert worker.metric(processed, lane="batch", outcome="done") == 2
    assert worker.metric(processed, lane="batch", outcome="retry") == 1
    assert worker.metric(processed, lane="batch", outcome="dead_letter") == 1
    assert worker.metric(processed, lane="high", outcome="done") == 1
    assert worker.metric("darkroom_retries_total", tier="1s", error="retry", lane="batch") == 1
    assert worker.metric("darkroom_dead_letters_total", code="bad", stage="tasks") == 1
    assert worker.metric("darkroom_processing_duration_seconds_count", lane="batch") == 4
    assert worker.metric("darkroom_end_to_end_duration_seconds_count", lane="high") == 1
    assert worker.metric("darkroom_rebalances_total", lane="high", kind="assigned") >= 1
    assert worker.metric("darkroom_engine_seconds_total", engine="bulk") > 0
    until(lambda: worker.metric("darkroom_engine_memory_bytes", engine="high") > 1e6, "is measured")
    answer = worker.get("/livez")
    assert answer is not None
    assert answer.json() == {"alive": True, "trouble": None}


# -- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_worker_that_is_asked_to_stop_finishes_and_the_next_goes_on_with_nothing_twice(
    world: World, protocol: str
) -> None:
    names = [f"{lane}-{number}" for lane, many in LOAD.items() for number in range(many)]
    world.ask(*(Task(name, "wait", 10, lane=name.partition("-")[0]) for name in names))
    first = world.worker("first", group_protocol=protocol)
    until(lambda: len(world.names()) >= 50, "it works")
    assert first.stop() == 0
    assert len(world.all_of("tasks.done.v1")) < len(names)
    world.worker("second", group_protocol=protocol)
    assert once(world.await_done(*names)) == set(names)
    assert {one.worker for one in world.done()} == {"first", "second"}


LOAD = {"high": 100, "batch": 400}


def test_a_handler_that_does_not_end_holds_up_a_stop_for_no_more_than_ten_seconds(
    world: World, flag: Path
) -> None:
    worker = world.worker(soft_deadline_s=HOUR_S, hard_deadline_s=HOUR_S).ready()
    world.ask(Task("stuck", "stuck", flag), Task("urgent", "stuck", flag, lane="high"))
    until(lambda: {call.name for call in world.trail.calls()} == {"stuck", "urgent"}, "both began")
    assert worker.stop() == 0
    assert not [one for one in world.committed("batch").values() if one > 0]


def test_a_worker_that_is_killed_leaves_no_process_behind(world: World, flag: Path) -> None:
    worker = world.worker().ready()
    world.ask(Task("stuck", "stuck", flag))
    until(lambda: world.trail.began("stuck"), "it began")
    children = psutil.Process(worker.pid).children(recursive=True)
    assert len(children) >= 3  # the fork server, two engines
    worker.kill()
    until(lambda: not [one for one in children if _lives(one)], "they end")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_defect_of_a_handler_stops_the_worker_with_one_line_and_nothing_is_lost(
    world: World, flag: Path
) -> None:
    names = [f"good-{number}" for number in range(40)]
    world.ask(*(Task(name) for name in names[:20]), Task("defect", "defect", flag))
    worker = world.worker("first")
    assert worker.code() == 1
    (line,) = [one for one in worker.lines() if one["level"] in ("error", "critical")]
    assert line["event"] == "failed"
    assert "tasks.asked.batch.v1[" in line["reason"]
    assert "ZeroDivisionError: an answer that nobody thought of" in line["reason"]
    world.ask(*(Task(name) for name in names[20:]))
    flag.unlink()
    world.worker("second")
    assert once(world.await_done("defect", *names)) == {"defect", *names}


def test_handlers_that_can_not_be_loaded_end_the_worker_with_a_sentence(world: World) -> None:
    worker = world.worker(WORKER_LACKS="file of weights")
    assert worker.code() == 1
    *_, last = worker.log.read_text(encoding="utf-8").splitlines()
    assert last.startswith("tasks: The handlers of tasks can't be loaded: FileNotFoundError")
    assert "There is no file of weights." in last


def test_a_worker_that_is_asked_to_stop_while_it_loads_does_so(world: World) -> None:
    worker = world.worker(WORKER_LOADS=str(HOUR_S))
    until(lambda: worker.lines("loading"), "it loads")
    assert worker.stop() == 0
