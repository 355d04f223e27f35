"""The main job on real photographs, start to end."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from darkroom_cli import demo_report, door, show
from darkroom_cli.client import Json
from darkroom_cli.follow import follow_with_bar
from darkroom_cli.import_words import counts
from darkroom_cli.paths import DataFolder
from darkroom_cli.sample import SampleManifest, make_sample
from darkroom_cli.stack import Stack

API_DESCRIPTION: Final = "/v1/openapi.json"
"""Where the gateway describes its REST API."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a run of the demo came to."""

    report: Json
    items: list[Json]
    problems: list[str]
    url: str
    where: str
    """What a command needs to find the stack: nothing for the usual data folder."""


def next_sample(data: DataFolder) -> SampleManifest:
    """A sample folder that this data folder has not seen.

    Every run makes an edition of its own, whose pictures have other bytes and the same pixels:
    photographs that are known would be reported as duplicates and show nothing of the analysis.
    """
    folder = data.root / "demo"
    edition = sum(1 for _ in folder.glob("edition-*")) if folder.is_dir() else 0
    return make_sample(folder / f"edition-{edition}", edition)


def run(stack: Stack, console: Console, *, stop: bool) -> Found:
    """Start the stack if need be, import the sample, tell what was found.

    Raises DarkroomError, GatewayError, StalledError.
    """
    began = time.monotonic()
    ready_s = _start(stack, console)
    try:
        with stack.memory_peaks() as memory:
            sample = next_sample(stack.data)
            batch, items = _import(stack, sample, console)
        system = door.gateway(None, stack.data).system()
    finally:
        if stop:
            console.print("stopping everything")
            stack.stop()
    photos = [demo_report.photo_json(item) for item in items]
    report: dict[str, Any] = {
        "batch": demo_report.batch_json(batch),
        "photos": photos,
        "components": system["components"],
        "ready_s": round(ready_s, 2),
        "total_s": round(time.monotonic() - began, 2),
        "pss_mb": memory.peaks,
    }
    found = demo_report.problems(batch, photos, sample)
    found += [f"{name} is not reachable" for name, v in system["components"].items() if not v]
    usual = stack.data.root == DataFolder.at().root
    where = "" if usual else f" --data {stack.data.root}"
    return Found(report, items, found, stack.addresses["api"], where)


def _start(stack: Stack, console: Console) -> float:
    """Seconds until everything is ready."""
    began = time.monotonic()
    if stack.running:
        console.print("Darkroom is up already")
        return 0.0
    with console.status("starting") as status:
        stack.start(progress=status.update, detach=True)
    return time.monotonic() - began


def _import(stack: Stack, sample: SampleManifest, console: Console) -> tuple[Json, list[Json]]:
    gateway = door.gateway(None, stack.data)
    console.print(f"importing {len(sample.files)} files of {sample.folder}", markup=False)
    door.allow([sample.folder], stack.data)
    started = gateway.start_import([sample.folder], "batch")
    batch = follow_with_bar(gateway, started["batch_id"], console)
    return batch, list(gateway.items(batch["batch_id"]))


def tell(found: Found, console: Console, json_file: Path | None, *, stopped: bool) -> None:
    """The table, the addresses, and what is not as it should be."""
    report = found.report
    batch = report["batch"]
    console.print(show.items_table(found.items, "What was found"))
    console.print(f"{batch['found']} files: {counts(batch)}")
    peaks = sum(report["pss_mb"].values())
    console.print(
        f"ready after {report['ready_s']:.0f} s, all after {report['total_s']:.0f} s; "
        f"the processes' peaks of memory sum up to {peaks:.0f} MB"
    )
    if json_file is not None:
        json_file.write_text(
            json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        console.print(f"written: {json_file}", markup=False)
    if not stopped:
        console.print(f"\nLook at them: [bold]{found.url}[/bold]")
        console.print(f"REST API:     {found.url}{API_DESCRIPTION}")
        console.print(f"Try:          ./darkroom search espresso{found.where}", markup=False)
        console.print(f"Stop it:      ./darkroom down{found.where}", markup=False)
    for problem in found.problems:
        console.print(Text("not as it should be: ", style="red").append(show.plain(problem)))
