"""Exceptions are instructions to the worker's loop; all but these stop the process, once."""


def _plain(text: object) -> str:
    """As text that can be written: of odd file names come half characters."""
    return str(text).encode("utf-8", "replace").decode()


class Instruction(Exception):  # noqa: N818 - it instructs, it is no error
    """What the loop shall do with the record in hand."""


class Retry(Instruction):
    """The record may succeed later: it climbs the retry tiers, then goes to the dead letters.

    `dependency` names what was at fault, if it was not the record: after some failures in a row
    its breaker opens, and records wait instead of burning their retries.
    """

    def __init__(self, message: str, *, dependency: str = "") -> None:
        super().__init__(message)
        self.dependency = _plain(dependency)


class StoreFull(Retry):
    """The object store has no room left: somebody has to make some."""


class Reject(Instruction):
    """The record can never succeed: it goes to the dead letters at once.

    `code` is stable, for programs; `message` is a sentence for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        # An exception instead of its text is easily handed in, and no reason to stop a worker.
        self.code = _plain(code)
        self.message = _plain(message)


class Busy(Instruction):
    """Something that every record needs is away: wait for as long as it takes.

    `dependency` names it; its breaker opens at once. No attempt is counted. `unforeseen`: what it
    was raised from is nothing that was to be expected, so a log needs its traceback.
    """

    def __init__(
        self, message: str, *, dependency: str = "a dependency", unforeseen: bool = False
    ) -> None:
        super().__init__(message)
        self.dependency = _plain(dependency)
        self.unforeseen = unforeseen


class OutOfMemory(Instruction):
    """The micro-batch was too large for the device: it is halved; a single record counts an
    attempt. MemoryError, and any exception named OutOfMemoryError (torch), mean the same."""


class DeadlineExceeded(Instruction):
    """Raised inside a handler at its soft deadline; counts an attempt, as Retry does."""
