"""The options of `darkroom dlq`: which letters are meant, and how fast."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

from darkroom_schemas import catalogue
from streamkit.letters import State
from streamkit.rate import Rate, parse_rate

_AGO: Final = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_STATES: Final[dict[str, State | None]] = {
    "waiting": "waiting",
    "replayed": "replayed",
    "discarded": "discarded",
    "all": None,
}
_LEAST_OF_ID: Final = 4


def services() -> tuple[str, ...]:
    """Those that have dead letters."""
    names = (topic.name.split(".") for topic in catalogue.load())
    return tuple(parts[1] for parts in names if len(parts) == 3 and parts[2] == "dlq")


def known_service(service: str | None) -> str | None:
    """Typer's callback for a service."""
    if service is not None and service not in services():
        raise typer.BadParameter(f"choose {', '.join(services())}")
    return service


def known_state(state: str) -> str:
    """Typer's callback for a state."""
    if state not in _STATES:
        raise typer.BadParameter(f"choose {', '.join(_STATES)}")
    return state


def state_of(word: str) -> State | None:
    """The state that a word means; None for any."""
    return _STATES[word]


def long_enough(ids: list[str] | None) -> list[str] | None:
    """Typer's callback for beginnings of ids."""
    if any(len(one) < _LEAST_OF_ID for one in ids or ()):
        raise typer.BadParameter(f"give at least {_LEAST_OF_ID} characters of an id")
    return ids


def moment(text: str) -> int:
    """Milliseconds since 1970 of `2h` (ago) or of a date and time (of this machine's zone)."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            when = datetime.now().astimezone() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            when = datetime.fromisoformat(text).astimezone()
        return int(when.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r}: write 30m, 2h, 3d (ago), or 2026-11-25T14:30"
        ) from error


def rate(text: str) -> Rate:
    """The rate that a text says."""
    try:
        return parse_rate(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Code = Annotated[str | None, typer.Option(help="Given up for this reason, as `list` names it.")]
Topic = Annotated[str | None, typer.Option(help="Came from this topic.")]
Lane = Annotated[str | None, typer.Option(help="Came by this lane.")]
Key = Annotated[str | None, typer.Option(help="Has this key, such as a photo's id.")]
Text = Annotated[str | None, typer.Option(help="The message has these words in it.")]
Since = Annotated[
    int | None,
    typer.Option(parser=moment, metavar="WHEN", help="Given up since then: 2h ago, or a time."),
]
Until = Annotated[
    int | None, typer.Option(parser=moment, metavar="WHEN", help="Given up before then.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", callback=long_enough, help="This one, by how its id begins; repeatable."),
]
Standing = Annotated[str, typer.Option(callback=known_state, help=f"One of {', '.join(_STATES)}.")]
All = Annotated[bool, typer.Option("--all", help="All that wait.")]
Speed = Annotated[
    Rate | None,
    typer.Option(
        "--rate", parser=rate, metavar="RATE", help="Not faster than 50/s, 600/m; else at once."
    ),
]
