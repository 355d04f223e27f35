"""From what an import's row says to the origin of its files."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.origins.archive import ArchiveOrigin
from gateway.origins.folder import FolderOrigin
from gateway.origins.patterns import rule_of
from gateway.origins.ports import ARCHIVE, FOLDER, STORE, WALKED, Origin, OriginMeans
from gateway.origins.store import StoreOrigin


def open_origin(
    kind: str, roots: Sequence[str], location: Mapping[str, Any], means: OriginMeans
) -> Origin:
    """The origin of an import's files; touches nothing yet.

    `roots` are a folder import's absolute paths. `location` may hold `include`, `exclude` (lists
    of patterns) and `hidden`; further, of an archive `uri` in the object store and `name` to show,
    of a store `uri` of a prefix inside the allowed stores. Raises ValueError for a kind that is
    not in `WALKED`, PatternError for patterns that were never checked.
    """
    rule = rule_of(location)
    if kind == FOLDER:
        return FolderOrigin(roots, rule)
    if kind == ARCHIVE:
        return ArchiveOrigin(location["uri"], location["name"], rule, means)
    if kind == STORE:
        return StoreOrigin(location["uri"], rule, means.objects)
    raise ValueError(f"an import of kind {kind} is not walked; {', '.join(WALKED)} are")
