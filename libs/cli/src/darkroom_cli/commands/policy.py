"""`darkroom policy show | set | suggest | history`: thresholds; `darkroom audit`: who did what."""

import getpass
import json
from itertools import islice
from typing import Annotated, Final, NamedTuple

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from darkroom_cli import door, show_precision
from darkroom_cli.client import Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import plain

policy = typer.Typer(
    help="How sure is sure enough: what is labelled without asking, what goes to a person.",
    no_args_is_help=True,
)

SETTINGS_HOLD: Final = (
    "No policy was set: the aggregator's settings hold (revision 1; above 0.8 labelled without"
    " asking, below 0.5 to a person, if nobody changed them)."
)

_LATER: Final = (
    "when they are labelled again: after your own labels were learned anew, or by"
    " `darkroom reprocess`"
)
"""When a policy routes photos that were decided before it."""

_LONGEST: Final = 500
"""Characters of a reason."""

Threshold = Annotated[float | None, typer.Option(min=0.0, max=1.0, show_default=False)]


def by_default() -> str:
    """The person at this terminal, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


By = Annotated[str, typer.Option(default_factory=by_default, help="Who does it; else you.")]


class LabelThresholds(NamedTuple):
    """A label and its thresholds, from 0 to 1."""

    label: str
    auto_above: float
    review_below: float


def thresholds(text: str) -> LabelThresholds:
    """Typer's parser for `cat=0.9,0.6`: label, auto-above, review-below."""
    label, _, numbers = text.rpartition("=")
    try:
        above, below = (float(number) for number in numbers.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write it like cat=0.9,0.6") from None
    if not label or not 0 <= below <= above <= 1:
        raise typer.BadParameter(
            f"{text!r}: a label, then two numbers from 0 to 1, the first not below the second"
        )
    return LabelThresholds(label, above, below)


@policy.command("show")
def show(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show the policy in force, the thresholds of single labels among it."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).policy()
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found["policy"] is None:
        typer.echo(SETTINGS_HOLD)
    else:
        console = Console(highlight=False)
        console.print(_labels_table(found["policy"]))
        console.print(_made(found["policy"]))


@policy.command("set", epilog='Example: darkroom policy set --label cat=0.95,0.7 --reason "dogs"')
def set_(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    reason: Annotated[str, typer.Option(help="Why, for the next person.")],
    by: By,
    auto_above: Threshold = None,
    review_below: Threshold = None,
    label: Annotated[
        list[LabelThresholds] | None,
        typer.Option(parser=thresholds, metavar="LABEL=ABOVE,BELOW", help="Repeatable."),
    ] = None,
    without_label: Annotated[
        list[str] | None, typer.Option(help="Take a label's own thresholds away; repeatable.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Make the next revision: what is not named stays as it is.

    It routes photos that are handed in from now on, and those of before when they are labelled
    again: because your own labels were learned anew, or by `darkroom reprocess`. Exit code 1 if
    somebody else changed the policy at the same moment: look at it and try again.
    """
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = gateway.policy()
        known, (above, below) = _general(found, auto_above, review_below)
        labels = dict(known)
        for name in without_label or ():
            if labels.pop(name, None) is None:
                raise typer.BadParameter(f"{name!r} has no thresholds of its own")
        labels |= {
            one.label: {"auto_above": one.auto_above, "review_below": one.review_below}
            for one in label or ()
        }
        made = gateway.change_policy(
            {
                **{"auto_above": above, "review_below": below, "labels": labels},
                **{"reason": reason, "by": by, "expected_revision": found["revision"]},
            }
        )
    if as_json:
        typer.echo(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        typer.echo(_routes(made))


@policy.command("suggest", epilog="Example: darkroom policy suggest --target 0.98")
def suggest(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    target: Annotated[
        float | None, typer.Option(min=0.01, max=0.999, help="Share of labels that is to be right.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Make them the next policy.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, if they are applied.")] = None,
    auto_above: Threshold = None,
    review_below: Threshold = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show the lowest thresholds above which labels are right often enough, by people's answers.

    Also what would become of the photos that are shown now, once they are labelled again: because
    your own labels were learned anew, or by `darkroom reprocess`. --apply makes the next policy of
    them, which routes those, and what is handed in. Exit code 1 if nothing is suggested then.
    """
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = gateway.policy_suggestions(target, label)
        chosen = [one for one in found["items"] if one["thresholds"]]
        made = None
        if apply and chosen:
            before = gateway.policy()
            known, (above, below) = _general(before, auto_above, review_below)
            names = ", ".join(one["label"] for one in chosen)
            why = reason or f"answers suggest it for {found['target']:g} right: {names}"[:_LONGEST]
            made = gateway.change_policy(
                {
                    **{"auto_above": above, "review_below": below, "reason": why, "by": by},
                    "labels": known | {one["label"]: one["thresholds"] for one in chosen},
                    "expected_revision": found["revision"],
                }
            )
    if as_json:
        typer.echo(json.dumps({**found, "made": made}, indent=2, ensure_ascii=False))
    else:
        _show_suggestions(found)
        if made:
            typer.echo(_routes(made))
    if apply and not made:
        typer.echo("Nothing is suggested, so nothing was changed.", err=True)
        raise typer.Exit(1)


@policy.command("history")
def history(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show the policies that were made, by whom and why."""
    with explained():
        found = list(islice(door.gateway(url, DataFolder.at(data)).policies(), limit))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not found:
        typer.echo(SETTINGS_HOLD)
        return
    table = Table("revision", "above", "below", "labels", "by", "when", "why", box=SIMPLE_HEAD)
    for one in found:
        table.add_row(
            *(str(one["revision"]), f"{one['auto_above']:g}", f"{one['review_below']:g}"),
            *(str(len(one["labels"])), plain(one["changed_by"]), _when(one["changed_at"])),
            plain(one["reason"]),
        )
    Console(highlight=False).print(table)


def audit(
    what: Annotated[
        str | None, typer.Argument(help="Only such changes: policy, import.paused, …")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show who changed what: policies, imports, sources, schedules."""
    with explained():
        found = list(islice(door.gateway(url, DataFolder.at(data)).audit(what), limit))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("when", "who", "what", "about", "detail", box=SIMPLE_HEAD)
    for one in found:
        detail = json.dumps(one["detail"], ensure_ascii=False) if one["detail"] else ""
        table.add_row(
            *(_when(one["at"]), plain(one["who"]), plain(one["what"])),
            *(plain(one["subject"]), plain(detail)),
        )
    Console(highlight=False).print(table if found else "Nobody has changed anything.")


def _general(
    found: Json, auto_above: float | None, review_below: float | None
) -> tuple[Json, tuple[float, float]]:
    """The policy's thresholds of labels, and those of all others with what shall be another."""
    known: Json = found["policy"] or {"auto_above": None, "review_below": None, "labels": {}}
    above = known["auto_above"] if auto_above is None else auto_above
    below = known["review_below"] if review_below is None else review_below
    if above is None or below is None:
        raise typer.BadParameter("the first policy needs both --auto-above and --review-below")
    return known["labels"], (above, below)


def _show_suggestions(found: Json) -> None:
    console = Console(highlight=False)
    if not found["items"]:
        console.print("Nobody has answered anything that would tell.")
        return
    console.print(show_precision.suggestions_table(found))
    changes = show_precision.changes_table(found["items"])
    if changes.row_count:
        console.print(changes)
        console.print(f"Photos of before change {_LATER}.")


def _routes(made: Json) -> str:
    return (
        f"Revision {made['revision']} routes what is handed in from now on; photos of before"
        f" {_LATER}."
    )


def _labels_table(found: Json) -> Table:
    table = Table("label", "without asking above", "to a person below", box=SIMPLE_HEAD)
    table.add_row("(all others)", f"{found['auto_above']:g}", f"{found['review_below']:g}")
    for name, one in sorted(found["labels"].items()):
        table.add_row(plain(name), f"{one['auto_above']:g}", f"{one['review_below']:g}")
    return table


def _made(found: Json) -> str:
    return plain(
        f"Revision {found['revision']}, by {found['changed_by']}, {_when(found['changed_at'])}:"
        f" {found['reason']}"
    )


def _when(moment: str) -> str:
    return moment[:19].replace("T", " ")
