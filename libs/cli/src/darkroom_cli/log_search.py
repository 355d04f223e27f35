"""Log lines as services write them: found by photo, by trace, by level; and shown.

What a file has that is no such line (Kafka's and PostgreSQL's, or the supervisor's remarks) is of
no level and about no photo.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darkroom_cli.show import plain
from streamkit.log_line import LEVELS

Line = Mapping[str, Any]

_SAID: Final = ("timestamp", "level", "logger", "service", "engine", "event", "photo_id")
_ROUTINE: Final = {"partition", "offset"}
"""Not shown: it would take more room than it says; `--json` has all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Lines of at least this level that are about the photo, and those of the trace. Empty: any."""

    photo: str = ""
    trace: str = ""
    level: str = ""

    def fits(self, line: Line) -> bool:
        """Whether a line is wanted."""
        return (
            (not self.photo or line.get("photo_id") == self.photo)
            and (not self.trace or line.get("trace_id") == self.trace)
            and (not self.level or _rank(line.get("level")) >= _rank(self.level))
        )


def files_of(folder: Path, names: Iterable[str]) -> list[Path]:
    """All that is kept of these programs' logs, rotated files too."""
    return [file for name in names for file in sorted(folder.glob(f"{name}.log*"), reverse=True)]


def found(files: Iterable[Path], wanted: Wanted) -> list[Line]:
    """The wanted lines of these files, by their times. Reads all of them: some 0.1 s for each
    10 MB."""
    needles = [text.encode() for text in (wanted.photo, wanted.trace) if text]
    lines = [
        line
        for file in files
        for raw in _raw(file)
        if all(needle in raw for needle in needles)
        and (line := parsed(raw.decode(errors="replace"))) is not None
        and wanted.fits(line)
    ]
    return sorted(lines, key=lambda line: str(line["timestamp"]))


def traced(files: Collection[Path], lines: list[Line]) -> list[Line]:
    """These lines, and all others of their traces."""
    traces = sorted({str(line["trace_id"]) for line in lines if line.get("trace_id")})
    known = {json.dumps(line, sort_keys=True) for line in lines}
    others = [
        line
        for trace in traces
        for line in found(files, Wanted(trace=trace))
        if json.dumps(line, sort_keys=True) not in known
    ]
    return sorted([*lines, *others], key=lambda line: str(line["timestamp"]))


def parsed(text: str) -> Line | None:
    """A line as its service wrote it; None for what no service of ours has written."""
    _, separator, body = text.partition(" | ")
    if not separator or not body.startswith("{"):
        return None
    try:
        line = json.loads(body)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "timestamp" in line and "event" in line else None


def shown(line: Line) -> str:
    """A line for a person: when, who, what; then what else it says."""
    time = str(line["timestamp"]).partition("T")[2][:12]
    who = str(line.get("service", ""))
    if engine := line.get("engine"):
        who = f"{who}/{engine}"
    level = str(line.get("level", ""))
    mark = "" if level in ("debug", "info") else f"{level.upper()} "
    more = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in sorted(line.items())
        if name not in _SAID and name not in _ROUTINE and name not in ("trace_id", "exception")
    )
    text = f"{time}  {who:16} {mark}{line['event']}  {more}".rstrip()
    trace = str(line.get("exception", "")).strip()
    return "\n    ".join([plain(text), *(plain(one) for one in trace.splitlines())])


def _raw(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            yield from lines
    except FileNotFoundError:  # it was rotated away meanwhile
        return


def _rank(level: object) -> int:
    return LEVELS.index(level) if level in LEVELS else -1
