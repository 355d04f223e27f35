"""Languages that are to be read, by the names that EasyOCR has for them."""

from collections.abc import Collection
from typing import Final

from streamkit import EngineLoadError

_LATIN: Final = (
    "af az bs cs cy da de en es et fr ga hr hu id is it ku la lt lv mi ms mt nl no oc pl pt ro "
    "rs_latin sk sl sq sv sw tl tr uz"
)
LATIN: Final = frozenset(_LATIN.split())
"""Those written in Latin letters without stacked accents, by their ISO 639-1 codes (`rs_latin`:
Serbian)."""


def wanted(setting: str) -> tuple[str, ...]:
    """The languages of a comma list, each once. Raises EngineLoadError if there are none."""
    names = tuple(dict.fromkeys(name.strip() for name in setting.split(",") if name.strip()))
    if not names:
        raise EngineLoadError("no language is named; set DARKROOM_OCR_LANGUAGES, as to en")
    return names


def check(names: Collection[str], readable: Collection[str], engine: str, cure: str) -> None:
    """Raises EngineLoadError that names what an engine can't read, what it can, and a cure."""
    unknown = [name for name in names if name not in readable]
    if unknown:
        there = ", ".join(sorted(readable))
        raise EngineLoadError(f"{engine} can't read {', '.join(unknown)}; it reads {there}. {cure}")
