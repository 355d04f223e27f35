"""The first dead letter of a kind, as a notice."""

import shlex
from typing import Final

from streamkit.messages import Emit, Failure
from streamkit.notices import FIRST_DEAD_LETTER, notice

_MOST_CODES: Final = 50
"""Kinds of dead letters that are told within an hour: codes are not ours to choose. Those beyond
are in the digest, as all that follow the first of a kind."""

_HOUR_S: Final = 3600
_CODE_CHARS: Final = 100
_WHY_CHARS: Final = 1000


class FirstLetters:
    """Knows which kinds of a service's dead letters were told within this hour of the clock."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._codes: set[str] = set()
        self._hour = 0

    def told(self, failure: Failure, now_s: float) -> Emit | None:
        """What to publish of a dead letter; None if it is not the first. `now_s`: since 1970."""
        hour = int(now_s // _HOUR_S)
        if hour != self._hour:
            self._hour, self._codes = hour, set()
        code = failure.code[:_CODE_CHARS]
        if code in self._codes or len(self._codes) >= _MOST_CODES:
            return None
        self._codes.add(code)
        title = f"{self._service} gave up a record: {code}"
        detail = self._detail(code, failure)
        return notice(FIRST_DEAD_LETTER, self._service, code, title, detail, now_s)

    def _detail(self, code: str, failure: Failure) -> str:
        times = "1 attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
        which = f"{self._service} --code {shlex.quote(code)}"
        return (
            f"After {times}: {failure.message[:_WHY_CHARS]}\n"
            f"It is kept among the dead letters: darkroom dlq list {which}\n"
            f"Once it is put right: darkroom dlq replay {which}\n"
            "What else is given up is counted by a digest, every hour."
        )
