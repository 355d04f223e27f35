"""What makes a workflow a sound one."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from streamkit.workflow.branches import Branch
from streamkit.workflow.errors import WorkflowError
from streamkit.workflow.flows import Stage, Step, reads
from streamkit.workflow.joins import Join
from streamkit.workflow.topics import Topic

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
"""What Kafka takes as the name of a topic (up to 249 characters), and room for a prefix."""


def check(
    workflow: str,
    steps: Sequence[Step],
    entries: Sequence[str],
    topics: Sequence[Topic],
    special: Sequence[Topic],
) -> None:
    """Raises WorkflowError with all that is wrong, one line for each."""
    by_name = {topic.name: topic for topic in topics}
    wrong = [
        *_names(workflow, steps, topics),
        *_ways(entries, topics, special),
        *(line for step in steps if isinstance(step, Join) for line in _join(step, by_name)),
        *(line for step in steps for line in _step(step)),
    ]
    if wrong:
        raise WorkflowError("\n".join(f"{workflow}: {line}" for line in wrong))


def _names(workflow: str, steps: Sequence[Step], topics: Iterable[Topic]) -> Iterator[str]:
    if not steps:
        yield "there is no step"
    for name, times in Counter(step.name for step in steps).items():
        if times > 1:
            yield f"there are {times} steps named {name}"
    for name in (workflow, *(step.name for step in steps), *(topic.name for topic in topics)):
        if not _NAME.fullmatch(name):
            yield f"{name!r} can't be a name: letters, digits, '.', '_' and '-' can"


def _ways(
    entries: Sequence[str],
    topics: Sequence[Topic],
    special: Sequence[Topic],
) -> Iterator[str]:
    """Every topic that is read is written or an entry; nothing is declared for nothing."""
    for topic in topics:
        readers = ", ".join(topic.consumers)
        if readers and not topic.producers and topic.name not in entries:
            yield f"{readers} reads {topic.name}, which nobody writes and is no entry"
        if topic.name in entries and not readers:
            yield f"nobody reads the entry {topic.name}"
    known = {topic.name for topic in topics}
    for topic in special:
        if topic.name not in known:
            yield f"nobody reads or writes {topic.name}, which is declared as a topic"


def _step(step: Step) -> Iterator[str]:
    if not isinstance(step, Join) and not reads(step):
        yield f"{step.name} reads nothing: put it into a chain, or say what it reads"
    for name, times in Counter(reads(step)).items():
        if times > 1:
            yield f"{step.name} reads {name} {times} times"
    if isinstance(step, Stage) and len(set(step.writes)) < len(step.writes):
        yield f"{step.name} names a topic twice that it writes"
    if isinstance(step, Branch) and not step.topics:
        yield f"branch {step.name} leads nowhere"


def _join(join: Join, topics: dict[str, Topic]) -> Iterator[str]:
    if not join.parts:
        yield f"join {join.name} has no parts: put it behind a group, or name them"
    if not join.into:
        yield f"join {join.name} has no topic for its outcome (into, or a branch after it)"
    for name, times in Counter(part.name for part in join.parts).items():
        if times > 1:
            yield f"join {join.name} has {times} parts named {name}"
        if "/" in name:
            yield f"join {join.name}: a part's name has no '/', unlike {name!r}"
    for name, times in Counter(one.topic for one in join.inputs).items():
        if times > 1:
            yield f"join {join.name} reads {name} for {times} purposes"
    if any(part.each is not None for part in join.parts) and join.expects is None:
        yield f"join {join.name} has a part that comes many times, but not how often (expects)"
    yield from _copartitioned(join, [topics[topic] for topic in join.reads if topic in topics])


def _copartitioned(join: Join, inputs: Sequence[Topic]) -> Iterator[str]:
    """Parts of the same thing must meet in the same partition number."""
    differing: dict[str, Callable[[Topic], object]] = {
        "keys": lambda topic: topic.key,
        "partition counts": lambda topic: topic.partitions,
        "co-partition groups": lambda topic: topic.group,
    }
    for what, of in differing.items():
        if len({of(topic) for topic in inputs}) > 1:
            listed = ", ".join(f"{topic.name}: {of(topic)}" for topic in inputs)
            yield f"join {join.name} reads topics of different {what} ({listed})"
