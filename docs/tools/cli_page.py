"""`docs/reference/cli.md`: every word of the `darkroom` command, out of the command itself."""

import inspect
from collections.abc import Iterator
from typing import Any, Final

import typer.main
from docs.tools.markdown import cell, code, page, table

from darkroom_cli.app import build

_HEAD: Final = """\
# The command

`./darkroom` at the root of a checkout makes its Python environment at the first start and goes on
as this command. Every word has `--help`; what answers with data has `--json`. Errors that you can
put right end with exit code 1 and say how; wrong use ends with 2.

This page is generated: `python -m docs.tools.generate`.
"""


def cli_page() -> str:
    """The page, as it should be."""
    root = typer.main.get_command(build())
    return page(_HEAD, *(part for word in _words(root) for part in _described(*word)))


def _words(command: Any, path: str = "./darkroom") -> Iterator[tuple[str, Any]]:
    """Words that do something, with all words before them."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    if path != "./darkroom":
        yield path, command
    for name, one in inner.items():
        yield from _words(one, f"{path} {name}")


def _described(path: str, command: Any) -> Iterator[str]:
    name = path.removeprefix("./darkroom ")
    if hasattr(command, "commands"):
        yield f"## {name}"
        yield _prose(command.help)
        return
    yield f"{'###' if ' ' in name else '##'} {name}"
    yield f"```text\n{path}{_usage(command)}\n```"
    yield _prose(command.help)
    yield table(("option", "default", "meaning"), (_row(one) for one in command.params))


def _prose(text: str | None) -> str:
    """Help as Markdown: lines that are commands become code."""
    parts = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{part}\n```" if part.lstrip().startswith("./darkroom") else _joined(part)
        for part in parts
    )


def _joined(part: str) -> str:
    return " ".join(part.split())


def _usage(command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    words = [_argument(one) for one in arguments]
    if len(arguments) < len(command.params):
        words.insert(0, "[OPTIONS]")
    return "".join(f" {word}" for word in words)


def _argument(one: Any) -> str:
    name = (one.metavar or one.name or "").upper().strip("[].")
    shown = f"{name}…" if one.nargs != 1 else name
    return shown if one.required else f"[{shown}]"


def _row(one: Any) -> tuple[str, str, str]:
    if one.param_type_name == "argument":
        name = code(_argument(one))
    else:
        name = ", ".join(code(word) for word in (*one.opts, *one.secondary_opts))
    return name, _default(one), cell(getattr(one, "help", None) or "")


def _default(one: Any) -> str:
    value = one.default
    if one.required:
        return "required"
    if value in (None, False, (), []) or callable(value):
        return ""
    return code(value)
