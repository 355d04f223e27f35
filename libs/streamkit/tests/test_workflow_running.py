"""A step of a workflow runs as a service: a stage on a Worker, a join on Faust."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import streamkit.faust
from streamkit.messages import Handlers
from streamkit.workflow import Join, Stage, Workflow, WorkflowError, chain, group
from streamkit.workflow import running as running_
from streamkit.workflow.running import serve

PAGES = Workflow(
    name="pages",
    entries="pages.v1",
    flow=chain(
        group(
            Stage(name="reader", into="read.v1", also=("sad.v1",), handlers=lambda: Handlers({})),
            Stage(name="counter", into="counted.v1"),
        ),
        Join(name="joiner", into="done.v1", decide=lambda _: {}),
    ),
)


class Ran:
    """What was run, instead of running it."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.connected: list[Any] = []
        self.ran: list[str] = []
        self.lacking: list[str] = []

    @contextmanager
    def frame(self, name: str, _settings: Any, ready: Any, *_trouble: Any) -> Iterator[Any]:
        self.frames.append(name)
        yield threading.Event()
        self.lacking = ready()

    def connect(self, job: Any, settings: Any, schema_of: Any, writes: Any, _stop: Any) -> Any:
        self.connected.append((job.service, settings.topic_prefix, tuple(writes)))
        return SimpleNamespace(
            waiting_for=lambda: ["partitions"],
            watchdog=SimpleNamespace(trouble=lambda: ""),
            run=lambda _stop: self.ran.append("worker"),
        )

    def join_app(self, join: Any, settings: Any, schema_of: Any) -> Any:
        self.connected.append((join.name, settings.join_instance))
        return SimpleNamespace(run=lambda _stop, _readiness: self.ran.append("faust"))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    found = Ran()
    monkeypatch.setattr(running_, "service_frame", found.frame)
    monkeypatch.setattr(running_, "connect", found.connect)
    monkeypatch.setattr(streamkit.faust, "join_app", found.join_app)
    return found


def schema_of(_topic: str) -> dict[str, Any]:
    return {}


def test_a_stage_runs_on_a_worker_that_knows_what_it_writes(ran: Ran) -> None:
    serve(PAGES, "reader", schema_of, ["--topic-prefix", "t."])
    assert ran.frames == ["reader"]
    assert ran.connected == [("reader", "t.", ("read.v1", "sad.v1"))]
    assert (ran.ran, ran.lacking) == (["worker"], ["partitions"])


def test_a_join_runs_on_faust(ran: Ran) -> None:
    serve(PAGES, "joiner", schema_of, ["--join-instance", "second"])
    assert ran.frames == ["joiner"]
    assert ran.connected == [("joiner", "second")]
    assert ran.ran == ["faust"]


@pytest.mark.parametrize("step", ["counter", "printer"])
def test_what_can_not_be_run_is_said(ran: Ran, step: str) -> None:
    with pytest.raises(WorkflowError):
        serve(PAGES, step, schema_of)
    assert ran.frames == []
