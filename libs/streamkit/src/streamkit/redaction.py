"""What log lines must not say: secrets, and what is personal about photos and people.

By the name of a field where it has one that tells, else by what a text looks like. Ids, labels of
topics, hosts and who did what (names of keys) stay. It errs on the side of hiding: an ordinary word
that looks like a secret is lost to the log, never the other way round where that can be told.
"""

import math
import re
from collections.abc import Mapping, MutableMapping
from itertools import islice
from typing import Any, Final

SECRET: Final = "[secret]"  # noqa: S105 - what stands in its place
PERSONAL: Final = "[personal]"
NOT_AN_ID: Final = "[not an id]"

_MOST_CHARS: Final = 4_096
_MOST_TRACE_CHARS: Final = 16_384
"""Of a traceback, whose end says the most."""

_MOST_ITEMS: Final = 100
_MOST_DEPTH: Final = 5

_TRACES: Final = frozenset({"exception", "stacks", "stack", "trace"})

_OURS: Final = frozenset(
    {
        "timestamp",
        "level",
        "logger",
        "service",
        "engine",
        "lane",
        "topic",
        "worker",
        "host",
    }
)
"""Fields whose text is ours, not to be looked at. (A worker's name has an @ in it.)"""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SHAPES: Final = {
    "photo_id": _UUID,
    "batch_id": _UUID,
    "trace_id": re.compile(r"[0-9a-f]{32}"),
}
"""Ids, which are not looked at either where they look so: programs of others choose them, too."""

_SECRET_FIELD: Final = re.compile(
    r"pass(?:word|wd|phrase)|(?:^|[._-])pwd(?:$|[._-])|secret|credential|authorization|cookie"
    r"|api[._-]?key|access[._-]?key|private[._-]?key|(?:^|[._-])sasl|signature|session[._-]?id"
    r"|(?:^|[._-])(?:auth|access|refresh|bearer|id|session|csrf|api)[._-]?tokens?$|^tokens?$",
    re.IGNORECASE,
)
_PERSONAL_FIELD: Final = re.compile(
    r"(?:^|[._-])(?:gps|exif|iptc|xmp|lat|lon|lng)(?:$|[._-])|gps|latitude|longitude|coordinates"
    r"|e[._-]?mail|owner[._-]?name|artist|by[._-]?line|copyright|serial[._-]?number|phone"
    r"|(?:^|[._-])(?:file|original|photo)[._-]?names?$|^files?$|caption|text[._-]?read",
    re.IGNORECASE,
)

_SUSPECT: Final = re.compile(
    r"[@/\\=:.\u00b0\u00ba]|dk_|AKIA|[Bb]earer|[Bb]asic |eyJ|-----| deg |['\"],", re.ASCII
)
"""Text without any of these has nothing to hide (0.1 µs to find out)."""

_HIDDEN: Final = r"\[(?:secret|personal)\]"
_SAYS: Final = r"(?:\\?[\"']?\s{0,4}+[=:]\s{0,4}+(?:b(?=[\"']))?|[\"'],\s{0,4}+b?(?=[\"']))"
"""Between a name and its value: an equals sign, a colon, or the comma of a pair of strings."""
_QUOTED: Final = (
    r"\\?\"(?:[^\"\\\n]++|\\.)*+\"?|\\?'(?:[^'\\\n]++|\\.)*+'?"
    rf"|(?!{_HIDDEN})[(\[{{][^\n]*+"
)
"""A value in quotes; of one in brackets the whole line, since brackets nest."""

# All of them are linear: what repeats is possessive, or bounded.
_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}-----|$)"
        ),
        SECRET,
    ),
    # Passwords in URLs: whatever stands before the last @ of what could be an address.
    (re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{1,30}+://)[^\s/?#'\"<>]{0,512}@"), rf"\1{SECRET}@"),
    (
        re.compile(r"\b(Bearer|Basic|Digest)\s+[A-Za-z0-9._~+/=-]{6,}+", re.IGNORECASE),
        rf"\1 {SECRET}",
    ),
    (re.compile(r"\bdk_[A-Za-z0-9_-]{6,}+"), SECRET),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,20}+"), SECRET),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){1,2}"), SECRET),
    # The paths of webhooks (Slack's, Discord's, Teams') are their passwords.
    (
        re.compile(
            r"(\bhttps?://[^\s'\"<>]{0,300}?hook[^\s/'\"<>]{0,200}+/)[^\s'\"<>]++", re.IGNORECASE
        ),
        rf"\1{SECRET}",
    ),
    # Headers whose values have many forms: all of the line.
    (
        re.compile(r"((?:authorization|cookies?)\s{0,4}+[=:]\s{0,4}+)[^\n]++", re.IGNORECASE),
        rf"\1{SECRET}",
    ),
    (
        re.compile(
            r"((?:pass(?:word|wd|phrase)?|pwd|secret|credentials?|token|cookies?|authorization"
            r"|(?:api|access|private)[._-]?key|signature|sasl\.[a-z.]{1,40}+|\bsig|jaas\.config)"
            rf"{_SAYS})(?:{_QUOTED}|(?:{_HIDDEN}|[^\s,;&\"'}}\])])++)",
            re.IGNORECASE,
        ),
        rf"\1{SECRET}",
    ),
    # Where a photo was taken: degrees and minutes, two decimal degrees beside each other, or a
    # name that says so.
    (
        re.compile(
            r"(?<![\d.])[+-]?\d{1,3}(?:\.\d{1,20}+)?\s{0,3}(?:[\u00b0\u00ba]|deg\b)\s{0,3}"
            r"(?:\d{1,2}(?:\.\d{1,20}+)?\s{0,3}\\?['\u2032\u2019]"
            r"(?:\s{0,3}\d{1,2}(?:\.\d{1,20}+)?\s{0,3}(?:\\?[\"\u2033\u201d]|''))?"
            r"(?:\s{0,3}[NSEWO]\b)?|[NSEWO]\b)"
        ),
        PERSONAL,
    ),
    (
        re.compile(
            r"(?<![\d.])[+-]?\d{1,3}\.\d{3,20}+°?\s{0,3}[NS]?\s{0,3}[,;/ ]\s{0,3}"
            r"[+-]?\d{1,3}\.\d{3,20}+"
        ),
        PERSONAL,
    ),
    (
        re.compile(
            r"(\b(?:lat|lon|lng|latitude|longitude)\b\\?[\"']?[\s=:]{1,4}+[\"'(\[]?)"
            r"[+-]?\d{1,3}(?:[.,]\d{1,20}+)?",
            re.IGNORECASE,
        ),
        rf"\1{PERSONAL}",
    ),
    (
        re.compile(
            r"((?:gps[A-Za-z_.]{0,30}+|latitude|longitude|artist|owner[_ ]?name|serial[_ ]?number)"
            rf"{_SAYS})(?:{_QUOTED}|(?:{_HIDDEN}|[^,;&\"'}}\]\n])++)",
            re.IGNORECASE,
        ),
        rf"\1{PERSONAL}",
    ),
    (re.compile(r"(?<![\w@.+-])[\w.+-]{1,64}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,8}"), PERSONAL),
    # Whose home it is.
    (re.compile(r"((?:^|(?<=[\s'\"=:(]))(?:file://)?/(?:home|Users)/)[^/\s'\"]++"), r"\1[user]"),
    (re.compile(r"(\b[A-Za-z]:\\Users\\)[^\\\s'\"]++", re.IGNORECASE), r"\1[user]"),
)


