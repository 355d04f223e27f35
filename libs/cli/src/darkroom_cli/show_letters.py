"""Dead letters as people read them in a terminal, and as programs do.

Keys, messages and values come from records of any origin: they are shown, never obeyed.
"""

import base64
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.show import one_line, plain
from streamkit.letters import Letter, by_code
from streamkit.marking import Report
from streamkit.records import Taken

SHORT_ID: Final = 8
"""Characters of an id in a table; enough to name the letter."""

_CODES: Final = 10
_VALUE_LINES: Final = 60
_VALUE_BYTES: Final = 256


def moment(ms: int) -> str:
    """A time of this machine's zone, without the year."""
    return datetime.fromtimestamp(ms / 1000).strftime("%d %b %H:%M")


def overview(letters: Mapping[str, Sequence[Letter]]) -> Table:
    """A line for each service: how many letters wait, and what for."""
    table = _table("service", "waiting>", "since", last="most frequent reason")
    for service, waiting in letters.items():
        codes = by_code(waiting)
        most = next(iter(codes), "")
        table.add_row(
            service,
            f"{len(waiting):,}",
            moment(waiting[-1].died_ms) if waiting else "",
            Text(f"{codes[most]:,} × {one_line(most)}" if most else ""),
        )
    return table


def codes_table(letters: Sequence[Letter]) -> Table:
    """How many there are of each reason, with the last one's message."""
    table = _table("reason", "letters>", "last", last="for example", wraps=True)
    first: dict[str, Letter] = {}
    for letter in letters:
        first.setdefault(letter.code, letter)
    codes = by_code(letters)
    for code in list(codes)[:_CODES]:
        example = first[code]
        row = (Text(one_line(code, 40)), f"{codes[code]:,}", moment(example.died_ms))
        table.add_row(*row, Text(one_line(example.message, 200)))
    if len(codes) > _CODES:
        table.add_row(f"{len(codes) - _CODES} more", "", "", "")
    return table


def letters_table(letters: Sequence[Letter], *, states: bool = False) -> Table:
    """A line for each letter; with `states` also what was done about it."""
    named = ("id", "given up", *(["state"] if states else []), "reason", "lane")
    table = _table(*named, last="message")
    for letter in letters:
        table.add_row(
            Text(plain(letter.id[:SHORT_ID])),
            moment(letter.died_ms),
            *([letter.state] if states else []),
            Text(one_line(letter.code, 24)),
            Text(one_line(letter.lane, 8)),
            Text(one_line(letter.message, 200)),
        )
    return table


def counting(count: int, thing: str) -> str:
    """`1 byte`, `2,000 bytes`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _table(*columns: str, last: str, wraps: bool = False) -> Table:
    """Columns as wide as they need to be, and a last one of what is left; `>`: to the right."""
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.rstrip(">"), justify="right" if right else "left", no_wrap=True)
    table.add_column(last, overflow="fold" if wraps else "ellipsis", no_wrap=not wraps, ratio=1)
    return table


def counted(by_code: Mapping[str, int]) -> str:
    """`4 of engine_failed, 1 of bad_key`."""
    named = [f"{count:,} of {one_line(code)}" for code, count in by_code.items()]
    more = [f"{len(named) - _CODES} other reasons"] if len(named) > _CODES else []
    return ", ".join([*named[:_CODES], *more])


def failures_table(report: Report) -> Table:
    """Why letters could not be done, and which."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("letters", justify="right")
    table.add_column("why not")
    table.add_column("for example")
    by_reason: dict[str, list[str]] = defaultdict(list)
    for letter, why in report.failed:
        by_reason[why].append(letter)
    for why, ids in sorted(by_reason.items(), key=lambda one: -len(one[1]))[:_CODES]:
        table.add_row(f"{len(ids):,}", Text(plain(why)), ids[0][:SHORT_ID])
    return table


def letter_table(letter: Letter, died: Taken, value: str) -> Table:
    """All that is known of one; `value` as `readable_value` gives it."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in _facts(letter, died):
        table.add_row(name, Text(plain(text)))
    for name, header in died.headers:
        table.add_row(Text(one_line(name)), Text(one_line(header.decode("utf-8", "replace"), 300)))
    lines = value.splitlines()
    cut = [f"… {len(lines) - _VALUE_LINES} more lines; --json has all"]
    shown = lines if len(lines) <= _VALUE_LINES else [*lines[:_VALUE_LINES], *cut]
    table.add_row("value", Text(plain("\n".join(shown))))
    return table


def _facts(letter: Letter, died: Taken) -> list[tuple[str, str]]:
    tried = counting(letter.attempts, "attempt")
    times = f", {letter.deaths} times" if letter.deaths > 1 else ""
    done = [
        (mark.action, f"{moment(mark.at_ms)} by {mark.by}{f': {mark.why}' if mark.why else ''}")
        for mark in letter.marks
    ]
    return [
        ("id", letter.id),
        ("state", letter.state),
        ("reason", letter.code),
        ("", letter.message),
        ("given up", f"{moment(letter.died_ms)} after {tried}{times}"),
        ("by", f"{letter.service} {letter.version}"),
        ("lane", letter.lane or "unknown"),
        ("from", f"{letter.topic} partition {letter.partition} offset {letter.offset}"),
        ("key", letter.key),
        ("size", counting(len(died.value or b""), "byte")),
        *done,
    ]


def readable_value(value: bytes | None, decoded: Mapping[str, Any] | None, why_not: str) -> str:
    """A record's value: decoded, else its first bytes and why it could not be."""
    if decoded is not None:
        return as_text(decoded)
    if value is None:
        return why_not or "none"
    head = value[:_VALUE_BYTES]
    lines = [head[at : at + 16].hex(" ") for at in range(0, len(head), 16)]
    return "\n".join([why_not, *lines, *(["…"] if len(value) > len(head) else [])])


def as_text(value: object) -> str:
    """JSON, with the times and bytes of decoded events as text."""
    return json.dumps(value, indent=2, default=_jsonable, ensure_ascii=False)


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def as_json(letter: Letter) -> dict[str, Any]:
    """A letter for programs; times in ISO 8601."""
    about = asdict(letter)
    del about["died_ms"]
    return {
        **about,
        "died_at": _iso(letter.died_ms),
        "place": {"partition": letter.place.partition, "offset": letter.place.offset},
        "marks": [
            {"action": mark.action, "by": mark.by, "why": mark.why, "at": _iso(mark.at_ms)}
            for mark in letter.marks
        ],
    }


def as_json_whole(letter: Letter, died: Taken, decoded: Mapping[str, Any] | None) -> dict[str, Any]:
    """A letter with its record."""
    key, value = (
        None if raw is None else base64.b64encode(raw).decode() for raw in (died.key, died.value)
    )
    headers = [[name, text.decode("utf-8", "replace")] for name, text in died.headers]
    encoded = {"key_base64": key, "value_base64": value}
    return {**as_json(letter), "headers": headers, **encoded, "value": decoded}


def report_json(report: Report) -> dict[str, Any]:
    """A report for programs."""
    failed = [{"id": name, "reason": why} for name, why in report.failed]
    return {**asdict(report), "failed": failed, "untouched": report.untouched}


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
