"""The Prefer header (RFC 7240), of which `wait` is honoured here."""

import re
from typing import Final

MAX_WAIT_S: Final = 60
"""Longest wait for an outcome that a client gets."""

_PREFERENCE: Final = re.compile(
    r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)          # token
        (?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?  # value: quoted or a token
        (?:\s*;[^,"]*(?:"(?:[^"\\]|\\.)*"[^,"]*)*)?\s*  # parameters, which we don't use
        (?:,|$)""",
    re.VERBOSE,
)


def wait_of(headers: list[str]) -> int | None:
    """Seconds to wait at most, bounded; None if no valid `wait` is asked for.

    `headers` are all Prefer header lines. Of a preference given twice the first one counts (§2),
    names are case-insensitive, and what cannot be read is ignored, as preferences are.
    """
    for name, value in _preferences(", ".join(headers)):
        if name == "wait":
            return min(int(value), MAX_WAIT_S) if re.fullmatch(r"[0-9]{1,9}", value) else None
    return None


def _preferences(text: str) -> list[tuple[str, str]]:
    found = []
    at = 0
    while at < len(text):
        match = _PREFERENCE.match(text, at)
        if match is None:
            following = text.find(",", at)
            at = len(text) if following < 0 else following + 1
            continue
        value = (match[2] or "").removeprefix('"').removesuffix('"')
        found.append((match[1].lower(), value))
        at = match.end()
    return found
