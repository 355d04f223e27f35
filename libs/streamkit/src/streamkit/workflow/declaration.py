"""A workflow: declared in one place, as plain data, and checked as it is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from streamkit.job import Job
from streamkit.retry import DEFAULT_TIERS, RetryPlan
from streamkit.workflow.branches import Branch
from streamkit.workflow.checks import check
from streamkit.workflow.errors import WorkflowError
from streamkit.workflow.flows import (
    Flow,
    Group,
    Stage,
    Step,
    Topics,
    bound,
    joining,
    lanes_of,
    names_of,
    reads,
    resolved,
)
from streamkit.workflow.joins import Join
from streamkit.workflow.topics import Topic, changelog_of, dead_letters_of

_OF_ANY_RECORD: Final = Topic(name="", key="of the original record", partitions=1, group=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A declaration; `flow` is what happens to records of `entries`.

    Raises WorkflowError. `key`, `partitions` and the co-partition group, which is named after the
    workflow, hold for all topics but those that `topics` says otherwise of.
    """

    name: str
    entries: Topics
    flow: Flow
    key: str = "key"
    partitions: int = 4
    topics: tuple[Topic, ...] = ()
    steps: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        steps, _ = resolved(self.flow, lanes_of(self.entries))
        object.__setattr__(self, "steps", tuple(self._sized(step) for step in steps))
        check(self.name, self.steps, names_of(self.entries), self.events(), self.topics)

    def _sized(self, step: Step) -> Step:
        if isinstance(step, Join) and step.parts:
            return replace(step, partitions=self._declared(step.parts[0].topic).partitions)
        return step

    def step(self, name: str) -> Step:
        """The step of that name; raises WorkflowError."""
        for step in self.steps:
            if step.name == name:
                return step
        known = ", ".join(step.name for step in self.steps)
        raise WorkflowError(f"{self.name} has no step {name!r}; it has {known}")

    def bind(self, work: Mapping[str, Callable[..., Any]]) -> "Workflow":
        """The workflow with the work of these steps: a stage's `handlers`, a join's `decide`."""
        for name in work:
            self.step(name)
        return self._with(bound(step, work) for step in self.steps)

    def plus(self, stage: Stage, *, beside: str, joined: str = "") -> "Workflow":
        """The workflow with one more stage, which reads what the stage `beside` reads.

        Its result is one more part of the join `joined`, under the stage's name.
        """
        peer = self.step(beside)
        if isinstance(peer, Join):
            raise WorkflowError(f"{beside} is a join: a stage can't stand beside it")
        if joined and not isinstance(self.step(joined), Join):
            raise WorkflowError(f"{joined} is no join")
        steps = [joining(step, stage, joined) for step in self.steps]
        at = steps.index(peer)
        return self._with([*steps[: at + 1], replace(stage, lanes=peer.lanes), *steps[at + 1 :]])

    def _with(self, steps: Iterable[Step]) -> "Workflow":
        return replace(self, flow=Group(tuple(steps)))

    def jobs(self) -> Sequence[Job]:
        """What the workers of all stages do; raises WorkflowError if one has no handlers."""
        return [self.job(step.name) for step in self.steps if not isinstance(step, Join)]

    def job(self, name: str) -> Job:
        """What a stage's worker does; raises WorkflowError if it has no handlers."""
        step = self.step(name)
        if isinstance(step, Join):
            raise WorkflowError(f"{name} is a join, which runs on Faust (streamkit.faust)")
        handlers = step.handlers if isinstance(step, Stage) else step.handlers()
        if handlers is None:
            raise WorkflowError(f"stage {name} has no handlers: give them, or bind them")
        job = Job(step.name, step.version, step.lanes, handlers, dead_letters_of(step.name))
        if isinstance(step, Branch):
            return replace(job, isolation="thread")
        return replace(job, isolation=step.isolation, batching=step.batching, preload=step.preload)

    def joins(self) -> Sequence[Join]:
        """All joins; raises WorkflowError if one has no `decide`."""
        return [self.join(step.name) for step in self.steps if isinstance(step, Join)]

    def join(self, name: str) -> Join:
        """A join; raises WorkflowError if it has no `decide`."""
        step = self.step(name)
        if not isinstance(step, Join):
            raise WorkflowError(f"{name} is no join")
        if step.decide is None:
            raise WorkflowError(f"join {name} has no decide: give it, or bind it")
        return step

    def events(self) -> tuple[Topic, ...]:
        """Topics of events, with who writes and who reads them."""
        named = dict.fromkeys(
            [
                *names_of(self.entries),
                *(topic for step in self.steps for topic in (*reads(step), *step.writes)),
            ]
        )
        return tuple(
            replace(
                self._declared(topic),
                producers=tuple(step.name for step in self.steps if topic in step.writes),
                consumers=tuple(step.name for step in self.steps if topic in reads(step)),
            )
            for topic in named
        )

    def all_topics(self, retry_tiers: Sequence[str] = DEFAULT_TIERS) -> tuple[Topic, ...]:
        """All that have to exist: events, retries, dead letters, and the changelogs of joins.

        `retry_tiers` as the settings of the workers have them.
        """
        return (
            *self.events(),
            *self._retries(retry_tiers),
            *self._dead_letters(),
            *self._changelogs(),
        )

    def _retries(self, tiers: Sequence[str]) -> Iterator[Topic]:
        for step in self.steps:
            if not isinstance(step, Join):
                for name in RetryPlan(step.name, tiers).topics():
                    yield replace(
                        _OF_ANY_RECORD,
                        name=name,
                        partitions=2,
                        kind="retries",
                        producers=(step.name,),
                        consumers=(step.name,),
                    )

    def _dead_letters(self) -> Iterator[Topic]:
        for step in self.steps:
            yield replace(
                _OF_ANY_RECORD,
                name=dead_letters_of(step.name),
                kind="dead_letters",
                producers=(step.name,),
            )

    def _changelogs(self) -> Iterator[Topic]:
        for step in self.steps:
            if isinstance(step, Join):
                yield replace(
                    self._declared(step.parts[0].topic),
                    name=changelog_of(step.name),
                    kind="changelog",
                    producers=(step.name,),
                    consumers=(step.name,),
                )

    def _declared(self, topic: str) -> Topic:
        general = Topic(name=topic, key=self.key, partitions=self.partitions, group=self.name)
        return next((one for one in self.topics if one.name == topic), general)
