"""The errors of the command: each names its cause and its cure."""


class DarkroomError(Exception):
    """Something the user can put right.

    `cause` says what is wrong, `cure` what to do about it; both are shown as they are.
    """

    def __init__(self, cause: str, cure: str = "") -> None:
        self.cause = cause
        self.cure = cure
        super().__init__(f"{cause}\n{cure}" if cure else cause)


class SetupError(DarkroomError):
    """A program, a jar or a permission that the stack needs is missing."""


class StackError(DarkroomError):
    """The stack did not start, or is in a state that the wish does not fit."""
