"""A line of an import's report, for tests to change."""

from datetime import UTC, datetime

from gateway.catalog.reports import Line

LINE = Line(
    index=3,
    path="/photos/cat.jpg",
    end="auto_labeled",
    outcome="auto_labeled",
    label="tabby",
    confidence=0.91,
    calibrated=False,
    category="cat",
    partial=False,
    repaired=False,
    code=None,
    reason=None,
    duplicate_of=None,
    duplicate_of_path=None,
    photo_id="affa6966-7080-5191-9861-4f6c4adc6cbb",
    analysis_id=None,
    recorded_at=datetime(2026, 11, 29, 12, 0, 0, 500_000, tzinfo=UTC),
    ended_at=None,
    thumbnail="file:///secret/place",
)
