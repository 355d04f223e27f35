"""Schedules as cron text, always in UTC: no hour is skipped or comes twice, whatever a clock on
the wall does in spring and autumn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Final

from cronsim import CronSim, CronSimError

_LONGEST: Final = 100
"""Characters of a schedule."""

COUNTED: Final = 10_000
"""Times that are counted at most; a job of every minute was away for a week then."""


class ScheduleError(ValueError):
    """A text that is no schedule; the message says why, for a person."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields: minute, hour, day of the month, month, day of the week. In UTC.

    Where both day fields are restricted either may match, as in Debian's cron. Raises
    ScheduleError for a text that is not such, or never comes.
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > _LONGEST or len(self.text.split()) != 5:
            raise ScheduleError(
                f"{self.text[:_LONGEST]!r} is no schedule: write minute, hour, day of the month,"
                ' month and day of the week, such as "*/15 * * * *" (in UTC).'
            )
        try:
            self.after(datetime.now(UTC))
        except CronSimError as error:
            raise ScheduleError(f"{self.text!r} is no schedule: {error}.") from error
        except StopIteration as error:
            raise ScheduleError(f"{self.text!r} never comes.") from error

    def after(self, moment: datetime) -> datetime:
        """The first time after `moment`, which is aware; in UTC."""
        return next(self._times(moment))

    def count(self, first: datetime, until: datetime) -> int:
        """How many times lie from `first`, which is one, up to `until`; 0 if that is earlier.

        At most `COUNTED`: more are as good as that to whoever reads it.
        """
        if first > until:
            return 0
        further = takewhile(lambda one: one <= until, self._times(first))
        return 1 + sum(1 for _ in islice(further, COUNTED - 1))

    def words(self) -> str:
        """As a person says it, such as "At 03:10 every day"."""
        return CronSim(self.text, datetime.now(UTC)).explain()

    def _times(self, moment: datetime) -> Iterator[datetime]:
        return CronSim(self.text, moment.astimezone(UTC))
