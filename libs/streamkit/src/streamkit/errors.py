"""Exceptions are instructions to the worker's loop; there are three, all else stops the process."""


class Instruction(Exception):  # noqa: N818 - it instructs, it is no error
    """What the loop shall do with the record in hand."""


class Retry(Instruction):
    """The record may succeed if it is tried again; attempts are bounded."""


class Reject(Instruction):
    """The record can never succeed: it goes to the dead letters at once.

    `code` is stable, for programs; `message` is a sentence for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Busy(Instruction):
    """Something that every record needs is away: wait and try again, for as long as it takes."""
