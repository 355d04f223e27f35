"""Making handlers, and saying in one sentence why they can't be made."""

import traceback
from collections.abc import Callable

import structlog

from streamkit.engine.desk import Codes
from streamkit.engines import EngineLoadError, UnknownEngineError
from streamkit.errors import Busy, Instruction, Retry
from streamkit.messages import Handlers

_log = structlog.get_logger("streamkit.engine")

Make = Callable[[], tuple[Handlers, Codes]]


class LoadError(Exception):
    """Handlers can't be loaded: a sentence; `fatal`: another try would end likewise.

    `trace`: where it came from, for what nobody has foreseen; else empty, the sentence is enough.
    """

    def __init__(self, sentence: str, *, fatal: bool, trace: str = "") -> None:
        super().__init__(sentence)
        self.fatal = fatal
        self.trace = trace


def loaded(source: str, make: Make) -> tuple[Handlers, Codes]:
    """What `make` makes. Raises LoadError; it isn't fatal if that was Busy or Retry."""
    try:
        return make()
    except (Exception, SystemExit) as error:
        _log.debug("load_failed", exc_info=error)
        fatal = not isinstance(error, Busy | Retry)
        trace = "" if _foreseen(error) else "".join(traceback.format_exception(error))
        raise LoadError(_sentence(source, error), fatal=fatal, trace=trace) from error


def _foreseen(error: BaseException) -> bool:
    if isinstance(error, Busy):
        return not error.unforeseen
    return isinstance(error, Instruction | EngineLoadError | UnknownEngineError)


def _sentence(source: str, error: BaseException) -> str:
    reason = " ".join(str(error).split())
    if not _foreseen(error):
        reason = f"{type(error).__name__}: {reason}"
    return f"The handlers of {source} can't be loaded: {reason}"[:1000]
