"""`docs/reference/settings.md`: the settings of every service, out of their classes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from annotated_types import Ge, Gt, Le, Lt
from docs.tools.markdown import cell, code, page, table
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

import aggregator.settings
import detector.settings
import embedder.settings
import gateway.settings
import intake.settings
import ocr.settings
import trainer.settings
from darkroom_cli.settings import CliSettings
from stagekit import StageSettings
from streamkit import HeartbeatSettings, ObjectSettings, TopicSettings, WorkerSettings
from streamkit.settings import ServiceSettings

SERVICES: Final[Mapping[str, type[BaseSettings]]] = {
    "gateway": gateway.settings.Settings,
    "intake": intake.settings.Settings,
    "detector": detector.settings.Settings,
    "ocr": ocr.settings.Settings,
    "embedder": embedder.settings.Settings,
    "aggregator": aggregator.settings.Settings,
    "trainer": trainer.settings.Settings,
}

SHARED: Final[Mapping[str, type[BaseSettings]]] = {
    "Every service": ServiceSettings,
    "Services that read or write topics": TopicSettings,
    "Services that tell how they stand": HeartbeatSettings,
    "Workers": WorkerSettings,
    "Services with objects": ObjectSettings,
    "Stages": StageSettings,
}
"""Classes that services inherit from, from the most general one on."""

_COMPUTED: Final = {
    "aggregator_instance": "the machine's name",
    "ocr_threads": "`OMP_NUM_THREADS`, else `0`",
}
"""Defaults that are known only where a service runs."""

_BOUNDS: Final = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"))

_HEAD: Final = """\
# Settings

Each setting is an environment variable `DARKROOM_NAME` or a flag `--name` of the service's program;
a flag goes before a variable. `python -m SERVICE --help` prints the same. Settings are read once,
at the start; one that makes no sense stops the service with a sentence. Lists and mappings are
JSON. Names that end in `_s` are seconds, in `_bytes` and `_memory` bytes, in `_days` days.

What a service needs beside these: `OTEL_EXPORTER_OTLP_ENDPOINT` for traces, `AWS_…` (or the like of
Google and Azure) for an object store, `HF_HOME` for a model hub's cache.

This page is generated: `python -m docs.tools.generate`.
"""

_USERS: Final = "\nTaken by {services}.\n"  # of a shared class


def settings_page() -> str:
    """The page, as it should be."""
    parts = [_HEAD]
    known: set[str] = set()
    for title, shared in SHARED.items():
        fields = {k: v for k, v in shared.model_fields.items() if k not in known}
        known |= fields.keys()
        parts += [f"## {title}", _USERS.format(services=_heirs(shared)), _table(fields)]
    for service, settings in SERVICES.items():
        fields = {k: v for k, v in settings.model_fields.items() if k not in known}
        parts += [f"## {service}", _inherits(settings), _table(fields)]
    parts += [
        "## The command",
        "What `./darkroom` itself reads; its other options are in [the command](cli.md).",
        _table(CliSettings.model_fields),
    ]
    return page(*parts)


def _heirs(shared: type[BaseSettings]) -> str:
    return ", ".join(name for name, own in SERVICES.items() if issubclass(own, shared))


def _inherits(settings: type[BaseSettings]) -> str:
    titles = [title for title, shared in SHARED.items() if issubclass(settings, shared)]
    links = (f"[{title}](#{title.lower().replace(' ', '-')})" for title in titles)
    return f"Beside those of: {', '.join(links)}."


def _table(fields: Mapping[str, FieldInfo]) -> str:
    return table(("variable", "default", "values", "meaning"), map(_row, fields.items()))


def _row(named: tuple[str, FieldInfo]) -> tuple[str, str, str, str]:
    name, field = named
    variable = f"`DARKROOM_{name.upper()}`"
    return variable, _default(name, field), _values(field), cell(field.description or "")


def _default(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        return _COMPUTED[name]
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "":
        return "none"
    return code(_plain(value))


def _plain(value: object) -> str:
    """As one writes it into the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    if isinstance(value, Path):
        return value.as_posix()
    return str(value)


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(one, name):,}".replace(",", " ")
        for kind, name, sign in _BOUNDS
        for one in field.metadata
        if isinstance(one, kind)
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    names = {
        bool: "true, false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
        type(None): "",
    }
    if annotation in names:
        return names[annotation]
    inner = getattr(annotation, "__args__", ())
    origin = getattr(annotation, "__origin__", None)
    if origin is not None and getattr(origin, "__name__", "") in ("tuple", "Mapping"):
        return "JSON"
    if all(isinstance(one, str) for one in inner):
        return ", ".join(f"`{one}`" for one in inner)
    return ", ".join(filter(None, _unique(map(_kind, inner))))


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
