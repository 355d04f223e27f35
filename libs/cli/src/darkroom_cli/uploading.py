"""Sending the files of this machine to a gateway elsewhere, as an import that can be resumed.

The gateway knows what it has: files that it knows are not sent again, and a command that was
killed goes on where it stood. A small file in the user's state folder remembers which import the
same command belongs to; it is removed when everything is sent.
"""

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from darkroom_cli.client import Gateway, GatewayAwayError, GatewayError, Json, RefusedError
from darkroom_cli.local_files import LocalFile, looked_at, open_file, problem_of, walk

T = TypeVar("T")

_PAGE: Final = 200
"""Files that are offered at once: a second or so of hashing."""

_THREADS: Final = 4
_FULL_S: Final = 0.3
"""How often is asked for room while the gateway has enough to do."""

_LONGEST_S: Final = 15.0
_PATIENCE_S: Final = 600.0
"""So long the gateway may be away before the command ends; it can be repeated then."""

_OPEN: Final = ("scanning", "paused")
"""States of an import that takes files, or will."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is. `changed` are files whose bytes are others than those that came under
    their path before: they are not part of this import. `waiting` says for what, if it waits."""

    files: int
    offered: int = 0
    sent: int = 0
    sent_bytes: int = 0
    unreadable: int = 0
    changed: tuple[str, ...] = ()
    waiting: str | None = None


Report = Callable[[Progress], None]


def state_folder() -> Path:
    """Where unfinished uploads of this user are remembered."""
    base = os.environ.get("XDG_STATE_HOME", "")
    state = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return state / "darkroom" / "uploads"


def upload(gateway: Gateway, roots: Sequence[Path], lane: str, report: Report) -> str:
    """Send all files in `roots` (absolute); returns the import's id once they are recorded.

    The import goes on by itself then. `report` is told each step, from this thread. A gateway that
    is away is waited for, 10 minutes at most; a paused import for as long as it takes. Raises
    GatewayError; the same call resumes.
    """
    memory = _Memory(gateway.url, roots, lane)
    sending = _Sending(gateway, Progress(sum(1 for _ in walk(roots))), report)
    batch_id = sending.find(memory, _name(roots), lane)
    with ThreadPoolExecutor(_THREADS) as pool, sending.stopped_at_the_end():
        for page in _pages(roots):
            sending.page(pool, batch_id, list(pool.map(looked_at, page)))
        sending.patiently(lambda: gateway.seal(batch_id))
    memory.forget()
    return batch_id


def _pages(roots: Sequence[Path]) -> Iterator[list[Any]]:
    files = walk(roots)
    while page := list(islice(files, _PAGE)):
        yield page


def _name(roots: Sequence[Path]) -> str:
    return ", ".join(root.name or str(root) for root in roots)[:4000]


def _place(url: str) -> str:
    """A gateway of this machine has another port each time."""
    parts = urlsplit(url)
    return "here" if parts.hostname in ("127.0.0.1", "::1", "localhost") else parts.netloc


@dataclass(slots=True)
class _Memory:
    """Which import the same command began before."""

    url: str
    roots: Sequence[Path]
    lane: str

    @property
    def _file(self) -> Path:
        about = json.dumps([_place(self.url), [str(root) for root in self.roots], self.lane])
        return state_folder() / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.json"

    def recall(self) -> str | None:
        """The import's id, None if nothing was begun."""
        try:
            known: Json = json.loads(self._file.read_bytes())
            return str(known["batch_id"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def keep(self, batch_id: str) -> None:
        """Remember it."""
        state_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"batch_id": batch_id, "url": self.url}), encoding="utf-8")
        new.replace(self._file)

    def forget(self) -> None:
        """It is sent."""
        self._file.unlink(missing_ok=True)


