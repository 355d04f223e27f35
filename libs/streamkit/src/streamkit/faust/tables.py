"""Faust tables whose changelog records go out together with the events of the same records."""

from collections.abc import Iterator
from typing import Any

import faust


class FoldTable(faust.Table[bytes, bytes]):
    """Keys and values are bytes as they are: a key's must equal those of the source's key.

    Faust would send changelog records in the background: nothing tells when the broker has them,
    and a broker away for long stops the process. So what writes here sends them itself.
    """

    def read(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none."""
        value: bytes | None = self._memory.data.get(key)
        return value

    def write(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set a key, or remove it (None); `partition` is that of the record that does it."""
        store = self._memory
        if value is None:
            store.data.pop(key, None)
            store._key_partition.pop(key, None)
        else:
            store.data[key] = value
            # What tells Faust which keys to let go of when the partition goes.
            store._key_partition[key] = partition

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys of now, each with its value of when it is its turn; without those gone by then."""
        data = self._memory.data
        for key in list(data):
            value = data.get(key)
            if value is not None:
                yield key, value

    @property
    def _memory(self) -> Any:
        """Faust's store in memory."""
        return self.data
