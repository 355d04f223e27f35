"""Pipeline: where does work wait, and why?"""

from typing import Final

from deploy.grafana.panels import (
    GREEN,
    RED,
    YELLOW,
    Dashboard,
    Look,
    Query,
    Variable,
    line,
    lines,
    row,
    states,
)

_OF: Final = 'stage=~"$stage", lane=~"$lane"'
_BY: Final = 'service=~"$stage", lane=~"$lane"'
_SERIES: Final = "{{stage}} {{lane}}"
_WAITS: Final = "{{service}} {{lane}}"

PIPELINE: Final = Dashboard(
    name="pipeline",
    title="Pipeline",
    about="Where does work wait, and why? Queues by stage and lane, times, engines, failures.",
    variables=(
        Variable("stage", "Stage", "label_values(darkroom_messages_processed_total, stage)"),
        Variable("lane", "Lane", "label_values(darkroom_lane_load, lane)"),
    ),
    rows=(
        row(
            "Queues",
            line(
                lines(
                    "Records that wait",
                    "Records of a lane that a stage has not done yet, those it works on included.",
                    Query(f"service_lane:darkroom_stage_waiting:max{{{_BY}}}", _WAITS),
                    look=Look(steps=((None, GREEN), (500, YELLOW), (1000, RED))),
                ),
                lines(
                    "Age of the oldest record",
                    "For how long the first record of a lane has waited; the objective is 1 minute"
                    " for high, 1 hour for default, 6 hours for batch, 1 day for learning.",
                    Query(
                        f"service_lane:darkroom_stage_oldest_waiting_seconds:max{{{_BY}}}", _WAITS
                    ),
                    look=Look(unit="s"),
                ),
            ),
            line(
                lines(
                    "Records done",
                    "Records a second that stages have worked on, by their committed offsets.",
                    Query(
                        f"max by (service, lane) (darkroom_stage_done_per_second{{{_BY}}})", _WAITS
                    ),
                    look=Look(unit="ops"),
                ),
                lines(
                    "Records handled",
                    "Records a second whose work is over, as workers count them themselves.",
                    Query(f"stage_lane:darkroom_messages_processed:rate5m{{{_OF}}}", _SERIES),
                    look=Look(unit="ops"),
                ),
                states(
                    "Lanes",
                    "Whether new photos of a lane are taken in.",
                    Query('max by (lane) (darkroom_lane_state{lane=~"$lane"})', "{{lane}}"),
                    Look(
                        words={
                            0: ("open", GREEN),
                            1: ("warned", YELLOW),
                            2: ("closed", RED),
                        },
                        steps=((None, GREEN), (1, YELLOW), (2, RED)),
                    ),
                ),
            ),
        ),
        row(
            "Times",
            line(
                lines(
                    "Handling, p95",
                    "What handling a record took; in a micro-batch, its share.",
                    Query(
                        f"stage_lane:darkroom_processing_duration_seconds:p95_5m{{{_OF}}}", _SERIES
                    ),
                    look=Look(unit="s"),
                ),
                lines(
                    "From record to acknowledgement, p95",
                    "From a record's own time stamp, waits and retries among it, to its"
                    " acknowledgement.",
                    Query(
                        f"stage_lane:darkroom_end_to_end_duration_seconds:p95_5m{{{_OF}}}", _SERIES
                    ),
                    look=Look(unit="s"),
                ),
            ),
        ),
        row(
            "Engines",
            line(
                lines(
                    "Utilisation",
                    "Share of the time that engines which are ready spend in handlers. Near 100 %"
                    " they are the bottleneck; low, while records wait, they lack something else.",
                    Query('stage:darkroom_engine_busy:ratio_rate5m{stage=~"$stage"}', "{{stage}}"),
                    look=Look(unit="percentunit", most=1),
                ),
                lines(
                    "Records in hand",
                    "Records that engines hold now.",
                    Query(f"sum by (stage, lane) (darkroom_in_flight{{{_OF}}})", _SERIES),
                    look=Look(),
                ),
                lines(
                    "Micro-batches",
                    "Records that an engine is given at once, in the mean.",
                    Query(
                        'sum by (stage) (rate(darkroom_batch_size_sum{stage=~"$stage"}'
                        "[$__rate_interval])) / (sum by (stage)"
                        ' (rate(darkroom_batch_size_count{stage=~"$stage"}'
                        "[$__rate_interval])) > 0)",
                        "{{stage}}",
                    ),
                    look=Look(decimals=1),
                ),
            ),
        ),
        row(
            "Failures",
            line(
                lines(
                    "Share that is tried again",
                    "Of the records of the last ten minutes, those that went into a retry topic.",
                    Query(
                        'stage:darkroom_messages_retried:ratio_rate10m{stage=~"$stage"}',
                        "{{stage}}",
                    ),
                    look=Look(unit="percentunit", steps=((None, GREEN), (0.2, RED))),
                ),
                lines(
                    "Retries by reason",
                    "Attempts a second that are repeated; a code, or the dependency.",
                    Query(
                        f"sum by (stage, error) (rate(darkroom_retries_total{{{_OF}}}"
                        "[$__rate_interval])) > 0",
                        "{{stage}} {{error}}",
                    ),
                    look=Look(unit="ops"),
                ),
                lines(
                    "Dead letters",
                    "Records given up within ten minutes.",
                    Query('stage:darkroom_messages_dead:increase10m{stage=~"$stage"}', "{{stage}}"),
                    look=Look(decimals=0),
                ),
            ),
            line(
                lines(
                    "Dead letters that wait for somebody",
                    "./darkroom dlq list shows them.",
                    Query(
                        'max by (service) (darkroom_dead_letters_waiting{service=~"$stage"})',
                        "{{service}}",
                    ),
                    look=Look(decimals=0),
                ),
                lines(
                    "What is said again",
                    "Things that were missed and that the reconciler repaired, of the last hour.",
                    Query("sum by (what) (increase(darkroom_reconciled_total[1h]))", "{{what}}"),
                    look=Look(decimals=0),
                ),
                states(
                    "Breakers",
                    "Dependencies that stages wait for.",
                    Query(
                        'max by (stage, dependency) (darkroom_breaker_open{stage=~"$stage"})',
                        "{{stage}}: {{dependency}}",
                    ),
                    Look(
                        words={0: ("closed", GREEN), 1: ("open", RED)},
                        steps=((None, GREEN), (1, RED)),
                    ),
                ),
            ),
        ),
        row(
            "What holds work back",
            line(
                states(
                    "Pauses",
                    "Lanes that somebody has paused: ./darkroom ops controls says who, and why.",
                    Query(f"max by (stage, lane) (darkroom_paused{{{_OF}}})", _SERIES),
                    Look(
                        words={0: ("works", GREEN), 1: ("paused", YELLOW)},
                        steps=((None, GREEN), (1, YELLOW)),
                    ),
                ),
                lines(
                    "What is let in",
                    "Share of the configured limits that is let in of a lane: 0.5, 1 or 2.",
                    Query('max by (lane) (darkroom_admission_share{lane=~"$lane"})', "{{lane}}"),
                    look=Look(most=2),
                ),
                lines(
                    "Busiest worker",
                    "Highest share of its CPU or memory that a worker uses.",
                    Query("max by (resource) (darkroom_workers_usage)", "{{resource}}"),
                    look=Look(unit="percentunit", most=1),
                ),
            ),
        ),
    ),
)
