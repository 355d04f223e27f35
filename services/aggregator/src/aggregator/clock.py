"""Moments as whole milliseconds since 1970, the way that tables keep them."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970; exact for what Avro's timestamp-millis can say."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """The moment, with UTC as its zone."""
    return _EPOCH + ms * _MILLISECOND
