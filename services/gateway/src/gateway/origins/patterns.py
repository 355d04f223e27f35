"""Which files of an import are taken: globs relative to its root, and hidden names.

The rule, much like that of .gitignore, for `include` and `exclude` alike:

- `*.jpg`, without a slash, matches a name anywhere: a file, or a folder with all below it;
- `2024/*.jpg` or `/2024`, with a slash, begins at the root; `**` stands for any number of folders;
- `raw/` matches folders only: all that lies below; so does `raw/**`;
- `*`, `?`, `[abc]`, `[!abc]` stay within a name; `[*]` is a star. A backslash is a letter;
- upper and lower case are the same, and so are composed and decomposed accents.

A file is taken if something in `include` matches, or that is empty, and nothing in `exclude`.
A name that begins with a dot, and all below such a folder, is passed over unless `hidden`.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

MOST_PATTERNS: Final = 100
"""In each of the two lists."""

LONGEST_PATTERN: Final = 300
"""Characters."""


class PatternError(ValueError):
    """A pattern that says nothing, with a sentence for a person."""


class Patterns(BaseModel):
    """Which files are taken; patterns like those of .gitignore, relative to the root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[str, ...] = Field((), max_length=MOST_PATTERNS, examples=[["*.jpg", "*.heic"]])
    exclude: tuple[str, ...] = Field((), max_length=MOST_PATTERNS, examples=[["**/raw/**"]])
    hidden: bool = Field(default=False, description="names that begin with a dot, too")

    @field_validator("include", "exclude")
    @classmethod
    def _meaningful(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            parse(pattern)
        return patterns

    def location(self) -> dict[str, Any]:
        """As an import's `location` holds them."""
        return self.model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed pattern. Steps are names, expressions for one name, or None for any number of
    names; `steps` match a file's path, `folder_steps` one of a folder all of which is matched."""

    steps: tuple["_Step", ...]
    folder_steps: tuple["_Step", ...]

    def matches(self, names: Sequence[str]) -> bool:
        """Whether it matches a file; `names` are its path's, folded."""
        return _match(self.steps, names)

    def covers(self, names: Sequence[str]) -> bool:
        """Whether it matches a folder and so everything below it."""
        return _match(self.folder_steps, names)


_Step = str | re.Pattern[str] | None

_ANY: Final = None
"""Any number of names."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is taken from below a root. Paths are relative to it, with slashes."""

    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    hidden: bool = False

    def takes(self, path: str) -> bool:
        """Whether a file is taken."""
        if not self._shows(path):
            return False
        if not self.include and not self.exclude:
            return True
        names = _folded(path).split("/")
        wanted = not self.include or any(glob.matches(names) for glob in self.include)
        return wanted and not any(glob.matches(names) for glob in self.exclude)

    def enters(self, path: str) -> bool:
        """Whether anything in a folder may be taken."""
        if not self._shows(path):
            return False
        if not self.exclude:
            return True
        names = _folded(path).split("/")
        return not any(glob.covers(names) for glob in self.exclude)

    def _shows(self, path: str) -> bool:
        return self.hidden or not is_hidden(path)


EVERYTHING: Final = Rule()
"""All that is not hidden."""


def is_hidden(path: str) -> bool:
    """Whether a name in a relative path begins with a dot."""
    return path.startswith(".") or "/." in path


def rule_of(location: Mapping[str, Any]) -> Rule:
    """The rule in an import's location; raises PatternError (a ValueError)."""
    return Rule(
        include=tuple(parse(pattern) for pattern in location.get("include", ())),
        exclude=tuple(parse(pattern) for pattern in location.get("exclude", ())),
        hidden=bool(location.get("hidden", False)),
    )


def parse(pattern: str) -> Glob:
    """A pattern, ready to match; raises PatternError with a sentence that says what is wrong."""
    if not pattern.strip("/") or len(pattern) > LONGEST_PATTERN or not pattern.isprintable():
        raise PatternError(
            f"A pattern has 1 to {LONGEST_PATTERN} printable characters that are not all slashes."
        )
    if pattern.startswith("!"):
        raise PatternError(f"{pattern!r}: patterns are not negated; use the other list.")
    names = _folded(pattern).strip("/").split("/")
    if {"", ".", ".."} & set(names):
        raise PatternError(f"{pattern!r}: a pattern has no empty, '.' or '..' part.")
    anywhere = "/" not in pattern.rstrip("/")
    only_folders = pattern.endswith("/") or names[-1] == "**"
    if names[-1] == "**":
        names.pop()
    whole = [*([_ANY] if anywhere else []), *(_step(pattern, name) for name in names)]
    below: list[_Step] = [_NAME, _ANY] if only_folders else [_ANY]
    return Glob((*whole, *below), (*whole, _ANY))


_NAME: Final = re.compile("(?s:.*)")


def _step(pattern: str, name: str) -> _Step:
    if name == "**":
        return _ANY
    if not set("*?[") & set(name):
        return name
    try:
        # fnmatch's expressions do not backtrack into a star before the last one.
        return re.compile(translate(name))
    except re.error as error:  # pragma: no cover  # fnmatch escapes what is no valid class
        raise PatternError(f"{pattern!r} can't be read: {error}.") from error


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()


def _match(steps: Sequence[_Step], names: Sequence[str]) -> bool:
    """Whether the steps match all names.

    When a name does not fit, the last `_ANY` takes one more: at most steps × names comparisons.
    """
    step = name = 0
    back_to: tuple[int, int] | None = None
    while name < len(names):
        if step < len(steps) and steps[step] is _ANY:
            step += 1
            back_to = (step, name)
        elif step < len(steps) and _fits(steps[step], names[name]):
            step, name = step + 1, name + 1
        elif back_to is not None:
            step, name = back_to[0], back_to[1] + 1
            back_to = (step, name)
        else:
            return False
    return all(one is _ANY for one in steps[step:])


def _fits(step: _Step, name: str) -> bool:
    return step == name if isinstance(step, str) else step is not None and bool(step.match(name))
