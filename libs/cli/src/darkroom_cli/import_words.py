"""What is said of an import in a terminal: how far it is, when it ends, why files failed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from darkroom_cli.client import Json
from darkroom_cli.show import plain

OVER: Final = frozenset({"completed", "completed_with_failures", "cancelled"})
"""States that an import does not leave."""

STATES: Final[Mapping[str, str]] = {
    "scanning": "importing",
    "running": "importing",
    "paused": "paused",
    "cancelling": "cancelling",
    "completed": "completed",
    "completed_with_failures": "completed, with failures",
    "cancelled": "cancelled",
}


def done(batch: Json) -> int:
    """Files that have their end."""
    return int(batch["duplicates"] + batch["rejected"] + batch["accepted"])


def word(batch: Json) -> str:
    """The state, bare."""
    return STATES.get(batch["state"]) or str(batch["state"])


def state(batch: Json) -> str:
    """The state in words; of a pause, until when or by whom."""
    words = word(batch)
    if batch["state"] != "paused":
        return words
    if batch["paused_until"]:
        return f"{words} until {_clock(batch['paused_until'])}"
    return f"{words} by {plain(batch['paused_by'])}" if batch["paused_by"] else words


def _clock(moment: str) -> str:
    """A moment of the gateway's in local time; with the day where it is another one."""
    at, today = datetime.fromisoformat(moment).astimezone(), datetime.now().astimezone()
    return f"{at:%H:%M}" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M}"


def pace(batch: Json) -> str:
    """Rate and time left with its spread, as far as they are known; what it waits for."""
    if batch["state"] == "scanning" and batch["waits_for"]:
        return f"waits: {plain(batch['waits_for'])}"
    rate, left = batch["rate"], batch["eta_s"]
    told = [_rate(rate)] if rate else []
    if rate == 0 and done(batch):
        told = ["nothing moves at the moment"]
    if left is not None:
        told.append(f"{duration(left)} left{_spread(batch['eta_low_s'], batch['eta_high_s'])}")
    return ", ".join(told)


def _rate(rate: float) -> str:
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def _spread(low: float, high: float) -> str:
    size, unit, digits = _unit(high)
    ends = [f"{each / size:.{digits}f}" for each in (low, high)]
    return "" if ends[0] == ends[1] else f" ({ends[0]}–{ends[1]} {unit})"


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 1:
        return "under 1 s"
    size, unit, digits = _unit(seconds)
    return f"{seconds / size:.{digits}f} {unit}"


def _unit(seconds: float) -> tuple[float, str, int]:
    if seconds < 90:
        return 1, "s", 0
    return (60, "min", 0) if seconds < 5400 else (3600, "h", 1)


def counts(batch: Json) -> str:
    """One line of what became of the files so far; an older gateway, or the demo's report, may say
    nothing of the last three."""
    told = (
        f"{batch['auto_labeled']} auto-labelled, {batch['suggested']} suggested, "
        f"{batch['review']} to review, {batch['rejected']} rejected, "
        f"{batch['duplicates']} duplicate{'' if batch['duplicates'] == 1 else 's'}"
    )
    more = [("cancelled", "cancelled"), ("partial", "in part"), ("repaired", "repaired later")]
    return ", ".join([told, *(f"{batch[name]} {words}" for name, words in more if batch.get(name))])


def failures(reasons: Sequence[Json], most: int) -> list[str]:
    """The commonest reasons, one a line, and how many files have others."""
    lines = [f"{each['count']} × {reason(each)}" for each in reasons[:most]]
    rest = sum(each["count"] for each in reasons[most:])
    return [*lines, f"and {rest} more"] if rest else lines


def reason(failure: Json) -> str:
    """Why, on one line."""
    stage = f"the {failure['stage']} failed: " if failure["stage"] else ""
    return plain(" ".join(f"{stage}{failure['message']}".split()))


def line(batch: Json) -> str:
    """All of it on one line, for output that is kept."""
    all_files = "?" if batch["expected"] is None else batch["expected"]
    told = [f"{state(batch)}: {done(batch)} of {all_files} files", pace(batch), counts(batch)]
    return "; ".join(filter(None, told))
