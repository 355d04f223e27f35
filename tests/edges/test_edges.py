"""One run of the whole system, in which every edge of the architecture carries something: each is
seen as a trace and as a metric."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darkroom_cli import log_search
from darkroom_cli.log_search import Wanted
from darkroom_cli.stack import SERVICES, Stack
from edge_evidence import Metrics, unseen
from edge_scenario import Json, Scenario, environment, until
from import_watch import stub_environment
from late_store import LateStore
from otlp_receiver import Receiver, SpanSeen
from streamkit import tracing
from streamkit.log_line import LogLine

WITHIN_S = 110.0


@dataclass(frozen=True)
class Run:
    """What was seen of a run."""

    stack: Stack
    spans: dict[str, SpanSeen]
    unseen: list[str]
    photo: Json


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def run(
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
    example: Callable[..., dict[str, Any]],
) -> Iterator[Run]:
    with LateStore() as late:
        yield from running(receiver, late, tmp_path_factory, example)


def running(
    receiver: Receiver,
    late: LateStore,
    tmp_path_factory: pytest.TempPathFactory,
    example: Callable[..., dict[str, Any]],
) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("photos")
    stubs = {**stub_environment(folder), **late.environment}
    env = environment(folder, receiver.url, stubs)
    traced = {name: text for name, text in env.items() if name.startswith(("OTEL_", "DARKROOM_R"))}
    with pytest.MonkeyPatch.context() as patch:
        for name, text in traced.items():
            patch.setenv(name, text)
        tracing.configure("others", sample=1)
        with Stack(tmp_path_factory.mktemp("data"), env=env) as stack:
            scenario = Scenario(stack, folder, example, late)
            try:
                yield played(scenario, stack, receiver)
            finally:
                scenario.close()
                tracing.close()


def played(scenario: Scenario, stack: Stack, receiver: Receiver) -> Run:
    """Have everything happen; then wait for the last of it to be seen."""
    metrics = Metrics()
    scenario.of_long_ago()
    scenario.foreign_photos()
    scenario.nobody_can_read()
    scenario.failures_that_pass()
    failed = scenario.failures_that_stay()
    scenario.an_operator_of_another_tool()
    scenario.another_policy()
    scenario.they_wait_for_another_try()
    photos = scenario.photos_of_every_lane_and_outcome()
    decided, unread = scenario.analyses_with_outcome(2)
    scenario.an_import_that_teaches()
    scenario.a_pause_and_what_is_called_off_meanwhile()
    scenario.other_versions()
    metrics.scrape(stack)
    scenario.the_aggregator_is_killed()
    scenario.a_head_is_trained()
    scenario.a_training_called_off()
    scenario.another_head_looks_beside()
    scenario.failures_tried_again()
    scenario.dead_letters_replayed(("trainer", "gateway"))
    scenario.another_embedder()
    scenario.hand_in("batch", bright=100)
    until(lambda: scenario.outcome_of(failed), "the photo that failed has its outcome")
    scenario.the_catalog_forgets(decided, unread, failed)
    scenario.others_read()
    deadline = time.monotonic() + WITHIN_S
    while True:
        metrics.scrape(stack)
        spans = receiver.spans()
        missing = unseen(spans, metrics)
        if not missing or time.monotonic() > deadline:
            return Run(stack, spans, missing, photos[0])
        scenario.reconcile()
        time.sleep(1.5)


def test_every_edge_is_seen_as_a_trace_and_as_a_metric(run: Run) -> None:
    assert not run.unseen, "\n".join(run.unseen)


def test_one_trace_reaches_from_the_upload_to_the_record_of_the_outcome(run: Run) -> None:
    traces: dict[str, set[str]] = {}
    for span in run.spans.values():
        traces.setdefault(span.trace_id, set()).add(span.service)
    path = {"gateway-api", "gateway-control", "intake", "detector", "ocr", "embedder"}
    path |= {"aggregator", "gateway-recorder"}
    (line, *_) = log_search.found(files(run), Wanted(photo=run.photo["photo_id"]))
    assert traces[str(line["trace_id"])] >= path


def test_a_photos_path_is_told_by_the_logs_of_all_services(run: Run) -> None:
    lines = log_search.found(files(run), Wanted(photo=run.photo["photo_id"]))
    said = {(str(line["service"]), line["event"]) for line in lines}
    worked = ("intake", "detector", "ocr", "embedder", "aggregator", "gateway-recorder")
    assert {("gateway-api", "photo_handed_in"), ("gateway-control", "published")} <= said
    assert {(service, "handled") for service in worked} <= said
    path = [log_search.shown(line).split()[1] for line in lines]
    # A door that hands something on may come to say so only after the next one has.
    doors = {"gateway-api", "gateway-control", "gateway-recorder"}
    assert set(path[: path.index("intake")]) <= doors
    assert path.index("detector") < len(path) - path[::-1].index("gateway-recorder")


def test_every_line_of_every_service_has_the_one_shape(run: Run) -> None:
    services = set()
    for file in files(run):
        for text in file.read_text(errors="replace").splitlines():
            body = text.partition(" | ")[2]
            if not body.startswith("["):  # a remark of the supervisor's
                services.add(LogLine.model_validate_json(body).service)
    assert services == set(SERVICES)


def files(run: Run) -> list[Path]:
    return log_search.files_of(run.stack.data.logs, SERVICES)
