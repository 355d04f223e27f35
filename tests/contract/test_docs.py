"""The documentation is what the code says, and leads nowhere wrong."""

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from docs.tools import asyncapi, generate, site
from docs.tools.site import (
    ROOT,
    DeadLinkError,
    LostPageError,
    Staging,
    build,
    navigation,
    pages,
    place,
)

from documented import all_darkroom_lines, misspelt

OTHER_VARIABLES = {
    "DARKROOM_NAME",  # stands for any
    "DARKROOM_CHAOS_PHOTOS",  # of tests
    "DARKROOM_CHAOS_STILL_S",
    "DARKROOM_CHAOS_SEED",
}


def variables() -> set[str]:
    """What is read from the environment: settings, what the code names in quotes (options of the
    command, topics), what Compose fills in."""
    page = (generate.FOLDER / "settings.md").read_text(encoding="utf-8")
    known = set(re.findall(r"DARKROOM_[A-Z0-9_]+", page)) | OTHER_VARIABLES
    for folder in ("libs/cli/src", "schemas/src"):
        for file in (ROOT / folder).rglob("*.py"):
            known.update(re.findall(r'"(DARKROOM_[A-Z0-9_]+)"', file.read_text(encoding="utf-8")))
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return known | set(re.findall(r"\$\{(DARKROOM_[A-Z0-9_]+)", compose))


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_that_is_made_of_code_is_up_to_date(name: str) -> None:
    text = (generate.FOLDER / name).read_text(encoding="utf-8")
    assert text == generate.PAGES[name](), "run: python -m docs.tools.generate"


def test_every_command_on_every_page_can_be_typed() -> None:
    lines = all_darkroom_lines()
    assert len(lines) > 100
    wrong = {f"{page}: {line}": why for page, line in lines if (why := misspelt(line))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("./darkroom imprt ~/Pictures", "no word imprt"),
        ("./darkroom import --foldr x", "no option --foldr"),
        ("./darkroom ops pause ocr", "lacks --reason"),
        ("./darkroom photo", "lacks an argument"),
        ("./darkroom photo a b", "too many arguments"),
        ("./darkroom ops pause ocr --reason 'a disk' --for 10m  # why", None),
    ],
)
def test_a_command_that_is_misspelt_is_found(line: str, why: str | None) -> None:
    assert misspelt(line) == why


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    known = variables()
    named = {
        (str(page), name)
        for page in pages(ROOT)
        for name in re.findall(r"\bDARKROOM_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / page).read_text("utf-8"))
    }
    assert {(page, name) for page, name in named if name not in known} == set()


def test_the_catalogue_of_decisions_is_whole() -> None:
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))
    assert listed == sorted(file.name for file in folder.glob("0*.md"))


