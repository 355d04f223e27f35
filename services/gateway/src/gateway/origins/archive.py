"""An uploaded archive as an origin: its files are read where it lies, nothing is unpacked to disk.

Names never become paths of this machine. Nested archives are files like others.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO, Final
from weakref import WeakSet

from gateway.origins.archive_kinds import members_of
from gateway.origins.files import Problem, Seen, UnreadableError, problem_of
from gateway.origins.members import ESCAPES, BrokenError, Member, Names, is_of_macos, path_of
from gateway.origins.patterns import Rule
from gateway.origins.ports import ArchiveLimits, OriginMeans
from streamkit import Busy, Reject, Retry

_MOST_EXPANSION: Final = 100
"""Bytes that come of one, in all: photos are packed already, and a hundredfold is a bomb's."""

_ALWAYS_EXPANDED: Final = 1_000_000_000
"""Bytes that a small archive may become, whatever they come of."""

_MISSING: Final = Problem("archive_missing", "The archive is not in the object store any more.")
_NOT_THERE: Final = Problem("file_missing", "It is not in the archive.")


@dataclass(frozen=True, slots=True)
class _Entry:
    seen: Seen
    member: Member | None = None


_Pass = Generator[_Entry, None, None]


class ArchiveOrigin:
    """The files in the archive at an object's URI, as far as a rule takes them.

    A trouble with the archive itself is one file that can't be read, named like the archive. It
    comes last, where there is trouble: what came before can be read.
    """

    def __init__(self, uri: str, name: str, rule: Rule, means: OriginMeans) -> None:
        self._uri, self._name, self._rule = uri, name, rule
        self._objects, self._limits = means.objects, means.archives
        self._names = Names()
        self._passes: WeakSet[_Pass] = WeakSet()
        self._reading: _Pass | None = None
        self._last: tuple[str, bytes] | None = None

    def walk(self) -> Iterator[Seen]:
        """The files in the archive's order, then what is wrong with it."""
        entries = self._begin()
        return (entry.seen for entry in entries)

    def count(self) -> Iterator[Seen]:
        """The same by a pass of its own."""
        return self.walk()

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes. Going back behind the last file costs a pass from the beginning."""
        if self._last is not None and self._last[0] == path:  # whoever asks could not store it
            return self._last[1]
        self._last = None
        member = self._ahead(path)
        if member is None:
            self._reading = self._begin()
            member = self._ahead(path)
        if member is None:
            raise UnreadableError(_NOT_THERE)
        try:
            data = member.read(limit)
        except Retry as error:
            self._reading = None  # it is behind this member, which will be asked for again
            raise Busy(str(error), dependency=error.dependency) from error
        except OSError as error:
            raise UnreadableError(_trouble(error)) from error
        self._last = (path, data)
        return data

    def close(self) -> None:
        """Close the archive; walks that are under way are over."""
        for one in list(self._passes):
            one.close()
        self._reading, self._last = None, None

    def _ahead(self, path: str) -> Member | None:
        """The member of this path, if it comes behind the one read last."""
        for entry in self._reading or ():
            if entry.member is not None and entry.seen.path == path:
                return entry.member
        self._reading = None
        return None

    def _begin(self) -> _Pass:
        entries = self._pass()
        self._passes.add(entries)
        return entries

    def _pass(self) -> _Pass:
        """One way through the archive; raises Busy."""
        number = 0
        try:
            with self._objects.open(self._uri) as file:
                for member in self._members(file):
                    entry = self._entry(number, member)
                    number += 1
                    if entry is not None:
                        yield entry
            self._names.complete()
        except Reject as error:
            missing = error.code == "object_missing"
            yield self._wrong(number, _MISSING if missing else Problem(error.code, error.message))
        except BrokenError as error:
            yield self._wrong(number, error.problem)
        except Retry as error:
            raise Busy(str(error), dependency=error.dependency) from error
        except OSError as error:
            yield self._wrong(number, _trouble(error))

    def _members(self, file: BinaryIO) -> Iterator[Member]:
        """Those within the limits; raises BrokenError behind them."""
        size = file.seek(0, SEEK_END)
        expanded = 0
        for number, member in enumerate(members_of(file)):
            # Before the next one is looked for, which may mean to unpack this one.
            expanded += member.size
            _check(self._limits, size, number + 1, expanded)
            yield member

    def _entry(self, number: int, member: Member) -> _Entry | None:
        """What a member is to the import; None if it is passed over."""
        if member.passed_over:
            return None
        path = path_of(member.name)
        if path is None:
            return _Entry(Seen(self._names.path(number, member.name), ESCAPES))
        unwanted = is_of_macos(path) and not self._rule.hidden
        if not path or unwanted or not self._rule.takes(path):
            return None
        seen = Seen(self._names.path(number, path), member.problem)
        return _Entry(seen, None if member.problem else member)

    def _wrong(self, number: int, problem: Problem) -> _Entry:
        return _Entry(Seen(self._names.path(number, self._name), problem))


def _check(limits: ArchiveLimits, size: int, members: int, expanded: int) -> None:
    if members > limits.members:
        why = f"it has more than {limits.members} entries"
        raise BrokenError(why, "archive_too_large")
    allowed = min(limits.expanded_bytes, max(_ALWAYS_EXPANDED, size * _MOST_EXPANSION))
    if expanded > allowed:
        why = f"unpacked it has more than {allowed / 1e6:g} MB"
        raise BrokenError(why, "archive_too_large")


def _trouble(error: OSError) -> Problem:
    """Raises Busy for trouble that may pass."""
    if error.errno is None:  # gzip and bzip2: the bytes are wrong
        return BrokenError(f"it is damaged ({error})").problem
    return problem_of(error)
