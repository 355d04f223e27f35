"""What a person should know, as events of `ops.notified.v1`; who is told, and how, is not here."""

from datetime import UTC, datetime
from typing import Final, Literal
from uuid import NAMESPACE_URL, uuid5

from streamkit.messages import Emit

TOPIC: Final = "ops.notified.v1"

DEPENDENCY_AWAY: Final = "dependency_away"
"""A breaker opened: the lanes wait, nothing is lost. Subject: the dependency."""
DEAD_LETTER_SURGE: Final = "dead_letter_surge"
"""Most records fail for good: the service waits for a person. Subject: the service."""
FIRST_DEAD_LETTER: Final = "first_dead_letter"
"""A record was given up, the first of its kind. Subject: the failure's code."""

Severity = Literal["info", "warning", "critical"]

_NOTICES: Final = uuid5(NAMESPACE_URL, "streamkit/notices")
_HOUR_S: Final = 3600
_TITLE_CHARS: Final = 200
_DETAIL_CHARS: Final = 4000


def notice(
    kind: str,
    service: str,
    subject: str,
    title: str,
    detail: str,
    now_s: float,
    *,
    severity: Severity = "warning",
) -> Emit:
    """The event that says it. `title` is a line, `detail` what to do; `now_s`: since 1970.

    Its id is the same for all that say this of the subject within an hour of the clock, so that
    readers tell a person once however many workers found out.
    """
    # What a handler says may hold anything, such as the half characters of odd file names.
    subject, title, detail = (
        text.encode("utf-8", "replace").decode() for text in (subject, title, detail)
    )
    hour = int(now_s // _HOUR_S)
    event_id = str(uuid5(_NOTICES, f"{kind}/{service}/{subject}/{hour}"))
    value = {
        "notice_id": event_id,
        "kind": kind,
        "service": service,
        "subject": subject,
        "severity": severity,
        "title": title[:_TITLE_CHARS],
        "detail": detail[:_DETAIL_CHARS],
        "occurred_at": datetime.fromtimestamp(int(now_s * 1000) / 1000, UTC),
    }
    return Emit(TOPIC, subject, value, event_id)