_FILE: Final = re.compile(
    r"\.(jpe?g|png|gif|webp|tiff?|bmp|hei[cf]|avif|dng|cr[23]|nef|arw|raf|orf|rw2|zip|tar)"
    r"(?![\w./\\])",
    re.IGNORECASE,
)
_LONGEST_NAME: Final = 512
_ENDS_NAME: Final = frozenset(" \t\r\n'\"<>|:;,()[]{}=")


def redact(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog's: hides what a line must not say, and bounds its size.

    Costs some µs for a usual line; of no text more than a few thousand characters are looked at.
    """
    for place, name in enumerate(list(line)):
        if place >= _MOST_ITEMS:
            del line[name]
        elif name not in _OURS and not _is_id(name, line[name]):
            line[name] = _of_field(name, line[name], 0)
    return line


def id_or_not(name: str, text: str) -> str:
    """An id that somebody else may have chosen, if it has the shape that ids of this name have."""
    shape = _SHAPES.get(name)
    return text if shape is None or shape.fullmatch(text) else NOT_AN_ID


def _is_id(name: str, value: Any) -> bool:
    shape = _SHAPES.get(name)
    return shape is not None and isinstance(value, str) and shape.fullmatch(value) is not None


def redacted(text: str) -> str:
    """A text without what looks like a secret or is personal."""
    if len(text) <= _MOST_CHARS:
        return _searched(text)
    # Not within a word: half a secret may not look like one.
    end = text.rfind(" ", _MOST_CHARS - _LONGEST_NAME, _MOST_CHARS)
    shown = text[: end if end > 0 else _MOST_CHARS]
    return f"{_searched(shown)}… [{len(text):,} characters]"


def _of_field(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_FIELD.search(name):
        # A number of tokens (fencing, rates) is no secret.
        return value if isinstance(value, int) else SECRET
    if _PERSONAL_FIELD.search(name):
        return value if isinstance(value, int) else PERSONAL
    if name in _TRACES and isinstance(value, str):
        if len(value) > _MOST_TRACE_CHARS:
            value = f"[…]\n{value[-_MOST_TRACE_CHARS:].partition(chr(10))[2]}"
        return _searched(value)
    return _of_value(value, depth)


def _of_value(value: Any, depth: int) -> Any:
    match value:
        case None | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON has no such numbers
        case str():
            return redacted(value)
        case bytes():
            return f"[{len(value):,} bytes]"
        case Mapping() | list() | tuple() | set() | frozenset():
            return "[…]" if depth >= _MOST_DEPTH else _of_many(value, depth + 1)
    return redacted(str(value))


def _of_many(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        items = islice(value.items(), _MOST_ITEMS)
        return {str(key)[:200]: _of_field(str(key), one, depth) for key, one in items}
    return [_of_value(one, depth) for one in islice(value, _MOST_ITEMS)]


def _searched(text: str) -> str:
    if _SUSPECT.search(text):
        for pattern, instead in _RULES:
            text = pattern.sub(instead, text)
        text = _without_names(text)
    return text


def _without_names(text: str) -> str:
    """Without the names of photos and the folders before them; the kind of file stays."""
    kept, at = [], 0
    for found in _FILE.finditer(text):
        begin = _name_begin(text, at, found)
        kept += [text[at:begin], "[file]", found.group()]
        at = found.end()
    return "".join([*kept, text[at:]]) if kept else text


def _name_begin(text: str, least: int, found: re.Match[str]) -> int:
    """Where a name begins that ends so. In quotes it may have spaces in it."""
    least = max(least, found.start() - _LONGEST_NAME)
    after = text[found.end() : found.end() + 1]
    if after in ("'", '"') and (quote := text.rfind(after, least, found.start())) >= 0:
        return quote + 1
    begin = found.start()
    while begin > least and text[begin - 1] not in _ENDS_NAME:
        begin -= 1
    return begin
