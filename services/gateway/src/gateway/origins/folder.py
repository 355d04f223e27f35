"""Files and folders of this machine as an origin."""

from collections.abc import Iterator, Sequence

from gateway.origins.files import Seen, read_file, walk
from gateway.origins.patterns import Rule


class FolderOrigin:
    """Those in `roots`, absolute paths without symbolic links, as far as a rule takes them."""

    def __init__(self, roots: Sequence[str], rule: Rule) -> None:
        self._roots, self._rule = tuple(roots), rule

    def walk(self) -> Iterator[Seen]:
        """See `files.walk`."""
        return walk(self._roots, self._rule)

    def count(self) -> Iterator[Seen]:
        """The same walk once more."""
        return walk(self._roots, self._rule)

    def read(self, path: str, limit: int) -> bytes:
        """See `files.read_file`."""
        return read_file(path, limit)

    def close(self) -> None:
        """Nothing stays open."""
