"""How stages, joins and branches are put together: chains and groups, and what each step reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from streamkit.job import Batching, Lane
from streamkit.messages import Handlers
from streamkit.workflow.branches import Branch
from streamkit.workflow.errors import WorkflowError
from streamkit.workflow.joins import Join
from streamkit.workflow.parts import Part

Topics = str | Mapping[str, str]
"""A topic, or a topic for each lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A service that works on records one by one.

    `into` is where its results go, and what the next step of a chain reads; `also` are the other
    topics that it writes. `reads` may be left out in a chain. `handlers` and what follows are as
    in Job; they may be left out until `Workflow.bind`.
    """

    name: str
    into: Topics = ""
    also: tuple[str, ...] = ()
    reads: Topics = ""
    handlers: Callable[[], Handlers] | None = None
    version: str = "0"
    lanes: tuple[Lane, ...] = ()
    isolation: Literal["process", "thread"] = "process"
    batching: Batching | None = None
    preload: tuple[str, ...] = ()

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics of its events."""
        return (*names_of(self.into), *self.also)


Step = Stage | Join | Branch


@dataclass(frozen=True, slots=True)
class Chain:
    """Each flow reads what the one before it writes."""

    flows: "tuple[Flow, ...]"


@dataclass(frozen=True, slots=True)
class Group:
    """All flows read the same records, each all of them."""

    flows: "tuple[Flow, ...]"


Flow = Step | Chain | Group


def chain(*flows: Flow) -> Chain:
    """One after another.

    A Join after a group waits for one part from each flow of it, unless it names its parts. A
    Branch after a join routes its outcomes.
    """
    return Chain(flows)


def group(*flows: Flow) -> Group:
    """Beside each other: a record fans out to all of them."""
    return Group(flows)


def reads(step: Step) -> tuple[str, ...]:
    """Topics that a step reads."""
    if isinstance(step, Join):
        return step.reads
    return tuple(topic for lane in step.lanes for topic in lane.topics)


def names_of(topics: Topics) -> tuple[str, ...]:
    if isinstance(topics, str):
        return (topics,) if topics else ()
    return tuple(topics.values())


def lanes_of(topics: Topics) -> tuple[Lane, ...]:
    if isinstance(topics, str):
        return (Lane("default", (topics,)),) if topics else ()
    return tuple(Lane(name, (topic,)) for name, topic in topics.items())


def _merged(several: Iterable[tuple[Lane, ...]]) -> tuple[Lane, ...]:
    """Lanes of the same name as one."""
    merged: dict[str, Lane] = {}
    for lane in (lane for lanes in several for lane in lanes):
        known = merged.get(lane.name, replace(lane, topics=()))
        merged[lane.name] = replace(known, topics=(*known.topics, *lane.topics))
    return tuple(merged.values())


Ends = Mapping[str, tuple[Lane, ...]]
"""Where the results of a flow are, by the step that they come from."""


def resolved(
    flow: Flow, source: tuple[Lane, ...], ends: Ends | None = None
) -> tuple[tuple[Step, ...], Ends]:
    """The flow's steps with all that they read, and its ends.

    `source` is what its first steps read; `ends` the same by the steps that wrote it.
    """
    match flow:
        case Chain(flows):
            return _one_after_another(flows, source)
        case Group(flows):
            found = [resolved(one, source, ends) for one in flows]
            steps = tuple(step for some, _ in found for step in some)
            return steps, {name: lanes for _, some in found for name, lanes in some.items()}
        case Stage():
            lanes = flow.lanes or lanes_of(flow.reads) or source
            return (replace(flow, lanes=lanes),), {flow.name: lanes_of(flow.into)}
        case Branch():
            lanes = flow.lanes or source
            return (replace(flow, lanes=lanes),), {flow.name: lanes_of(flow.topics)}
        case Join():
            parts = flow.parts or tuple(_parts(flow.name, ends or {}))
            into = flow.into.topics if isinstance(flow.into, Branch) else flow.into
            return (replace(flow, parts=parts),), {flow.name: lanes_of(into)}


def _one_after_another(
    flows: tuple[Flow, ...], source: tuple[Lane, ...]
) -> tuple[tuple[Step, ...], Ends]:
    steps: tuple[Step, ...] = ()
    ends: Ends = {}
    for flow in flows:
        last = steps[-1] if steps else None
        if isinstance(flow, Branch) and isinstance(last, Join) and not last.into:
            steps = (*steps[:-1], replace(last, into=flow))
            ends = {last.name: lanes_of(flow.topics)}
        else:
            more, ends = resolved(flow, source, ends)
            steps = (*steps, *more)
        source = _merged(ends.values())
    return steps, ends


def _parts(join: str, ends: Ends) -> Iterator[Part]:
    """A part of each flow that ends before a join."""
    for name, lanes in ends.items():
        topics = [topic for lane in lanes for topic in lane.topics]
        if len(topics) != 1:
            raise WorkflowError(
                f"join {join} can't tell the part of {name}, which goes into "
                f"{len(topics)} topics: name its parts"
            )
        yield Part(name, topics[0])


def bound(step: Step, work: Mapping[str, Callable[..., Any]]) -> Step:
    if step.name not in work:
        return step
    match step:
        case Stage():
            return replace(step, handlers=work[step.name])
        case Join():
            return replace(step, decide=work[step.name])
        case Branch():
            return replace(step, choose=work[step.name])


def joining(step: Step, stage: Stage, joined: str) -> Step:
    if step.name != joined or not isinstance(step, Join):
        return step
    return replace(step, parts=(*step.parts, *_parts(joined, {stage.name: lanes_of(stage.into)})))
