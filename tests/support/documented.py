"""What the documentation tells people to type, and what it says they will see."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import typer.main
from docs.tools.site import ROOT, pages

from darkroom_cli.app import build

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIABLE: Final = re.compile(r"^[A-Z_]+=\S*$")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of a page, and the output that the page shows after it, if it does."""

    command: str
    output: str | None = None

    @property
    def words(self) -> list[str]:
        """Its words, without what the shell takes: variables before it, comments."""
        words = shlex.split(self.command, comments=True)
        while words and _VARIABLE.match(words[0]):
            words.pop(0)
        return words


def commands(page: Path) -> Iterator[Shown]:
    """The commands in a page's `sh` blocks, in order; output is the block right after them."""
    text = page.read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "sh":
            continue
        lines = [line for line in block[2].replace("\\\n", " ").splitlines() if line.strip()]
        for line in lines[:-1]:
            yield Shown(line)
        shown = after is not None and after[1] in ("text", "json")
        if after is None or not shown or text[block.end() : after.start()].strip():
            yield Shown(lines[-1])
        else:
            yield Shown(lines[-1], after[2])


def all_darkroom_lines() -> list[tuple[str, str]]:
    """Every line that begins with ./darkroom in a code block of any page, with its page."""
    found = []
    for page in (Path("README.md"), *pages(ROOT)):
        text = (ROOT / page).read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if language not in ("", "sh"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                words = Shown(line).words if "./darkroom" in line else []
                if words[:1] == ["./darkroom"]:
                    found.append((str(page), line.strip()))
    return found


def misspelt(line: str) -> str | None:
    """What the command would not understand of a line; None: nothing."""
    command = _whole_command()
    words = Shown(line).words[1:]
    while hasattr(command, "commands") and words:
        name, *words = words
        if name.startswith("-"):
            return None  # an option of a group, such as --help
        if name not in command.commands:
            return f"no word {name}"
        command = command.commands[name]
    return _wrong_options(command, words)


@cache
def _whole_command() -> Any:
    return typer.main.get_command(build())


def _wrong_options(command: Any, words: list[str]) -> str | None:
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    places = [one for one in command.params if one.param_type_name == "argument"]
    given, named, rest = 0, set(), iter(words)
    for word in rest:
        if word == "--":
            break
        if not word.startswith("-") or word.lstrip("-") == "":
            given += 1
            continue
        name = word.partition("=")[0]
        if name == "--help":
            return None
        if name not in options:
            return f"no option {name}"
        named.add(options[name].name)
        if not options[name].is_flag and "=" not in word:
            next(rest, None)
    lacking = [one.opts[0] for one in options.values() if one.required and one.name not in named]
    lacking = [name for name in lacking if name.startswith("-")]
    least = sum(1 for one in places if one.required)
    if lacking or given < least:
        return f"lacks {', '.join(lacking) or 'an argument'}"
    if given > len(places) and all(one.nargs == 1 for one in places):
        return "too many arguments"
    return None
