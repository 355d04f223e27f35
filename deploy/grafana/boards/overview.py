"""Overview: is all well, and how much goes through?"""

from typing import Final

from deploy.grafana.panels import (
    GREEN,
    ORANGE,
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
    table,
)

LABELS: Final = (
    *("severity", "process", "service", "stage", "lane", "duty", "what", "dependency"),
    *("consumergroup", "topic", "partition", "engine", "model", "job", "channel", "place"),
    *("namespace", "persistentvolumeclaim"),
)
"""Of alerts, which say about what each of them is."""

OVERVIEW: Final = Dashboard(
    name="overview",
    title="Overview",
    about="Is all well, and how much goes through?",
    rows=(
        row(
            "Now",
            line(
                stat(
                    "Photos",
                    "Photos a second that came to an end, of the last five minutes.",
                    Query("sum(outcome:darkroom_photos_ended:rate5m)"),
                    Look(unit="ops", decimals=1),
                ),
                stat(
                    "Success",
                    "Share of the photos of the last half hour that could be analysed.",
                    Query("darkroom:photos_success:ratio_rate30m"),
                    Look(
                        unit="percentunit",
                        decimals=1,
                        most=1,
                        steps=((None, RED), (0.9, YELLOW), (0.98, GREEN)),
                    ),
                ),
                stat(
                    "Single photo, p95",
                    "From submission to outcome: 95 of 100 photos of lane high take no longer.",
                    Query('lane:darkroom_photo_duration_seconds:p95_10m{lane="high"}'),
                    Look(unit="s", decimals=1, steps=((None, GREEN), (5, YELLOW), (10, RED))),
                ),
                stat(
                    "Waiting",
                    "Photos of all lanes that wait.",
                    Query("sum(max by (lane) (darkroom_lane_load))"),
                    Look(decimals=0, steps=((None, GREEN), (500, YELLOW), (1000, RED))),
                ),
                stat(
                    "To review",
                    "Photos that a person has to look at.",
                    Query('max(darkroom_reviews_waiting{why="review"})'),
                    Look(decimals=0),
                ),
                stat(
                    "Alerts",
                    "Alerts that fire now, but for mere hints.",
                    Query(
                        'count(ALERTS{alertname=~"Darkroom.*", alertstate="firing",'
                        ' severity!="info"}) or vector(0)'
                    ),
                    Look(decimals=0, steps=((None, GREEN), (1, RED))),
                ),
                height=4,
            ),
        ),
        row(
            "Flow",
            line(
                lines(
                    "Photos by outcome",
                    "First outcomes and rejections a second.",
                    Query("outcome:darkroom_photos_ended:rate5m", "{{outcome}}"),
                    look=Look(unit="ops", stacked=True),
                ),
                lines(
                    "Photos that wait, by lane",
                    "Outbox, intake and the most loaded stage together, as admission counts them.",
                    Query("max by (lane) (darkroom_lane_load)", "{{lane}}"),
                    look=Look(),
                ),
            ),
            line(
                lines(
                    "Time to the outcome",
                    "From a photo's submission to its first outcome: half of the photos take no"
                    " longer than p50, 95 of 100 no longer than p95.",
                    Query("lane:darkroom_photo_duration_seconds:p50_10m", "{{lane}} p50"),
                    Query("lane:darkroom_photo_duration_seconds:p95_10m", "{{lane}} p95"),
                    look=Look(unit="s"),
                ),
                lines(
                    "Utilisation of the stages",
                    "Share of the time that engines which are ready spend in handlers.",
                    Query("stage:darkroom_engine_busy:ratio_rate5m", "{{stage}}"),
                    look=Look(unit="percentunit", most=1),
                ),
            ),
        ),
        row(
            "In all",
            line(
                bars(
                    "Photos by outcome",
                    "Photos in the catalog by their newest outcome.",
                    Query("max by (outcome) (darkroom_photos)", "{{outcome}}"),
                ),
                bars(
                    "Imports by state",
                    "All imports that there ever were.",
                    Query("max by (state) (darkroom_imports) > 0", "{{state}}"),
                ),
                bars(
                    "Workers",
                    "Workers that work, by service.",
                    Query(
                        'max by (service) (darkroom_gateway_workers{state="working"})',
                        "{{service}}",
                    ),
                ),
                bars(
                    "Free disk",
                    "Of the file systems of objects and spool.",
                    Query("place:darkroom_disk_free:ratio", "{{place}}"),
                    Look(
                        unit="percentunit",
                        most=1,
                        steps=((None, RED), (0.03, ORANGE), (0.1, GREEN)),
                    ),
                ),
            ),
            line(
                table(
                    "Alerts that fire",
                    "What to do stands in the runbook: docs/runbook/.",
                    Query('ALERTS{alertname=~"Darkroom.*", alertstate="firing"}'),
                    {"alertname": "alert", **{name: name for name in LABELS}},
                ),
                lines(
                    "Processes that answer",
                    "1 while Prometheus reaches a process, else 0.",
                    Query('min by (process) (up{process!=""})', "{{process}}"),
                    look=Look(most=1, decimals=0),
                ),
            ),
        ),
    ),
)
