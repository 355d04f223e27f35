"""Where an import's files come from: folders, uploaded archives, prefixes of stores.

`open_origin` is the way in; `ports` says what an origin does. No catalog, no Kafka.
"""

from gateway.origins.files import Problem, Seen, UnreadableError
from gateway.origins.opening import open_origin
from gateway.origins.patterns import PatternError, Patterns
from gateway.origins.ports import WALKED, ArchiveLimits, Origin, OriginMeans

__all__ = [
    "WALKED",
    "ArchiveLimits",
    "Origin",
    "OriginMeans",
    "PatternError",
    "Patterns",
    "Problem",
    "Seen",
    "UnreadableError",
    "open_origin",
]
