"""Values and headers that are decoded when somebody looks at them."""

from collections.abc import Iterator, Mapping
from typing import Any

from streamkit.codec import Codec
from streamkit.headers import readable


class LazyValue(Mapping[str, Any]):
    """A record's value. Looking into it raises what Codec.decode does."""

    __slots__ = ("_codec", "_data", "_decoded", "topic")

    def __init__(self, codec: Codec, topic: str, data: bytes | None) -> None:
        self._codec, self.topic, self._data = codec, topic, data
        self._decoded: dict[str, Any] | None = None

    def decoded(self) -> dict[str, Any]:
        """The value as a dict."""
        if self._decoded is None:
            self._decoded = self._codec.decode(self.topic, self._data)
        return self._decoded

    def __getitem__(self, name: str) -> Any:
        return (self._decoded or self.decoded())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decoded())

    def __len__(self) -> int:
        return len(self.decoded())

    def items(self) -> Any:
        """As a dict gives them, which is faster than a Mapping."""
        return self.decoded().items()


class LazyHeaders(Mapping[str, str]):
    """A record's headers as text."""

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._read: Mapping[str, str] | None = None

    def read(self) -> Mapping[str, str]:
        """All of them."""
        if self._read is None:
            self._read = readable((name, value or b"") for name, value in self._raw or ())
        return self._read

    def __getitem__(self, name: str) -> str:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())