@dataclass(slots=True)
class _Sending:
    """What one upload knows while it runs. Reports come from the thread that calls `page`."""

    gateway: Gateway
    progress: Progress
    report: Report
    _in_flight: int = 0
    _window: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _owner: threading.Thread = field(default_factory=threading.current_thread)
    _reported: Progress = field(default_factory=lambda: Progress(0))

    @contextmanager
    def stopped_at_the_end(self) -> Iterator[None]:
        """No thread waits for anything after the context, however it ends."""
        try:
            yield
        finally:
            self._stop.set()

    def find(self, memory: _Memory, name: str, lane: str) -> str:
        """The import that was begun before and still takes files, else a new one."""
        known = memory.recall()
        if known is not None and self.patiently(lambda: self._takes_files(known)):
            return known
        expected = self.progress.files
        begun = self.patiently(lambda: self.gateway.start_upload(name, expected, lane))
        memory.keep(begun["batch_id"])
        return str(begun["batch_id"])

    def _takes_files(self, batch_id: str) -> bool:
        try:
            batch = self.gateway.batch(batch_id)
        except RefusedError as error:
            if error.status == 404:
                return False
            raise
        return batch["kind"] == "upload" and batch["state"] in _OPEN

    def page(self, pool: ThreadPoolExecutor, batch_id: str, files: list[LocalFile]) -> None:
        """Offer files and send those that the gateway lacks."""
        lacks = self._offer(batch_id, files)
        under_way: set[Future[LocalFile | None]] = set()
        again: list[LocalFile] = []
        for file in lacks:
            while len(under_way) == _THREADS:
                under_way = self._collected(under_way, again)
            self._wait_for_room(batch_id, under_way)
            under_way.add(pool.submit(self._send, batch_id, file))
        while under_way:
            under_way = self._collected(under_way, again)
        if again:  # they could not be read any more: now they are told to be so
            self._offer(batch_id, again)
        self._tell(offered=self.progress.offered + len(files))

    def _offer(self, batch_id: str, files: list[LocalFile]) -> list[LocalFile]:
        """The files that are to be sent."""
        offers = [file.offer() for file in files]
        answer = self.patiently(lambda: self.gateway.missing(batch_id, offers))
        self._paced(answer)
        standings = {file["path"]: file["standing"] for file in answer["files"]}
        changed = [file.name for file in files if standings[file.name] == "path_taken"]
        self._tell(
            unreadable=self.progress.unreadable + sum(file.problem is not None for file in files),
            changed=(*self.progress.changed, *changed),
        )
        return [file for file in files if standings[file.name] == "missing"]

    def _collected(
        self, under_way: set[Future[LocalFile | None]], again: list[LocalFile]
    ) -> set[Future[LocalFile | None]]:
        done, left = wait(under_way, timeout=_FULL_S, return_when=FIRST_COMPLETED)
        for one in done:
            failed = one.result()
            if failed is not None:
                again.append(failed)
        self._tell()
        return left

    def _send(self, batch_id: str, file: LocalFile) -> LocalFile | None:
        """Send a file; gives it back with its problem if it can't be read any more."""

        def sending() -> Json:
            with open_file(file.path) as content:
                return self.gateway.send_file(batch_id, file.name, content)

        try:
            answer = self.patiently(sending)
        except OSError as error:
            return replace(file, sha256=None, byte_size=0, problem=problem_of(error))
        except RefusedError as error:
            if error.code != "path_taken":
                raise
            with self._lock:
                changed = (*self.progress.changed, file.name)
                self.progress = replace(self.progress, changed=changed)
            return None
        with self._lock:
            sent = replace(
                self.progress,
                sent=self.progress.sent + 1,
                sent_bytes=self.progress.sent_bytes + file.byte_size,
            )
            self.progress = sent
        self._paced(answer)
        return None

    def _wait_for_room(self, batch_id: str, under_way: set[Future[LocalFile | None]]) -> None:
        """Until fewer photos are under way than the gateway wants."""
        while self._in_flight + sum(not one.done() for one in under_way) >= self._window:
            self._tell()
            self._stop.wait(_FULL_S)
            self._paced(self.patiently(lambda: self.gateway.missing(batch_id, [])))

    def _paced(self, answer: Json) -> None:
        with self._lock:
            self._in_flight, self._window = answer["in_flight"], answer["window"]

    def patiently(self, ask: Callable[[], T]) -> T:
        """The answer; what may pass is waited for."""
        failures, since = 0, time.monotonic()
        while True:
            try:
                answer = ask()
            except GatewayError as error:
                paused = isinstance(error, RefusedError) and error.code == "import_paused"
                waits = paused or _may_pass(error)
                if not waits or (not paused and time.monotonic() - since > _PATIENCE_S):
                    raise
                failures += 1
                self._waiting("the import is paused" if paused else str(error))
                if self._stop.wait(_delay_s(failures, error)):
                    raise
            else:
                self._waiting(None)
                return answer

    def _waiting(self, reason: str | None) -> None:
        with self._lock:
            if reason != self.progress.waiting:
                self.progress = replace(self.progress, waiting=reason)
        # Another thread may have said the same before, which could not report it.
        if threading.current_thread() is self._owner and reason != self._reported.waiting:
            self._tell()

    def _tell(self, **news: Any) -> None:
        with self._lock:
            self.progress = replace(self.progress, **news)
            self._reported = now = self.progress
        self.report(now)


def _may_pass(error: GatewayError) -> bool:
    return isinstance(error, GatewayAwayError) or (
        isinstance(error, RefusedError) and error.status in (408, 429, 502, 503, 504)
    )


def _delay_s(failures: int, error: GatewayError) -> float:
    asked = error.retry_after_s if isinstance(error, RefusedError) else None
    longest = min(_LONGEST_S, 0.5 * 2.0 ** min(failures - 1, 10))
    return asked if asked is not None else longest * random.uniform(0.5, 1.0)  # noqa: S311
