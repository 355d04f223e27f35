"""A prefix of an object store as an origin: s3://bucket/prefix, gs://, az://, file:///folder."""

from collections.abc import Iterator
from typing import Final

from gateway.origins.files import Problem, Seen, UnreadableError
from gateway.origins.patterns import Rule
from streamkit import Busy, ObjectStore, Reject, Retry
from streamkit.objects import is_denied

_MISSING: Final = Problem("file_missing", "It is not in the store any more.")
_UNNAMEABLE: Final = Problem("file_unreadable", "Its name is not UTF-8, so no address names it.")
_FORBIDDEN: Final = Problem("file_forbidden", "The store does not let Darkroom read it.")


class StoreOrigin:
    """Objects below an allowed prefix, as far as a rule takes their paths from there on.

    In the store's order; folder markers are none. A store that can't be listed on is one file that
    can't be read, named like the prefix.
    """

    def __init__(self, uri: str, rule: Rule, objects: ObjectStore) -> None:
        self._uri, self._rule, self._objects = uri, rule, objects

    def walk(self) -> Iterator[Seen]:
        """A listing, page by page."""
        try:
            for listed in self._objects.list(self._uri):
                if self._rule.takes(listed.path):
                    problem = None if _is_text(listed.path) else _UNNAMEABLE
                    yield Seen(listed.path, problem, listed.version)
        except Reject as error:
            code = "store_missing" if error.code == "object_missing" else error.code
            yield Seen(self._uri, Problem(code, error.message))
        except Retry as error:
            raise Busy(str(error), dependency=error.dependency) from error

    def count(self) -> Iterator[Seen]:
        """One more listing."""
        return self.walk()

    def read(self, path: str, limit: int) -> bytes:
        """An object's bytes."""
        try:
            return self._objects.get(self._objects.within(self._uri, path), limit=limit)
        except Reject as error:
            raise UnreadableError(_problem(error, limit)) from error
        except Retry as error:
            if is_denied(error):
                raise UnreadableError(_FORBIDDEN) from error
            raise Busy(str(error), dependency=error.dependency) from error

    def close(self) -> None:
        """Nothing stays open."""


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem(error: Reject, limit: int) -> Problem:
    if error.code == "object_missing":
        return _MISSING
    if error.code == "object_too_large":
        return Problem("file_too_large", f"It has more bytes than the limit, {limit}.")
    return Problem(error.code, error.message)
