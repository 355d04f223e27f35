"""Gateway: are people served, and do the doors do their duties?"""

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
    states,
)

_DOORS: Final = 'process=~"gateway-.*"'

GATEWAY: Final = Dashboard(
    name="gateway",
    title="Gateway",
    about="Are people served, and do the doors do their duties?",
    rows=(
        row(
            "Now",
            line(
                stat(
                    "Requests",
                    "Requests a second.",
                    Query("darkroom:api_requests:rate5m"),
                    Look(unit="reqps", decimals=1),
                ),
                stat(
                    "Errors",
                    "Share of requests that were answered with 500 or more.",
                    Query("darkroom:api_errors:ratio_rate5m"),
                    Look(
                        unit="percentunit",
                        decimals=1,
                        steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
                    ),
                ),
                stat(
                    "WebSockets",
                    "That are open.",
                    Query("sum(darkroom_api_websockets_open)"),
                    Look(decimals=0),
                ),
                stat(
                    "Redis",
                    "Whether news come by Redis at every api door.",
                    Query("min(darkroom_api_redis_connected)"),
                    Look(
                        words={0: ("away", RED), 1: ("connected", GREEN)},
                        steps=((None, RED), (1, GREEN)),
                    ),
                ),
                stat(
                    "Catalog",
                    "Size of its database.",
                    Query("max(darkroom_catalog_bytes)"),
                    Look(unit="bytes"),
                ),
                stat(
                    "Duties without a leader",
                    "What no control door does now.",
                    Query("count(sum by (duty) (darkroom_leading) < 1) or vector(0)"),
                    Look(decimals=0, steps=((None, GREEN), (1, RED))),
                ),
                height=4,
            ),
        ),
        row(
            "Requests",
            line(
                lines(
                    "By status",
                    "Requests a second.",
                    Query(
                        "sum by (status) (rate(darkroom_api_requests_total[$__rate_interval]))",
                        "{{status}}",
                    ),
                    look=Look(unit="reqps", stacked=True),
                ),
                lines(
                    "By route",
                    "Requests a second of the ten busiest routes.",
                    Query(
                        "topk(10, sum by (method, route)"
                        " (rate(darkroom_api_requests_total[$__rate_interval])))",
                        "{{method}} {{route}}",
                    ),
                    look=Look(unit="reqps"),
                ),
                lines(
                    "Time of answers, p95",
                    "Of the ten slowest routes; waits that clients ask for are part of it.",
                    Query(
                        "topk(10, route_method:darkroom_api_request_duration_seconds:p95_5m)",
                        "{{method}} {{route}}",
                    ),
                    look=Look(unit="s"),
                ),
            ),
            line(
                lines(
                    "Uploads",
                    "By what became of them: new, joined to an analysis, analysed already.",
                    Query(
                        "sum by (status)"
                        " (rate(darkroom_api_photos_submitted_total[$__rate_interval]))",
                        "{{status}}",
                    ),
                    look=Look(unit="ops"),
                ),
                lines(
                    "Rate limits",
                    "Requests a second of the classes that are limited: admitted, or refused.",
                    Query(
                        "sum by (class, outcome)"
                        " (rate(darkroom_api_admissions_total[$__rate_interval]))",
                        "{{class}} {{outcome}}",
                    ),
                    look=Look(unit="reqps"),
                ),
                lines(
                    "Limits kept without Redis",
                    "Doors and stages that keep to their share of the limits by themselves.",
                    Query("sum(darkroom_api_rate_local)", "api doors"),
                    Query("sum by (stage) (darkroom_rate_local)", "{{stage}}"),
                    look=Look(decimals=0),
                ),
            ),
        ),
        row(
            "Duties",
            line(
                states(
                    "Who leads",
                    "Whether somebody does each duty of the control door.",
                    Query("sum by (duty) (darkroom_leading)", "{{duty}}"),
                    Look(
                        words={0: ("nobody", RED), 1: ("done", GREEN), 2: ("two", ORANGE)},
                        steps=((None, RED), (1, GREEN), (2, ORANGE)),
                    ),
                ),
                lines(
                    "Outbox",
                    "Events a second that Kafka acknowledged, and events that wait.",
                    Query(
                        "sum(rate(darkroom_outbox_published_total[$__rate_interval]))",
                        "published a second",
                    ),
                    Query("max(darkroom_outbox_backlog)", "waiting"),
                    look=Look(),
                ),
                lines(
                    "Imports",
                    "Files recorded a second, and photos that scanning imports wait for.",
                    Query(
                        "sum by (state) (rate(darkroom_import_files_total[$__rate_interval]))",
                        "{{state}} a second",
                    ),
                    Query("max(darkroom_import_in_flight)", "in flight"),
                    look=Look(),
                ),
                height=9,
            ),
            line(
                lines(
                    "Scheduled jobs that failed",
                    "Within six hours.",
                    Query(
                        'sum by (job) (increase(darkroom_job_runs_total{state="failed"}[6h]))',
                        "{{job}}",
                    ),
                    look=Look(decimals=0),
                ),
                lines(
                    "Notices",
                    "Tries to tell people within an hour, by the kind of channel and how they"
                    " ended.",
                    Query(
                        "sum by (channel, outcome) (increase(darkroom_notifications_total[1h]))"
                        " > 0",
                        "{{channel}} {{outcome}}",
                    ),
                    look=Look(decimals=0),
                ),
                lines(
                    "News lost",
                    "News a second that Redis did not take; readers find them in the catalog.",
                    Query("sum(rate(darkroom_news_lost_total[$__rate_interval]))", "lost"),
                    look=Look(unit="ops"),
                ),
            ),
        ),
        row(
            "Processes",
            line(
                lines(
                    "CPU",
                    "Cores' worth that each process uses.",
                    Query(
                        "sum by (process) (rate(process_cpu_seconds_total"
                        f"{{{_DOORS}}}[$__rate_interval]))",
                        "{{process}}",
                    ),
                    look=Look(),
                ),
                lines(
                    "Memory",
                    "Resident memory.",
                    Query(
                        f"sum by (process) (process_resident_memory_bytes{{{_DOORS}}})",
                        "{{process}}",
                    ),
                    look=Look(unit="bytes"),
                ),
                lines(
                    "Open files",
                    "Share of what the system allows a process.",
                    Query(
                        f"max by (process) (process_open_fds{{{_DOORS}}}"
                        f" / process_max_fds{{{_DOORS}}})",
                        "{{process}}",
                    ),
                    look=Look(unit="percentunit"),
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
        ),
    ),
)
