"""Making handlers, and saying in one sentence why they can't be made."""

from collections.abc import Callable

from streamkit.engine.desk import Codes
from streamkit.errors import Busy, Retry
from streamkit.messages import Handlers

Make = Callable[[], tuple[Handlers, Codes]]


class LoadError(Exception):
    """Handlers can't be loaded: a sentence; `fatal`: another try would end likewise."""

    def __init__(self, sentence: str, *, fatal: bool) -> None:
        super().__init__(sentence)
        self.fatal = fatal


def loaded(source: str, make: Make) -> tuple[Handlers, Codes]:
    """What `make` makes. Raises LoadError; it isn't fatal if that was Busy or Retry."""
    try:
        return make()
    except (Exception, SystemExit) as error:
        fatal = not isinstance(error, Busy | Retry)
        raise LoadError(_sentence(source, error), fatal=fatal) from error


def _sentence(source: str, error: BaseException) -> str:
    reason = " ".join(str(error).split())
    return f"The handlers of {source} can't be loaded: {type(error).__name__}: {reason}"[:1000]
