"""docker-compose.yml as `docker compose` reads it: with an environment's variables filled in."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "docker-compose.yml"

_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


class MissingVariableError(LookupError):
    """A variable without which compose refuses, with what it says then."""


def filled(text: str, variables: Mapping[str, str]) -> str:
    """A text with its variables: ${A}, ${A:-default}, ${A:?refusal}, $$ for a dollar."""

    def value(found: re.Match[str]) -> str:
        dollar, name, operator, rest = found.groups()
        if dollar:
            return "$"
        known = variables.get(name, "")
        if not known and operator == "?":
            raise MissingVariableError(f"{name}: {rest}")
        return known or (rest if operator == "-" else "")

    return _VARIABLE.sub(value, text)


def secrets(folder: Path) -> dict[str, str]:
    """What deploy/compose/secrets.sh draws, in a checkout of its own."""
    script = folder / "deploy" / "compose" / "secrets.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "deploy" / "compose" / script.name, script)
    subprocess.run(("sh", str(script)), check=True, capture_output=True)
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def composed(variables: Mapping[str, str]) -> dict[str, Any]:
    """The whole file. Raises MissingVariableError."""
    read = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return cast(dict[str, Any], _each(read, variables))


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """What the image of Apache Kafka makes of its environment."""
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name != "KAFKA_HEAP_OPTS"
    }


def _typed(name: str, value: Any) -> Any:
    """Compose makes a number of a filled-in text where the specification wants one."""
    return int(value) if name == "replicas" else value


def _each(part: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {name: _typed(name, _each(value, variables)) for name, value in part.items()}
    if isinstance(part, list):
        return [_each(value, variables) for value in part]
    return filled(part, variables) if isinstance(part, str) else part
