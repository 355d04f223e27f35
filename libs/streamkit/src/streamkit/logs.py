"""Logs: one JSON object a line on standard output, of one shape (`log_line`) in all processes."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import structlog

from streamkit.engine.work import Work
from streamkit.headers import is_traceparent, traceparent_of
from streamkit.records import RawHeaders, RawRecord, Taken
from streamkit.redaction import id_or_not, redact
from streamkit.tracing import current

_Line = MutableMapping[str, Any]

_in_hand: ContextVar[tuple[Sequence[Work], str]] = ContextVar("in_hand", default=((), ""))

_LOUD: Final = ("httpx", "httpcore", "alembic.runtime.plugins", "PIL", "urllib3")
"""Libraries that tell of every step; only their warnings are for the reader of a log."""


class _Current:
    """How lines of this process begin, what they are written to, and what keys are called."""

    output: "_Output | None" = None
    head = ""
    keys: Mapping[str, tuple[str, ...]] = {}


def configure_logs(service: str, level: str, engine: str = "") -> None:
    """Send all that this process logs to standard output as JSON lines: structlog's and the
    standard library's records, Python's warnings, and exceptions that nobody caught.

    Every line has `service` and, in an engine process, `engine`; what a handler logs also says
    which record it was about (see `log_about`). What is secret or personal is left out (redaction).
    """
    always = {"service": service, **({"engine": engine} if engine else {})}
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_always(always),
        _add_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _of_one_shape,
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Output(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    _Current.output = handler
    _Current.head = "".join(f'"{name}": {json.dumps(text)}, ' for name, text in always.items())


def name_keys(keys: Mapping[str, str]) -> None:
    """From now on lines about records say what their keys are ids of. `keys` are by topic: names of
    fields (`photo_id`), with a slash between those of a key that has several."""
    _Current.keys = {topic: tuple(names.split("/")) for topic, names in keys.items()}


def log_about(works: Sequence[Work], traceparent: str = "") -> None:
    """From now on lines of this thread are about these; to be called around a handler, with
    nothing after it.

    A single record is named by topic, partition, offset, attempt, trace id (of `traceparent`) and,
    where that is known (`name_keys`), by its key; a micro-batch by its size. Costs 0.1 µs: what a
    line says is found when there is one. Threads that a handler starts know of it only if it runs
    them in its own context (`contextvars`).
    """
    _in_hand.set((works, traceparent))


def named(topic: str, key: bytes | None) -> Mapping[str, str]:
    """The ids that a record's key is, by their names; none if it is not known what they are.

    Anybody can write a record: what has not the shape of such an id is `[not an id]`.
    """
    names = _Current.keys.get(topic)
    if not names or key is None:
        return {}
    texts = key[:200].decode("utf-8", "replace").split("/")
    return {name: id_or_not(name, text) for name, text in zip(names, texts, strict=False)}


class RecordLines:
    """A line for each record that is over, of those topics whose keys are one id with a name: by
    these one sees a photo's path through all services.

    They are made by hand and written together: 4 µs each, where a line of structlog's takes 60.
    For one thread.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def wants(self, topic: str) -> bool:
        """Whether records of this topic have lines here. Costs 0.2 µs."""
        output = _Current.output
        return output is not None and len(_Current.keys.get(topic, ())) == 1 and output.wanted

    def add(self, event: str, record: Taken, said: str, ms: float, attempt: int = 1) -> None:
        """A record is over; `said` is JSON of more members, with a comma before each."""
        topic, partition, offset, key, _, headers, _ = record
        place = f', "partition": {partition}, "offset": {offset}, "attempt": {attempt}'
        self._add(event, topic, key, headers, f'{place}, "ms": {ms:.1f}{said}')

    def _add(
        self, event: str, topic: str, key: bytes | None, headers: RawHeaders, said: str
    ) -> None:
        (name,) = _Current.keys[topic]
        text = json.dumps(id_or_not(name, (key or b"")[:200].decode("utf-8", "replace")))
        trace = traceparent_of(headers)
        if is_traceparent(trace):
            said += f', "trace_id": "{trace[3:35]}"'
        self._lines.append(
            f'{{{_Current.head}"level": "info", "logger": "streamkit.records", "event": "{event}", '
            f'"timestamp": "{_now()}", "topic": "{topic}", "{name}": {text}{said}}}\n'
        )

    def published(self, records: Sequence[RawRecord]) -> None:
        """The broker has these, which no handler made: a line for each, at once."""
        for topic, key, _, headers in records:
            if self.wants(topic):
                self._add("published", topic, key, headers, "")
        self.flush()

    def flush(self) -> None:
        """Write them."""
        if self._lines and _Current.output is not None:
            _Current.output.write(self._lines)
        self._lines.clear()


class _Output(logging.StreamHandler[Any]):
    """Where lines go."""

    @property
    def wanted(self) -> bool:
        """Whether lines of level info are."""
        return logging.getLogger().isEnabledFor(logging.INFO)

    def write(self, lines: Sequence[str]) -> None:
        """Write lines that are made already."""
        with self.lock or threading.RLock():
            try:
                self.stream.write("".join(lines))
                self.flush()
            except Exception:  # noqa: BLE001 - as every handler: no line is worth a worker
                self.handleError(logging.makeLogRecord({"msg": "lines"}))


def _now() -> str:
    seconds, rest = divmod(time.time(), 1)
    return f"{_second(int(seconds))}.{int(rest * 1_000_000):06d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _add_always(fields: dict[str, str]) -> Callable[[Any, str, _Line], _Line]:
    def add(_logger: Any, _method: str, line: _Line) -> _Line:
        # Not bound in structlog's context, since each thread has one of its own.
        for name, value in fields.items():
            line.setdefault(name, value)
        return line

    return add


_NAMES: Final = ("topic", "partition", "offset")


def _add_record(_logger: Any, _method: str, line: _Line) -> _Line:
    works, traceparent = _in_hand.get()
    if not works:
        within = current()
        if within:
            line.setdefault("trace_id", within[3:35])
        return line
    line.setdefault("lane", works[0].lane)
    if len(works) > 1:
        line.setdefault("records", len(works))
        return line
    work = works[0]
    for name in _NAMES:
        line.setdefault(name, getattr(work.record, name))
    line.setdefault("attempt", work.attempt)
    for name, text in named(work.record.topic, work.record.key).items():
        line.setdefault(name, text)
    if traceparent:
        line.setdefault("trace_id", traceparent[3:35])
    return line


def _of_one_shape(_logger: Any, _method: str, line: _Line) -> _Line:
    """An event is text, whatever a library passed to its logger; a line has a logger's name."""
    line["event"] = str(line.get("event", ""))
    line["logger"] = line.get("logger") or "root"
    return line


_TOLD: Final = "_streamkit_told"


def told(error: BaseException) -> None:
    """The log has it, with its traceback: if nobody catches it, it is not said again."""
    error.__dict__[_TOLD] = True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    if _TOLD not in error.__dict__:
        structlog.get_logger("uncaught").critical("uncaught", exc_info=(kind, error, trace))


def _uncaught_in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is None or issubclass(what.exc_type, SystemExit):
        return
    thread = what.thread.name if what.thread is not None else ""
    about = (what.exc_type, what.exc_value, what.exc_traceback)
    structlog.get_logger("uncaught").critical("uncaught", thread=thread, exc_info=about)
