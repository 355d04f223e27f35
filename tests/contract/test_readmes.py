"""What the READMEs say of names is so: settings, metrics, files, commands."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

import aggregator.settings
import detector.settings
import embedder.settings
import gateway.settings
import intake.settings
import ocr.settings
import trainer.settings
from darkroom_cli import app
from streamkit import ObjectSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, type[BaseSettings]] = {
    "aggregator": aggregator.settings.Settings,
    "detector": detector.settings.Settings,
    "embedder": embedder.settings.Settings,
    "gateway": gateway.settings.Settings,
    "intake": intake.settings.Settings,
    "ocr": ocr.settings.Settings,
    "trainer": trainer.settings.Settings,
}
INHERITED = {*WorkerSettings.model_fields, *ObjectSettings.model_fields}
OUTSIDE_OF_SERVICES = (
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("libs/*/README.md")),
    ROOT / "schemas/README.md",
    ROOT / "examples/README.md",
)
PAGES = (*OUTSIDE_OF_SERVICES, *sorted(ROOT.glob("services/*/README.md")))
FOLDERS = (
    "bench",
    "deploy",
    "docs",
    "examples",
    "libs",
    "requirements",
    "schemas",
    "services",
    "tests",
)


def readme(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")


def variables(names: set[str]) -> set[str]:
    return {f"DARKROOM_{name.upper()}" for name in names}


def registered(folder: Path) -> set[str]:
    """Names of the metrics that the modules below a folder declare."""
    declaration = re.compile(r'\b(?:Counter|Gauge|Histogram|Family)\(\s*"(darkroom_\w+)"')
    return {
        name
        for file in folder.rglob("*.py")
        for name in declaration.findall(file.read_text(encoding="utf-8"))
    }


def named_pages() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_every_setting_of_its_service_and_no_other(service: str) -> None:
    fields = set(SERVICES[service].model_fields)
    named = set(re.findall(r"DARKROOM_[A-Z][A-Z0-9_]*", readme(service)))
    assert variables(fields - INHERITED) - named == set()
    assert named - variables(fields) == set()


def test_a_setting_that_services_share_means_the_same_to_all() -> None:
    seen: dict[str, tuple[object, object]] = {}
    for settings in SERVICES.values():
        for name, field in _fields(settings).items():
            assert seen.setdefault(name, field) == field, name


def _fields(settings: type[BaseSettings]) -> dict[str, tuple[object, object]]:
    return {
        name: (field.annotation, field.default) for name, field in settings.model_fields.items()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_every_metric_of_its_service_and_invents_none(service: str) -> None:
    own = registered(ROOT / "services" / service / "src")
    shared = registered(ROOT / "libs" / "streamkit" / "src")
    named = set(re.findall(r"\bdarkroom_\w+", readme(service)))
    assert shared
    assert own - named == set()
    assert named - own - shared == set()


@pytest.mark.parametrize("page", named_pages())
def test_every_link_leads_to_a_file(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (file.parent / link).exists()] == []


@pytest.mark.parametrize("page", named_pages())
def test_every_path_that_a_page_names_exists(page: str) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", (ROOT / page).read_text("utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in OUTSIDE_OF_SERVICES])
def test_every_command_that_a_page_names_exists(page: str) -> None:
    words = {*app.COMMANDS, *app.GROUPS}
    named = set(re.findall(r"\./darkroom ([a-z]+)", (ROOT / page).read_text("utf-8")))
    assert named - words == set()
