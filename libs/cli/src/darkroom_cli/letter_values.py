"""The values of dead letters, decoded as far as a registry knows their schemas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkroom_cli.commands.stack import local_stack
from darkroom_cli.errors import StackError
from darkroom_cli.paths import cache_folder
from darkroom_schemas import avro
from streamkit.codec import Codec, RegistryRefusesError, SchemaIds
from streamkit.errors import Busy, Reject
from streamkit.letters import Letter

Value = Mapping[str, Any]


def decoded(
    letter: Letter, value: bytes | None, registry: str | None, prefix: str, data: Path | None
) -> tuple[Value | None, str]:
    """The value as its topic's schema says it; else None, and a sentence why not."""
    if value is None:
        return None, _absent(letter)
    try:
        url = registry or local_stack(data).address("registry")
        codec = Codec(SchemaIds(url, cache_folder() / "schemas"), avro.schema_of, prefix)
        return codec.decode(letter.topic, value), ""
    except LookupError:
        return None, f"not decoded: {letter.topic or 'its topic'} has no schema of ours"
    except Reject as error:
        return None, f"not decoded: {error.message}"
    except (Busy, RegistryRefusesError) as error:
        return None, f"not decoded: {error}"
    except StackError:
        return None, "not decoded: no registry; name one by --registry"


def _absent(letter: Letter) -> str:
    if not letter.valueless:
        return "the record has none"
    where = f"{letter.topic} partition {letter.partition} offset {letter.offset}"
    return f"it was too large for the letter, and no longer lies in {where}"
