"""Review: how much is asked of people, and what do they say?"""

from typing import Final

from deploy.grafana.panels import (
    GREEN,
    RED,
    YELLOW,
    Dashboard,
    Look,
    Query,
    bars,
    line,
    lines,
    row,
    stat,
)

_ANSWERED: Final = 'darkroom_review_answers{answer!="skip"}'

REVIEW: Final = Dashboard(
    name="review",
    title="Review",
    about="How much is asked of people, and what do they say?",
    since="now-7d",
    rows=(
        row(
            "Now",
            line(
                stat(
                    "To review",
                    "Photos that somebody has to look at.",
                    Query('max(darkroom_reviews_waiting{why="review"})'),
                    Look(decimals=0),
                ),
                stat(
                    "Longest wait",
                    "For how long the first of them has waited.",
                    Query("max(darkroom_reviews_oldest_seconds)"),
                    Look(
                        unit="s",
                        steps=((None, GREEN), (2 * 86_400, YELLOW), (7 * 86_400, RED)),
                    ),
                ),
                stat(
                    "Labelled without asking",
                    "Share of all photos with an outcome.",
                    Query(
                        'max(darkroom_photos{outcome="auto_labeled"})'
                        ' / (sum(max by (outcome) (darkroom_photos{outcome!="rejected"})) > 0)'
                    ),
                    Look(unit="percentunit", decimals=1, most=1),
                ),
                stat(
                    "Confirmed",
                    "Share of the answers with a label that confirm what was suggested.",
                    Query(
                        'max(darkroom_review_answers{answer="confirm"}) / (sum(max by (answer)'
                        ' (darkroom_review_answers{answer=~"confirm|correct|none"})) > 0)'
                    ),
                    Look(unit="percentunit", decimals=1, most=1),
                ),
                stat(
                    "Answers a day",
                    "Of the last 24 hours, skipped photos left out.",
                    Query(f"clamp_min(sum(max by (answer) (delta({_ANSWERED}[1d]))), 0)"),
                    Look(decimals=0),
                ),
                height=4,
            ),
        ),
        row(
            "Over time",
            line(
                lines(
                    "Photos that wait for a person",
                    "review: somebody has to say; suggested: labelled, but unsure; audit: drawn by"
                    " lot from what was labelled without asking.",
                    Query("max by (why) (darkroom_reviews_waiting)", "{{why}}"),
                    look=Look(decimals=0),
                ),
                lines(
                    "Answers",
                    "What people said within an hour.",
                    Query(
                        "clamp_min(max by (answer) (delta(darkroom_review_answers[1h])), 0)",
                        "{{answer}}",
                    ),
                    look=Look(decimals=0, stacked=True),
                ),
            ),
            line(
                lines(
                    "Share of outcomes",
                    "Of the photos of the last five minutes: how many are labelled without asking,"
                    " suggested, or go to a person.",
                    Query(
                        'outcome:darkroom_photos_ended:rate5m{outcome!="rejected"}'
                        " / on () group_left ()"
                        ' (sum(outcome:darkroom_photos_ended:rate5m{outcome!="rejected"}) > 0)',
                        "{{outcome}}",
                    ),
                    look=Look(unit="percentunit", most=1, stacked=True),
                ),
                lines(
                    "Longest wait",
                    "For how long the first photo that a person has to look at has waited.",
                    Query("max(darkroom_reviews_oldest_seconds)", "oldest"),
                    look=Look(unit="s"),
                ),
            ),
        ),
        row(
            "In all",
            line(
                bars(
                    "Photos by outcome",
                    "By their newest outcome.",
                    Query("max by (outcome) (darkroom_photos)", "{{outcome}}"),
                ),
                bars(
                    "Answers",
                    "What people said and have not taken back.",
                    Query("max by (answer) (darkroom_review_answers)", "{{answer}}"),
                ),
                bars(
                    "Trainings by how they stand",
                    "What came of what people taught.",
                    Query("max by (state) (darkroom_trainings) > 0", "{{state}}"),
                ),
            ),
        ),
    ),
)
