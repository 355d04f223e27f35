"""What every way of telling has in common: how a try fails, and when the next one is."""

import random
from typing import Final

PAUSES_S: Final = (10.0, 60.0, 300.0, 900.0, 2400.0)
"""Between tries: with the first one six within about an hour, as a receiver may need that long to
be repaired, and what is older than that is seen sooner in the list of notices."""

_JITTER: Final = 0.1
_ERROR_CHARS: Final = 500


class SendError(Exception):
    """A try failed; `final`: another one would fail as well. The message is for a person, and holds
    neither addresses that are secret nor anything of secrets."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(line(message)[:_ERROR_CHARS])
        self.final = final


def pause_s(tries: int, chance: random.Random) -> float | None:
    """Seconds to wait after so many tries that failed; None: no more of them."""
    if tries > len(PAUSES_S):
        return None
    return PAUSES_S[tries - 1] * (1 + chance.uniform(-_JITTER, _JITTER))


def line(text: str) -> str:
    """The text as one line, without what moves a terminal's cursor or ends a header."""
    seen = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(seen.split())
