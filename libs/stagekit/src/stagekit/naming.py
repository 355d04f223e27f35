"""What the settings of a service add to the version of its engine."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from streamkit import WorkerSettings


def changed(settings: WorkerSettings, names: Iterable[str]) -> dict[str, Any]:
    """Those of the named settings that do not have their defaults, with their values."""
    fields = type(settings).model_fields
    values = {name: getattr(settings, name) for name in names}
    return {
        name: value
        for name, value in values.items()
        if value != fields[name].get_default(call_default_factory=True)
    }


def with_options(version: str, options: Mapping[str, Any]) -> str:
    """The version of an engine whose answers depend on `options` too, by their names.

    What an engine has by default is left out of them: without any it is named by its weights alone.
    """
    if not options:
        return version
    said = json.dumps(options, ensure_ascii=False, sort_keys=True).encode()
    return f"{version}+options@{hashlib.sha256(said).hexdigest()[:8]}"
