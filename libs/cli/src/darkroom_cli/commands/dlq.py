"""`darkroom dlq list | show | replay | discard`: what a service gave up, what to do about it."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from darkroom_cli import show_letters
from darkroom_cli.commands.contracts import Kafka, Prefix, Registry, broker
from darkroom_cli.commands.dlq_options import (
    All,
    Code,
    Ids,
    Key,
    Lane,
    Since,
    Speed,
    Standing,
    Text,
    Topic,
    Until,
    known_service,
    services,
    state_of,
)
from darkroom_cli.commands.stack import Data
from darkroom_cli.errors import DarkroomError
from darkroom_cli.letter_values import decoded
from darkroom_cli.show import plain
from darkroom_schemas import catalogue
from streamkit import tracing
from streamkit.inbox import DeadLetterBox, InboxError
from streamkit.kafka.log import KafkaLog
from streamkit.kafka.producer import KafkaProducer
from streamkit.letters import Filter, Letter, by_code
from streamkit.marking import Progress as Told
from streamkit.marking import Report, Stop, untold

dlq = typer.Typer(
    help="Dead letters: what a service gave up. Look at it, try it again, put it away.",
    no_args_is_help=True,
)

Service = Annotated[str, typer.Argument(callback=known_service, help="Which service gave up.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_SHOWN: Final = 20


@dlq.command("list", epilog="Example: darkroom dlq list detector --code engine_failed --since 2h")
def list_letters(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    service: Annotated[
        str | None,
        typer.Argument(callback=known_service, help="Which service; else an overview of all."),
    ] = None,
    code: Code = None,
    topic: Topic = None,
    lane: Lane = None,
    key: Key = None,
    text: Text = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    state: Standing = "waiting",
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many, the last first; default 20, all in JSON.")
    ] = None,
    as_json: AsJson = False,
    kafka: Kafka = None,
    prefix: Prefix = "",
    data: Data = None,
) -> None:
    """Show what a service gave up: how many of each reason, and the last ones."""
    if service is None:
        _overview(kafka, prefix, data, as_json)
        return
    wanted = Filter(code, topic, lane, key, text, since, until, tuple(ids or ()), state_of(state))
    with _box(service, kafka, prefix, data) as box, _reading(as_json):
        letters = box.letters(wanted)
    if as_json:
        found = [show_letters.as_json(letter) for letter in letters[:limit]]
        told = {"count": len(letters), "by_code": by_code(letters), "letters": found}
        typer.echo(show_letters.as_text(told))
    else:
        _tell_letters(service, letters, limit or _SHOWN, wanted)


@dlq.command("show", epilog="Example: darkroom dlq show detector 0f8fad5b")
def show_letter(
    service: Service,
    letter: Annotated[str, typer.Argument(metavar="ID", help="Its id, or how it begins.")],
    as_json: AsJson = False,
    kafka: Kafka = None,
    registry: Registry = None,
    prefix: Prefix = "",
    data: Data = None,
) -> None:
    """Show one letter with all that is known: why, since when, its headers and its value."""
    with _box(service, kafka, prefix, data) as box, _reading(as_json):
        found, died = box.show(letter)
    value, why_not = decoded(found, died.value, registry, prefix, data)
    if as_json:
        typer.echo(show_letters.as_text(show_letters.as_json_whole(found, died, value)))
    else:
        readable = show_letters.readable_value(died.value, value, why_not)
        Console(highlight=False).print(show_letters.letter_table(found, died, readable))


@dlq.command(
    "replay",
    epilog="Example: darkroom dlq replay detector --code engine_failed --rate 50/s --dry-run",
)
def replay(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    service: Service,
    code: Code = None,
    topic: Topic = None,
    lane: Lane = None,
    key: Key = None,
    text: Text = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    state: Standing = "waiting",
    everything: All = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many, the oldest: to see how it goes.")
    ] = None,
    rate: Speed = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    kafka: Kafka = None,
    prefix: Prefix = "",
    data: Data = None,
) -> None:
    """Try letters again, in this service alone; no other reader of the topic sees them.

    The oldest go first. Ctrl-C stops in good order: what was tried is marked, the rest waits. Exit
    code 1 if not all could be handed over. Whether they succeed, the service's next letters tell.
    """
    wanted = Filter(code, topic, lane, key, text, since, until, tuple(ids or ()), state_of(state))
    _check_meant(wanted, everything)
    with _box(service, kafka, prefix, data) as box:

        def act(letters: Sequence[Letter], dry: bool, told: Told, stop: Stop) -> Report:
            return box.replay(letters, rate=rate, dry_run=dry, progress=told, stop=stop)

        what = _What(service, "try again", "replayed", "replaying", act, limit)
        _do(box, wanted, what, dry_run=dry_run, yes=yes, as_json=as_json)


@dlq.command(
    "discard",
    epilog='Example: darkroom dlq discard intake --code not_framed --reason "a test\'s leavings"',
)
def discard(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    service: Service,
    reason: Annotated[str, typer.Option(help="Why, for the next person who looks.")],
    code: Code = None,
    topic: Topic = None,
    lane: Lane = None,
    key: Key = None,
    text: Text = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    kafka: Kafka = None,
    prefix: Prefix = "",
    data: Data = None,
) -> None:
    """Put letters away: they no longer wait. Nothing is deleted.

    `darkroom dlq list --state discarded` shows them, and `replay --state discarded` still tries
    them again, as long as the topic keeps them (30 days).
    """
    wanted = Filter(code, topic, lane, key, text, since, until, tuple(ids or ()))
    _check_meant(wanted, everything)
    if not reason.strip():
        raise typer.BadParameter(
            "say why: the next person who looks will ask", param_hint="--reason"
        )
    with _box(service, kafka, prefix, data) as box:

        def act(letters: Sequence[Letter], dry: bool, told: Told, stop: Stop) -> Report:
            return box.discard(letters, reason, dry_run=dry, progress=told, stop=stop)

        what = _What(service, "put away", "put away", "putting away", act)
        _do(box, wanted, what, dry_run=dry_run, yes=yes, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _What:
    """What is done about letters, in three forms of its verb, and about how many at most."""

    service: str
    would: str
    done: str
    doing: str
    act: Callable[[Sequence[Letter], bool, Told, Stop], Report]
    limit: int | None = None


def _check_meant(wanted: Filter, everything: bool) -> None:
    if everything == wanted.narrow:
        raise typer.BadParameter("say which letters by a filter such as --code, or all by --all")


def _do(
    box: DeadLetterBox, wanted: Filter, what: _What, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Say what is meant, ask, do it and say what became of it."""
    if as_json and not (dry_run or yes):
        raise typer.BadParameter("--json can't ask: give --yes or --dry-run")
    console = Console(highlight=False)
    with _reading(as_json):
        letters = box.letters(wanted)[::-1][: what.limit]
        report = what.act(letters, True, untold, threading.Event())
    if not as_json:
        _tell_meant(console, report, what, dry_run)
    if report.untouched and not dry_run:
        if not yes:
            typer.confirm("Go on?", abort=True)
        with stoppable() as stop, _bar(console, what.doing, shown=not as_json) as told:
            report = what.act(letters, False, told, stop)
        if not as_json:
            _tell_done(console, report, what)
    if as_json:
        typer.echo(show_letters.as_text(show_letters.report_json(report)))
    if report.failed or report.stopped:
        raise typer.Exit(1)


