"""Every command in the README and on the page for beginners does what it says.

Each block is run by a shell, line by line, in the order of the page, against the running system. A
command that stands on both pages is run once. Not run as they stand:

- `demo`: test_demo does it.
- `test`: this is it.
- `down`: the system is that of other tests, so it is told of a folder where nothing runs.

test_docs holds how all others, on all pages, are spelt.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.tools.site import ROOT

from darkroom_cli.paths import cache_folder
from darkroom_cli.sample import SampleManifest
from darkroom_cli.stack import Stack
from documented import Shown, commands
from drawn_shapes import DRAWN, picture

PAGES = ("README.md", "docs/getting-started.md")
NOT_RUN = {"demo", "test"}
EXAMPLES = 6
WITHIN_S = 120
LOCAL = "http://127.0.0.1:8080"
ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Reader:
    """Somebody who reads a page and types what stands there, in a folder with some photos."""

    def __init__(self, system: Stack, folder: Path) -> None:
        self._system = system
        self._folder = folder
        self._said: dict[str, str] = {}
        self._photo_id = ""

    def does(self, command: str) -> str:
        """What a command says. Fails if its exit code is not 0."""
        if command not in self._said:
            line = command.replace(LOCAL, self._system.addresses["api"])
            line = line.replace("PHOTO_ID", self._photo_id)
            if Shown(command).words[:2] == ["./darkroom", "down"]:
                line = f"{line.partition('#')[0]} --data nothing-here"
            self._said[command] = self._run(line)
        self._photo_id = next(iter(ID.findall(self._said[command])), self._photo_id)
        return self._said[command]

    def _run(self, line: str) -> str:
        done = subprocess.run(
            ("bash", "-c", line),
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self._folder / "home"),
            "XDG_CACHE_HOME": str(cache_folder().parent),
            "DARKROOM_HOME": str(self._system.data.root),
            "COLUMNS": "200",  # ids in one line
        }


@pytest.fixture(scope="module")
def reader(
    system: Stack, sample: SampleManifest, tmp_path_factory: pytest.TempPathFactory
) -> Reader:
    folder = tmp_path_factory.mktemp("reader")
    start = folder / "darkroom"  # in place of the launcher, whose environment is there already
    start.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darkroom_cli "$@"\n', encoding="utf-8")
    start.chmod(0o755)
    for name, place in (
        ("chelsea-the-cat.jpg", folder / "cat.jpg"),
        ("coffee.png", folder / "home/Pictures/coffee.png"),
        ("empty.jpg", folder / "home/Pictures/empty.jpg"),
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((sample.folder / name).read_bytes())
    for label in DRAWN:
        for number in range(EXAMPLES):
            place = folder / "home/by-label" / label / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            picture(label, 100 + number).save(place)
    return Reader(system, folder)


def is_like(shown: str, said: str) -> bool:
    """Whether an output has the lines that a page shows, in this order: told by their first word,
    since what is found depends on what was learned; of JSON by its keys."""
    if shown.lstrip().startswith("{"):
        return set(re.findall(r'"(\w+)":', shown)) <= set(re.findall(r'"(\w+)":', said))
    wanted = [line.split()[0] for line in shown.splitlines() if line.strip(" …")]
    found = iter(line.split()[0] for line in said.splitlines() if line.strip())
    return all(word in found for word in wanted)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works(reader: Reader, page: str) -> None:
    todo = list(commands(ROOT / page))
    assert len(todo) > 10
    for shown in todo:
        if shown.words[0] == "./darkroom" and shown.words[1] in NOT_RUN:
            continue
        said = reader.does(shown.command)
        if shown.output is not None:
            assert is_like(shown.output, said), f"{shown.command}\n{said}"


def test_an_output_is_like_what_a_page_shows_if_its_lines_are_there() -> None:
    assert is_like("photo   1\nlabels  a\n…\n", "photo   2\nfile    b\nlabels  c\n")
    assert not is_like("labels  a\nphoto   1\n", "photo   2\nlabels  c\n")
    assert is_like('{"photo_id":"1",…', '{"photo_id":"2","label":null}')
    assert not is_like('{"foto_id":"1",…', '{"photo_id":"2"}')