def test_asyncapi_has_every_topic_and_leads_nowhere_wrong() -> None:
    made = yaml.safe_load((generate.FOLDER / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert made == json.loads(json.dumps(asyncapi.asyncapi()))

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [one for inner in value.values() for one in references(inner)]
        if isinstance(value, list):
            return [one for inner in value for one in references(inner)]
        return []

    def goal(reference: str) -> object:
        found = made
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return found

    assert len(references(made)) > 100
    assert all(goal(reference) for reference in references(made))


ASYNCAPI: dict[str, set[str]] = {
    "": {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations"}
    | {"components"},
    "info": {"title", "version", "description", "termsOfService", "contact", "license", "tags"}
    | {"externalDocs"},
    "info/license": {"name", "url"},
    "servers/*": {"host", "protocol", "protocolVersion", "pathname", "description", "title"}
    | {"summary", "variables", "security", "tags", "externalDocs", "bindings"},
    "channels/*": {"address", "messages", "title", "summary", "description", "servers"}
    | {"parameters", "tags", "externalDocs", "bindings"},
    "operations/*": {"action", "channel", "title", "summary", "description", "security", "tags"}
    | {"externalDocs", "bindings", "traits", "messages", "reply"},
    "components/messages/*": {"headers", "payload", "correlationId", "contentType", "name"}
    | {"title", "summary", "description", "tags", "externalDocs", "bindings", "examples", "traits"},
}
"""The fixed fields of AsyncAPI 3.0.0's objects; no Python package carries its schema."""


def test_asyncapi_has_no_fields_that_its_version_does_not_know() -> None:
    made = asyncapi.asyncapi()
    assert made["asyncapi"] == "3.0.0"
    for path, fields in ASYNCAPI.items():
        found = [made]
        for step in path.split("/") if path else ():
            found = [
                inner for one in found for inner in (one.values() if step == "*" else (one[step],))
            ]
        assert found
        assert set().union(*found) <= fields, path


def test_asyncapi_is_of_the_version_that_is_released() -> None:
    assert asyncapi.asyncapi()["info"]["version"] == version("darkroom-gateway")


def test_a_site_is_built_in_place_of_none_but_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def built(output: Path) -> int:
        monkeypatch.setattr("sys.argv", ["site", "--output", str(output)])
        return site.main()

    def generated(command: Sequence[str], cwd: str, check: bool) -> CompletedProcess[str]:
        (Path(cwd) / "site").mkdir()
        (Path(cwd) / "site" / "index.html").touch()
        return CompletedProcess(command, 0)

    monkeypatch.setattr(site, "stage", lambda _: None)
    monkeypatch.setattr("subprocess.run", generated)
    holiday = tmp_path / "pictures" / "holiday.jpg"
    holiday.parent.mkdir()
    holiday.touch()
    for taken in (holiday.parent, holiday):
        assert built(taken) == 1
        assert "would be deleted" in capsys.readouterr().err
    assert holiday.is_file()
    (tmp_path / "empty").mkdir()
    for free in (tmp_path / "empty", tmp_path / "a" / "new"):
        assert built(free) == 0
        (free / "of-before.html").touch()
        assert built(free) == 0
        assert (free / "index.html").is_file()
        assert not (free / "of-before.html").exists()


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[gone](gone.md)\n", encoding="utf-8")
    with pytest.raises(DeadLinkError, match=r"docs/index\.md: gone\.md"):
        Staging(tmp_path, tmp_path / "out").run()


def test_links_are_led_to_where_pages_lie_in_the_site(tmp_path: Path) -> None:
    files = {
        "docs/how-to/a.md": "[b](../../services/b/README.md#here) [c](../../examples/c.py)\n"
        "```sh\n[d](e)\n```\n",
        "services/b/README.md": "# B\n\n[home](../../README.md) [away](https://example.com)\n",
        "examples/c.py": "print()\n",
        "README.md": "# Home\n",
        "docs/index.md": "# Home\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    Staging(tmp_path, tmp_path / "out").run()
    moved = (tmp_path / "out" / "how-to" / "a.md").read_text(encoding="utf-8")
    assert moved == (
        "[b](../services/b/index.md#here) [c](../examples/c.py.md)\n```sh\n[d](e)\n```\n"
    )
    assert "[home](../../index.md)" in (tmp_path / "out" / "services/b/index.md").read_text("utf-8")
    assert "print()" in (tmp_path / "out" / "examples/c.py.md").read_text("utf-8")


def test_a_page_that_no_entry_names_is_told(tmp_path: Path) -> None:
    known = [Path(name) for name in ("index.md", "a/index.md", "a/b.md", "lost.md")]
    entries = ["index.md", {"A": "a/*.md"}]
    with pytest.raises(LostPageError, match=r"^lost\.md$"):
        navigation(entries, known)
    assert navigation(entries, known[:3]) == ["index.md", {"A": ["a/index.md", "a/b.md"]}]


def test_the_site_is_built_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    assert build(tmp_path / "site") == 0
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)"', home)
    assert loaded == []
    made = {file.relative_to(tmp_path / "site") for file in (tmp_path / "site").rglob("*.html")}
    assert {place(page).with_suffix(".html") for page in pages(ROOT)} <= made
    assert any((tmp_path / "site").rglob("search*"))
