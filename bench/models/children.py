"""Programs of their own that answer one question after another: engines, each with its threads."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

_CALM_S: Final = 900.0
"""No answer takes longer."""

_STARTS: Final = multiprocessing.get_context("spawn")
_THREAD_SETTINGS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Answer = Callable[[Any], Any]


class ChildError(RuntimeError):
    """The program could not do what it was asked for; says why."""


class Child:
    """A process that calls `make` once, and what it made with each question.

    `make` has to be a function of a module, or a partial of one; it is called after the process
    was told to use `threads` threads. As a context manager it ends the process. Raises ChildError
    with what was raised there; blocks.
    """

    def __init__(self, make: Callable[[], Answer], threads: int) -> None:
        self._ours, theirs = _STARTS.Pipe()
        self._process = _STARTS.Process(target=_serve, args=(theirs, make, threads), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    def ask(self, question: Any) -> Any:
        """The answer."""
        self._ours.send(question)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.terminate()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> Any:
        if not self._ours.poll(_CALM_S):
            raise ChildError(f"no answer within {_CALM_S:.0f} s")
        try:
            answered, value = self._ours.recv()
        except EOFError:
            self._process.join()
            raise ChildError(f"it ended with code {self._process.exitcode}") from None
        if not answered:
            raise ChildError(value)
        return value


def _serve(wire: Connection, make: Callable[[], Answer], threads: int) -> None:
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, str(threads)))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # tables go there, what engines log does not
    answer: Answer | None = None
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            try:
                if answer is None:
                    answer, value = make(), None
                else:
                    value = answer(wire.recv())
            except EOFError:
                raise
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                wire.send((False, f"{type(error).__name__}: {error}"))
                if answer is None:
                    return
            else:
                wire.send((True, value))
