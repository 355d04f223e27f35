"""What doors of the gateway have in common to count; names leave the process and are final."""

from typing import Final

from prometheus_client import Counter

NEWS_LOST: Final = Counter(
    "darkroom_news_lost_total",
    "News of recorded results that Redis did not take; readers find them in the catalog.",
)
