"""A workflow as a picture: text that Mermaid draws."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from streamkit.workflow.branches import Branch
from streamkit.workflow.declaration import Workflow
from streamkit.workflow.flows import Step, reads
from streamkit.workflow.joins import Join


def mermaid(workflow: Workflow) -> str:
    """A flowchart: steps are boxes (joins hexagons, branches diamonds), topics are arrows.

    Topics of several lanes are one arrow, with `{a,b}` where their names differ.
    """
    numbers = {step.name: f"s{number}" for number, step in enumerate(workflow.steps)}
    lines = ["flowchart LR", *(f"  {_box(numbers[one.name], one)}" for one in workflow.steps)]
    for (writers, readers), names in _arrows(workflow):
        label = _collapsed(names)
        sources = [numbers[name] for name in writers] or [f"in_{len(lines)}(( ))"]
        targets = [numbers[name] for name in readers] or [f"out_{len(lines)}(( ))"]
        lines.append(f'  {" & ".join(sources)} -- "{label}" --> {" & ".join(targets)}')
    return "\n".join(lines) + "\n"


def _box(number: str, step: Step) -> str:
    if isinstance(step, Join):
        return f'{number}{{{{"{step.name}"}}}}'
    if isinstance(step, Branch):
        return f'{number}{{"{step.name}"}}'
    return f'{number}["{step.name}"]'


def _arrows(
    workflow: Workflow,
) -> Iterator[tuple[tuple[tuple[str, ...], tuple[str, ...]], list[str]]]:
    """Topics by who writes and who reads them; those of a step's lanes together."""
    ends = [((topic.producers, topic.consumers), topic.name) for topic in workflow.events()]
    for way, some in groupby(ends, key=lambda end: end[0]):
        names = [name for _, name in some]
        if way[1] and _are_lanes(workflow, way[1][0], names):
            yield way, names
        else:
            yield from ((way, [name]) for name in names)


def _are_lanes(workflow: Workflow, reader: str, names: Iterable[str]) -> bool:
    step = workflow.step(reader)
    return not isinstance(step, Join) and set(names) <= set(reads(step))


def _collapsed(names: list[str]) -> str:
    """The names as one, as a shell would write it; they differ in whole words."""
    words = [name.split(".") for name in names]
    start = _common(words)
    end = _common([some[start:][::-1] for some in words])
    middles = [".".join(some[start : len(some) - end]) for some in words]
    if len(set(middles)) == 1:
        return names[0]
    first = words[0]
    return ".".join([*first[:start], f"{{{','.join(middles)}}}", *first[len(first) - end :]])


def _common(several: list[list[str]]) -> int:
    """How many words all begin with."""
    different = (at for at, ones in enumerate(zip(*several, strict=False)) if len(set(ones)) > 1)
    return next(different, min(map(len, several)))
