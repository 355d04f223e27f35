"""Photos whose labels are known, and what is said when they aren't."""

import difflib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from detector.calibration import NONE_OF_THESE

NONE_NAMES: Final = frozenset({"none", NONE_OF_THESE})
"""Names that mean that no label fits; no label can have them."""

_SUGGESTED: Final = 3
_LIKE_ENOUGH: Final = 0.6
_SEED: Final = 7


class CalibrateError(Exception):
    """There is nothing to fit a calibration to; a sentence with the cure."""


class UnusableError(Exception):
    """A photo has to be left out; a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Example:
    """A photo, by a name that its reader knows, and what it shows: a label or NONE_OF_THESE.

    Photos of one `group` tell of each other, such as those of a burst.
    """

    name: str
    label: str
    group: str


Read = Callable[[Example], bytes]
"""The bytes of a photo. Raises UnusableError."""


def plain(name: str) -> str:
    """A name as it is compared: `Golden_Retriever` is `golden retriever`."""
    return " ".join(name.replace("_", " ").casefold().split())


@dataclass(frozen=True, slots=True)
class Names:
    """Finds labels by names that people write."""

    by_plain: Mapping[str, str]

    @classmethod
    def of(cls, labels: Sequence[str]) -> "Names":
        """Of a labeller. Of labels that are compared alike the first is meant."""
        found: dict[str, str] = {}
        for label in labels:
            found.setdefault(plain(label), label)
        return cls(found)

    def label(self, name: str) -> str | None:
        """The label that is meant, NONE_OF_THESE for "none"; None if there is no such one."""
        wanted = plain(name)
        return NONE_OF_THESE if wanted in NONE_NAMES else self.by_plain.get(wanted)

    def like(self, name: str) -> list[str]:
        """The few labels that are most like a name: those that have it as a word go first."""
        wanted = plain(name)
        having = [one for one in self.by_plain if f" {wanted} " in f" {one} "]
        close = difflib.get_close_matches(wanted, self.by_plain, _SUGGESTED, _LIKE_ENOUGH)
        found = list(dict.fromkeys([*having, *close]))[:_SUGGESTED]
        return [self.by_plain[one] for one in found]


def some(examples: Sequence[Example], most: int) -> Sequence[Example]:
    """At most so many of them, in their order; of more, each is as likely to be among them."""
    if len(examples) <= most:
        return examples
    chosen = random.Random(_SEED).sample(range(len(examples)), most)  # noqa: S311  # no secret
    return [examples[at] for at in sorted(chosen)]
