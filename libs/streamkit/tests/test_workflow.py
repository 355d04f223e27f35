"""Workflows are declared in one place, checked, and say what each of their parts is to do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from streamkit.errors import Reject
from streamkit.job import Batching, Lane
from streamkit.messages import Handlers, Message
from streamkit.workflow import (
    Branch,
    Expiry,
    Failures,
    Flow,
    Join,
    Joined,
    Part,
    Stage,
    Topic,
    Workflow,
    WorkflowError,
    chain,
    group,
    mermaid,
    reads,
)


def nothing() -> Handlers:
    return Handlers({})


def count(joined: Joined) -> Mapping[str, Any]:
    return {"parts": len(joined.parts)}


def size(value: Mapping[str, Any]) -> str:
    return "large" if value["parts"] > 1 else "small"


def stage(name: str, into: Any = "", **options: Any) -> Stage:
    return Stage(name=name, into=into, handlers=nothing, **options)


LANES = {"high": "pages.high.v1", "bulk": "pages.bulk.v1"}
READER = stage("reader", "pages.read.v1")
COUNTER = stage("counter", "pages.counted.v1", also=("pages.failed.v1",))


def workflow(flow: Flow, **options: Any) -> Workflow:
    return Workflow(**{"name": "pages", "entries": "pages.v1", "flow": flow, **options})


def joined(**options: Any) -> Workflow:
    join = Join(**{"name": "joiner", "into": "pages.done.v1", "decide": count, **options})
    return workflow(chain(group(READER, COUNTER), join))


def wrong(flow: Flow, **options: Any) -> str:
    """What is wrong with a declaration."""
    with pytest.raises(WorkflowError) as caught:
        workflow(flow, **options)
    return str(caught.value)


def test_a_chain_hands_each_stages_results_to_the_next() -> None:
    found = workflow(chain(READER, stage("printer")))
    assert [reads(step) for step in found.steps] == [("pages.v1",), ("pages.read.v1",)]


def test_a_group_gives_every_stage_the_same_records() -> None:
    found = workflow(group(READER, COUNTER))
    assert [reads(step) for step in found.steps] == [("pages.v1",), ("pages.v1",)]


def test_lanes_go_through_a_chain() -> None:
    found = workflow(chain(stage("intake", LANES), READER), entries={"high": "a", "bulk": "b"})
    assert found.job("intake").lanes == (Lane("high", ("a",)), Lane("bulk", ("b",)))
    assert found.job("reader").lanes == (
        Lane("high", ("pages.high.v1",)),
        Lane("bulk", ("pages.bulk.v1",)),
    )


def test_a_stage_after_a_group_reads_the_results_of_all() -> None:
    found = workflow(chain(group(READER, COUNTER), stage("printer")))
    assert found.job("printer").lanes == (Lane("default", ("pages.read.v1", "pages.counted.v1")),)


def test_what_a_stage_says_that_it_reads_is_what_it_reads() -> None:
    printer = stage("printer", reads="pages.counted.v1")
    found = workflow(chain(group(READER, COUNTER), printer))
    assert reads(found.step("printer")) == ("pages.counted.v1",)


def test_lanes_can_be_given_with_their_bounds() -> None:
    lanes = (Lane("default", ("pages.v1",), concurrency=2, ordered=True),)
    assert workflow(stage("printer", lanes=lanes)).job("printer").lanes == lanes


def test_a_join_after_a_group_waits_for_a_part_of_each_of_its_flows() -> None:
    long = chain(READER, stage("speller", "pages.spelled.v1"))
    join = Join(name="joiner", into="pages.done.v1")
    found = workflow(chain(group(long, COUNTER), join)).step("joiner")
    assert isinstance(found, Join)
    assert [(part.name, part.topic) for part in found.parts] == [
        ("speller", "pages.spelled.v1"),
        ("counter", "pages.counted.v1"),
    ]


def test_a_branch_after_a_join_routes_its_outcomes() -> None:
    branch = Branch(name="size", choose=size, topics={"large": "l.v1", "small": "s.v1"})
    join = Join(name="joiner", decide=count)
    found = workflow(chain(group(READER, COUNTER), join, branch, stage("printer")))
    assert found.join("joiner").into == branch
    assert found.join("joiner").writes == ("l.v1", "s.v1")
    assert [step.name for step in found.steps] == ["reader", "counter", "joiner", "printer"]
    assert found.job("printer").lanes == (Lane("large", ("l.v1",)), Lane("small", ("s.v1",)))


def test_a_branch_elsewhere_is_a_stage_that_passes_records_on() -> None:
    branch = Branch(name="size", choose=size, topics={"large": "l.v1", "small": "s.v1"})
    job = workflow(chain(READER, branch)).job("size")
    assert (job.lanes, job.isolation) == ((Lane("default", ("pages.read.v1",)),), "thread")
    handle: Any = job.handlers().by_topic["pages.read.v1"]
    message = Message("pages.read.v1", "default", "k", {"parts": 2}, {"ce_id": "1"}, 0, 7, 0)
    (event,) = handle(message)
    assert (event.topic, event.key, event.value) == ("l.v1", "k", {"parts": 2})
    assert handle(message) == [event]
    (other,) = handle(replace(message, headers={"ce_id": "2"}))
    (unnamed,) = handle(replace(message, headers={}))
    assert len({event.id, other.id, unnamed.id}) == 3


def test_a_value_that_no_branch_is_for_is_rejected() -> None:
    branch = Branch(name="size", choose=lambda _: "medium", topics={"small": "s.v1"})
    with pytest.raises(Reject) as caught:
        branch.topic_of({})
    assert caught.value.code == "no_such_branch"


def test_a_job_has_all_that_its_stage_declares() -> None:
    batching = Batching(largest=4)
    declared = stage("reader", version="3", batching=batching, preload=("torch",))
    job = workflow(replace(declared, isolation="thread")).job("reader")
    assert (job.service, job.version, job.dead_letters) == ("reader", "3", "darkroom.reader.dlq")
    assert (job.batching, job.preload, job.isolation) == (batching, ("torch",), "thread")
    assert job.handlers is nothing


def test_a_workflow_lists_the_jobs_of_its_stages_and_its_joins() -> None:
    found = joined()
    assert [job.service for job in found.jobs()] == ["reader", "counter"]
    assert [join.name for join in found.joins()] == ["joiner"]


def test_what_is_not_given_in_the_declaration_is_bound_where_it_is_known() -> None:
    branch = Branch(name="size", choose=size, topics={"large": "l.v1"})
    open_ = workflow(
        chain(
            group(Stage(name="reader", into="a.v1"), Stage(name="counter", into="b.v1")),
            Join(name="joiner", into="c.v1"),
        )
    )
    with pytest.raises(WorkflowError, match="stage reader has no handlers"):
        open_.jobs()
    with pytest.raises(WorkflowError, match="join joiner has no decide"):
        open_.joins()
    bound = open_.bind({"reader": nothing, "counter": nothing, "joiner": count})
    assert [job.handlers for job in bound.jobs()] == [nothing, nothing]
    assert bound.join("joiner").decide is count
    assert bound.join("joiner").parts == open_.step("joiner").parts  # type: ignore[union-attr]
    routed = workflow(chain(READER, branch)).bind({"size": lambda _: "another"}).step("size")
    assert isinstance(routed, Branch)
    assert routed.choose({}) == "another"


def test_one_more_stage_reads_what_its_neighbour_reads_and_is_one_more_part() -> None:
    more = joined().plus(stage("smeller", "pages.smelled.v1"), beside="reader", joined="joiner")
    assert [step.name for step in more.steps] == ["reader", "smeller", "counter", "joiner"]
    assert reads(more.step("smeller")) == ("pages.v1",)
    assert [part.name for part in more.join("joiner").parts] == ["reader", "counter", "smeller"]


def test_one_more_stage_need_not_be_joined() -> None:
    more = joined().plus(stage("printer"), beside="reader")
    assert [part.name for part in more.join("joiner").parts] == ["reader", "counter"]


def test_topics_have_writers_readers_keys_partitions_and_a_group() -> None:
    special = Topic(name="pages.v1", key="book", partitions=2, group=None)
    found = joined(failures=(Failures("pages.failed.v1", lambda value: value["stage"]),))
    found = replace(found, key="page", partitions=8, topics=(special,))
    topics = {topic.name: topic for topic in found.all_topics()}
    assert topics["pages.v1"] == replace(special, consumers=("reader", "counter"))
    assert topics["pages.failed.v1"] == Topic(
        name="pages.failed.v1",
        key="page",
        partitions=8,
        group="pages",
        producers=("counter",),
        consumers=("joiner",),
    )
    letters, retries = topics["darkroom.joiner.dlq"], topics["darkroom.reader.retry-5s.high"]
    assert (letters.partitions, letters.kind) == (1, "dead_letters")
    assert (retries.partitions, retries.kind) == (2, "retries")
    assert retries.config()["message.timestamp.type"] == "LogAppendTime"
    changelog = topics["darkroom-joiner-joins-changelog"]
    assert (changelog.kind, changelog.partitions, changelog.group) == ("changelog", 8, "pages")
    assert changelog.config() == {"cleanup.policy": "compact"}
    assert found.join("joiner").partitions == 8


def test_there_are_retry_topics_for_each_tier_of_each_stage_but_none_of_a_join() -> None:
    retries = [topic.name for topic in joined().all_topics(["10s"]) if topic.kind == "retries"]
    assert retries == [
        "darkroom.reader.retry-10s.high",
        "darkroom.reader.retry-10s.bulk",
        "darkroom.counter.retry-10s.high",
        "darkroom.counter.retry-10s.bulk",
    ]


PARTS = (Part("reader", "pages.read.v1"), Part("counter", "pages.counted.v1"))


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (group(), "there is no step"),
        (group(READER, READER), "there are 2 steps named reader"),
        (stage("a reader"), "'a reader' can't be a name"),
        (chain(READER, stage("printer", reads="x.v1")), "printer reads x.v1, which nobody writes"),
        (stage("printer", reads="pages.read.v1"), "nobody reads the entry pages.v1"),
        (chain(stage("printer"), READER), "reader reads nothing"),
        (stage("reader", lanes=(Lane("a", ("pages.v1", "pages.v1")),)), "reads pages.v1 2 times"),
        (stage("reader", "b.v1", also=("b.v1",)), "reader names a topic twice that it writes"),
        (chain(READER, Branch(name="b", choose=size, topics={})), "branch b leads nowhere"),
        (chain(READER, Join(name="j", parts=PARTS[:1])), "join j has no topic for its outcome"),
        (group(READER, Join(name="j", into="d.v1")), "join j has no parts"),
        (
            chain(group(stage("reader"), COUNTER), Join(name="j", into="d.v1")),
            "join j can't tell the part of reader, which goes into 0 topics",
        ),
        (
            chain(group(READER, COUNTER), Join(name="j", into="d.v1", parts=(*PARTS, PARTS[0]))),
            "join j has 2 parts named reader",
        ),
        (
            chain(READER, Join(name="j", into="d.v1", parts=(Part("a/b", "pages.read.v1"),))),
            "join j: a part's name has no '/'",
        ),
        (
            chain(
                READER,
                Join(
                    name="j",
                    into="d.v1",
                    parts=PARTS[:1],
                    expiry=Expiry("pages.read.v1", after_s=9),
                ),
            ),
            "join j reads pages.read.v1 for 2 purposes",
        ),
        (
            chain(
                READER, Join(name="j", into="d.v1", parts=(Part("a", "pages.read.v1", each=size),))
            ),
            "join j has a part that comes many times, but not how often",
        ),
        (
            chain(READER, Join(name="j", into="d.v1", parts=PARTS)),
            "j reads pages.counted.v1, which nobody writes",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_with_the_place(
    flow: Flow, message: str
) -> None:
    assert message in wrong(flow)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "other"}, "different keys"),
        ({"partitions": 7}, "different partition counts"),
        ({"group": "other"}, "different co-partition groups"),
    ],
)
def test_what_is_joined_meets_in_the_same_partition(change: dict[str, Any], message: str) -> None:
    usual = {"name": "pages.read.v1", "key": "key", "partitions": 4, "group": "pages"}
    flow = chain(group(READER, COUNTER), Join(name="j", into="d.v1"))
    assert message in wrong(flow, topics=(Topic(**{**usual, **change}),))


def test_a_topic_that_nobody_uses_is_refused() -> None:
    unused = Topic(name="x.v1", key="key", partitions=1, group=None)
    assert "nobody reads or writes x.v1" in wrong(READER, topics=(unused,))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    lines = wrong(chain(stage("a b", "c d"), stage("e f"))).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("pages: ") for line in lines)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.step("x"), "has no step 'x'; it has reader, counter, joiner"),
        (lambda found: found.job("joiner"), "joiner is a join, which runs on Faust"),
        (lambda found: found.join("reader"), "reader is no join"),
        (lambda found: found.bind({"x": nothing}), "has no step 'x'"),
        (lambda found: found.plus(stage("s"), beside="joiner"), "joiner is a join"),
        (lambda found: found.plus(stage("s"), beside="reader", joined="reader"), "is no join"),
    ],
)
def test_what_is_asked_for_in_vain_is_said(ask: Any, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        ask(joined())


def test_a_workflow_can_be_drawn() -> None:
    branch = Branch(name="size", choose=size, topics={"large": "l.v1", "small": "s.v1"})
    flow = chain(
        stage("intake", LANES, also=("pages.failed.v1",)),
        group(READER, COUNTER),
        Join(name="joiner", into="pages.done.v1"),
        stage("printer", "pages.printed.v1"),
        branch,
    )
    text = mermaid(workflow(flow))
    assert text == (
        "flowchart LR\n"
        '  s0["intake"]\n'
        '  s1["reader"]\n'
        '  s2["counter"]\n'
        '  s3{{"joiner"}}\n'
        '  s4["printer"]\n'
        '  s5{"size"}\n'
        '  in_7(( )) -- "pages.v1" --> s0\n'
        '  s0 -- "pages.{high,bulk}.v1" --> s1 & s2\n'
        '  s0 & s2 -- "pages.failed.v1" --> out_9(( ))\n'
        '  s1 -- "pages.read.v1" --> s3\n'
        '  s2 -- "pages.counted.v1" --> s3\n'
        '  s3 -- "pages.done.v1" --> s4\n'
        '  s4 -- "pages.printed.v1" --> s5\n'
        '  s5 -- "l.v1" --> out_14(( ))\n'
        '  s5 -- "s.v1" --> out_15(( ))\n'
    )