def _tell_meant(console: Console, report: Report, what: _What, dry_run: bool) -> None:
    if not report.meant:
        console.print(f"No letter of {what.service} fits.")
        console.print(f"See darkroom dlq list {what.service} --state all.")
        return
    counts = show_letters.counted(report.by_code)
    line = f"{report.untouched:,} to {what.would} in {what.service}: {counts}."
    console.print(line, markup=False)
    _tell_failed(console, report, "can't be")
    if dry_run:
        console.print("Nothing was done.")


def _tell_done(console: Console, report: Report, what: _What) -> None:
    console.print(f"{report.done:,} {what.done}.")
    if report.stopped:
        rest = f"{report.untouched:,} were not come to and wait as before"
        console.print(f"Ended early: {report.stopped}. {rest}.", markup=False)
    _tell_failed(console, report, "could not be")
    if report.done and what.done == "replayed":
        again = f"What fails again comes back: darkroom dlq list {what.service}"
        console.print(again)


def _tell_failed(console: Console, report: Report, could: str) -> None:
    if report.failed:
        console.print(f"{len(report.failed):,} {could}:")
        console.print(show_letters.failures_table(report))


def _tell_letters(service: str, letters: Sequence[Letter], limit: int, wanted: Filter) -> None:
    console = Console(highlight=False)
    state = wanted.state or "kept"
    if not letters:
        fitting = " that fits" if wanted.narrow else ""
        console.print(f"No letter of {service}{fitting} is {state}.")
        return
    console.print(f"{len(letters):,} of {service} {state}")
    if len(letters) > limit:
        if wanted.code is None:
            console.print(show_letters.codes_table(letters))
        console.print(f"The last {limit}; more by --limit, others by --code, --since, …")
    console.print(show_letters.letters_table(letters[:limit], states=wanted.state is None))
    short = plain(letters[0].id[: show_letters.SHORT_ID])
    console.print(f"One of them:  darkroom dlq show {service} {short}", markup=False)
    if wanted.state == "waiting":
        words = f"darkroom dlq replay {service} --id {short} | --code … | --all"
        console.print(f"Try again:    {words}", markup=False)


def _overview(kafka: str | None, prefix: str, data: Path | None, as_json: bool) -> None:
    found = {}
    for service in services():
        with _box(service, kafka, prefix, data) as box, _reading(as_json):
            found[service] = box.letters()
    if as_json:
        counts = {
            service: {"waiting": len(letters), "by_code": by_code(letters)}
            for service, letters in found.items()
        }
        typer.echo(show_letters.as_text(counts))
        return
    console = Console(highlight=False)
    console.print(show_letters.overview(found))
    if any(found.values()):
        console.print("See darkroom dlq list SERVICE.")


@contextmanager
def _box(
    service: str, kafka: str | None, prefix: str, data: Path | None
) -> Iterator[DeadLetterBox]:
    """A service's box; its errors for people."""
    bootstrap, options = broker(kafka, data)
    quiet = {"log_level": 0, **options}
    producer = KafkaProducer(bootstrap, "darkroom-dlq", prefix=prefix, options=quiet)
    log = KafkaLog(bootstrap, prefix=prefix, options=options)
    tiers = catalogue.load().tiers
    tracing.configure("darkroom-cli")
    try:
        yield DeadLetterBox(log, producer, service, tiers=tiers)
    except InboxError as error:
        raise DarkroomError(f"{error}.") from error
    finally:
        producer.close()
        tracing.close()


@contextmanager
def _reading(quiet: bool) -> Iterator[None]:
    """Says that letters are being read, which takes a while if there are many."""
    if quiet:
        yield
    else:
        with Console().status("reading the dead letters"):
            yield


@contextmanager
def _bar(console: Console, what: str, *, shown: bool) -> Iterator[Told]:
    """A bar, and what moves it."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True, disable=not shown) as bar:
        task = bar.add_task(what, total=None)
        yield lambda over, of: bar.update(task, completed=over, total=of)


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Set by Ctrl-C, once; a second Ctrl-C ends the program at once."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
