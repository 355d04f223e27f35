"""Models for people's eyes."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from darkroom_cli.client import Json
from darkroom_cli.show import percent, plain

_CHANGES: Final = {
    "served": "by the services' settings",
    "activated": "activated",
    "rolled_back": "rolled back",
}

_VERSION: Final = partial(Column, "version", no_wrap=True)
"""Whole, so that it can be copied."""

CALIBRATION: Final = "detector_calibration"
"""The option that holds what confidences were fitted to."""

_LATELY_S: Final = 60.0
"""So long a replica that went is still listed."""


def overview(found: Sequence[Json]) -> Table:
    """A line for each model."""
    table = Table("model", _VERSION(), "generation", "replicas", "everywhere", box=SIMPLE_HEAD)
    for one in found:
        live = [each for each in one["replicas"] if each["live"]]
        table.add_row(
            one["name"],
            plain(one["active"] or "(none known)"),
            str(one["generation"]),
            str(len(live)),
            "yes" if one["everywhere"] else f"waits for {len(one['waiting_for'])}",
        )
    return table


def detail(found: Json) -> Iterator[Any]:
    """A model's versions, its replicas, its changes."""
    yield overview([found])
    if found["shadow"]:
        share = f"{100 * found['shadow_share']:g} %"
        yield plain(f"Beside it {found['shadow']} looks at {share} of the photos.")
    if found["warning"]:
        yield plain(found["warning"])
    if (again := found["reembedding"]) is not None:
        yield plain(_embedded(again))
    if (rescoring := found["rescoring"]) is not None:
        yield plain(_rescored(rescoring))
    if found["versions"]:
        yield _versions(found)
    if shown := [one for one in found["replicas"] if one["live"] or one["seen_s"] < _LATELY_S]:
        yield _replicas(shown)
    for one in shown:
        if one["message"]:
            yield plain(f"{one['replica']}: {one['message']}")
    if found["history"]:
        yield _history(found["history"])


def _embedded(again: Json) -> str:
    left = again["photos"] - again["embedded"] - again["failed"]
    text = f"{again['embedded']:,} of {again['photos']:,} photos are embedded by it"
    if left > 0:
        text += f"; {left:,} to come, found by their older vectors meanwhile"
    if again["failed"]:
        text += f"; {again['failed']:,} failed"
    return f"{text}."


def _rescored(rescoring: Json) -> str:
    if rescoring["state"] == "waiting":
        return "Photos that were seen before are labelled by it once every embedder has it."
    heads = rescoring["heads"]
    by = "by it" if len(heads) == 1 else f"by {', '.join(heads)} together"
    text = (
        f"{rescoring['done']:,} of {rescoring['photos']:,} photos that were seen before are"
        f" looked at {by}; {rescoring['changed']:,} have other labels"
    )
    return f"{text}." if rescoring["state"] == "done" else f"{text} so far."


def _versions(found: Json) -> Table:
    table = Table(_VERSION(), "stage", "options", "files", "licence", box=SIMPLE_HEAD)
    for one in found["versions"]:
        size = sum(file["byte_size"] for file in one["files"])
        stage = "in use" if one["version"] == found["active"] else one["stage"]
        table.add_row(
            plain(one["version"]),
            stage,
            plain("\n".join(_options(one))),
            f"{len(one['files'])} ({size / 1e6:.1f} MB)" if one["files"] else "",
            plain(one["licence"] or ""),
        )
    return table


def _options(version: Json) -> Iterator[str]:
    """A version's options, a calibration in short; of a head, how good it is."""
    accuracy = version["metrics"].get("accuracy") if version["engine"] == "head" else None
    if isinstance(accuracy, int | float):
        yield f"right about {percent(accuracy)} of {version['metrics'].get('examples')} examples"
    for name, value in version["options"].items():
        fitted = version["metrics"].get("calibration") if name == CALIBRATION else None
        if fitted is None:
            yield _short(name, value)
        else:
            before, after = fitted["ece_before"], fitted["ece_after"]
            errors = f", error {before:.3f} → {after:.3f}" if before is not None else ""
            yield f"calibrated on {fitted['n']} photos{errors}"


def _short(name: str, value: str, most: int = 40) -> str:
    return f"{name}={value if len(value) <= most else value[: most - 1] + '…'}"


def _replicas(replicas: Sequence[Json]) -> Table:
    table = Table("replica", "state", "generation", _VERSION(), "heard of", box=SIMPLE_HEAD)
    for one in replicas:
        state = one["state"] if one["live"] or one["state"] == "gone" else "silent"
        table.add_row(
            *(plain(one["replica"]), state, str(one["generation"]), plain(one["version"] or "")),
            f"{one['seen_s']:.0f} s ago",
        )
    return table


def _history(history: Sequence[Json]) -> Table:
    table = Table("generation", _VERSION(), "what", "by", "when", "why", box=SIMPLE_HEAD)
    for one in history:
        table.add_row(
            *(str(one["generation"]), plain(one["version"]), _change(one)),
            *(plain(one["activated_by"]), one["activated_at"][:16].replace("T", " ")),
            plain(one["reason"] or ""),
        )
    return table


def _change(one: Json) -> str:
    if one["change"] == "shadowed":
        return plain(f"{one['shadow']} beside it") if one["shadow"] else "none beside it"
    return _CHANGES[one["change"]]


def changed(name: str, made: Json) -> str:
    """A change in one line."""
    text = f"{name}: {made['version']} holds from generation {made['generation']} on"
    return f"{text}, {made['shadow']} beside it." if made["shadow"] else f"{text}."


def shadow_report(found: Json) -> Iterator[Any]:
    """How a shadow agrees, and where it does not."""
    if not found["photos"]:
        yield plain(
            f"{found['shadow']} has looked at no photo yet: import some, those that a person"
            " waits for are left out."
        )
        return
    low, high = (100 * found[name] for name in ("agreement_low", "agreement_high"))
    yield plain(
        f"{found['shadow']} agrees on {found['agreed']:,} of {found['photos']:,} photos"
        f" ({100 * found['agreement']:.1f} %, {low:.1f} to {high:.1f} %);"
        f" mean difference {found['mean_difference']:.3f}; {found['failed']:,} failed."
    )
    if found["shadow_ms"] is not None:
        yield plain(f"Median {found['shadow_ms']:.0f} ms, beside {found['active_ms']:.0f} ms.")
    if found["disagreements"]:
        yield _disagreements(found["disagreements"])


def _disagreements(apart: Sequence[Json]) -> Table:
    table = Table("photo", "difference", "what holds says", "shadow says", box=SIMPLE_HEAD)
    for one in apart:
        shadow = one["error"] or _said(one["shadow_says"], one["shadow_confidence"])
        table.add_row(
            one["photo_id"],
            f"{one['difference']:.3f}",
            plain(_said(one["active_says"], one["active_confidence"])),
            plain(shadow),
        )
    return table


def _said(text: str, confidence: float | None) -> str:
    short = text if len(text) <= 60 else f"{text[:59]}…"
    return short if confidence is None else f"{short} ({confidence:.2f})"
