"""What waits for something that may have been missed, until it is known to be missed. No I/O.

A finding is a suspect from the first look at the topics after it was found: then all that it rests
on lies in them. Once that look is settled, by the path that would have helped the finding, and it
is still there, nothing will help it any more.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from gateway.control.lag import Hop

What = Literal["outcomes", "ends", "totals", "items", "submissions", "deadlines"]
"""What is missing: the outcome of complete parts, the end of a file, an import's totals or
completion, a file's end as the totals have it, an answer of intake, a stage's part."""

MOST_TRIES: Final = 6
"""Repairs of one finding; with waits of 1, 3, 7, … looks in between, about an hour. What is then
still there needs a person: every one of them was told."""


class Finding(NamedTuple):
    """Something that waits.

    `subject` is an analysis or an import, `detail` says which of its stages or indices. `path` is
    what would have helped it. `late`: it has waited for so long that it may be repaired.
    """

    what: What
    subject: str
    path: tuple[Hop, ...]
    detail: str = ""
    late: bool = True

    @property
    def name(self) -> tuple[str, str, str]:
        """What it is known by from one look to the next."""
        return self.what, self.subject, self.detail


@dataclass(slots=True)
class _Suspect:
    finding: Finding
    since: int
    tries: int = 0
    not_before: int = 0


class Suspects:
    """Findings, and since which look. Looks are numbered from 1 on, in their order."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], _Suspect] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def hops(self) -> set[Hop]:
        """What the next look has to be about."""
        return {hop for suspect in self._known.values() for hop in suspect.finding.path}

    def found(self, findings: Collection[Finding], next_look: int) -> None:
        """These are all findings now, before the look with that number; others are forgotten."""
        known = self._known
        self._known = {}
        for finding in findings:
            suspect = known.get(finding.name) or _Suspect(finding, next_look)
            suspect.finding = finding
            self._known[finding.name] = suspect

    def missed(self, look: int, settled: Callable[[tuple[Hop, ...]], int]) -> Iterator[Finding]:
        """Findings that nothing but a repair will help, at the look with that number.

        `settled` gives the number of the newest look that is settled by a path, 0 for none.
        """
        for suspect in self._known.values():
            if not suspect.finding.late or suspect.tries >= MOST_TRIES:
                continue
            if look >= suspect.not_before and suspect.since <= settled(suspect.finding.path):
                yield suspect.finding

    def tries(self, finding: Finding) -> int:
        """How often it was repaired."""
        return self._known[finding.name].tries

    def repaired(self, finding: Finding, next_look: int) -> None:
        """A repair was published: it has to settle before the next one, and each waits longer."""
        suspect = self._known[finding.name]
        suspect.tries += 1
        suspect.since = next_look
        suspect.not_before = next_look + 2**suspect.tries - 2
