"""What an exception says of a record."""

import traceback
from typing import Final

from streamkit.engine.work import Result
from streamkit.errors import Busy, DeadlineExceeded, OutOfMemory, Reject, Retry

_MOST_TRACEBACK: Final = 20_000
"""Characters of a traceback that are kept: its end, where the cause is."""


def is_memory(error: BaseException) -> bool:
    """Whether it says that memory, of the machine or of a device, did not suffice."""
    return (
        isinstance(error, OutOfMemory | MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's: there is no torch here
    )


def result_of(number: int, ms: float, error: BaseException) -> Result:
    """The result of the work `number` that ended in `error`; a defect if it is no instruction."""
    if is_memory(error):
        return Result(number, "memory", ms, message=str(error) or "Out of memory.")
    match error:
        case Reject():
            return Result(number, "reject", ms, code=error.code, message=error.message)
        case Retry():
            return Result(number, "retry", ms, message=str(error), dependency=error.dependency)
        case Busy():
            return Result(number, "busy", ms, message=str(error), dependency=error.dependency)
        case DeadlineExceeded():
            return Result(number, "deadline", ms, message=str(error))
        case _:
            text = "".join(traceback.format_exception(error))
            return Result(number, "defect", ms, message=text[-_MOST_TRACEBACK:])
