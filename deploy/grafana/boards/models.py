"""Models: who has which, do engines hold out, and how do trainings end?"""

from typing import Final

from deploy.grafana.panels import (
    GREEN,
    RED,
    YELLOW,
    Dashboard,
    Look,
    Query,
    Variable,
    bars,
    line,
    lines,
    row,
    stat,
    states,
)

_STAGE: Final = 'stage=~"$stage"'

MODELS: Final = Dashboard(
    name="models",
    title="Models",
    about="Who has which model, do engines hold out, and how do trainings end?",
    since="now-6h",
    variables=(Variable("stage", "Stage", "label_values(darkroom_engine_ready, stage)"),),
    rows=(
        row(
            "Now",
            line(
                stat(
                    "Engines that work",
                    "Engines that take work.",
                    Query(f"sum(darkroom_engine_ready{{{_STAGE}}})"),
                ),
                stat(
                    "Engines that don't",
                    "They load, or can't.",
                    Query(f"sum(1 - darkroom_engine_ready{{{_STAGE}}})"),
                    Look(decimals=0, steps=((None, GREEN), (1, YELLOW))),
                ),
                stat(
                    "Versions that can't be loaded",
                    "Engine processes that go on with the version before.",
                    Query(
                        'sum(max by (model) (darkroom_model_replicas{state="failed"})) or vector(0)'
                    ),
                    Look(decimals=0, steps=((None, GREEN), (1, RED))),
                ),
                stat(
                    "Own models that can't be loaded",
                    "Models of users' own labels, by which no photo is labelled meanwhile.",
                    Query("max(darkroom_heads_failed)"),
                    Look(decimals=0, steps=((None, GREEN), (1, RED))),
                ),
                height=4,
            ),
        ),
        row(
            "Engines",
            line(
                states(
                    "Engines",
                    "Whether each takes work.",
                    Query(
                        f"min by (process, stage, engine) (darkroom_engine_ready{{{_STAGE}}})",
                        "{{stage}} {{engine}}",
                    ),
                    Look(
                        words={0: ("not ready", YELLOW), 1: ("ready", GREEN)},
                        steps=((None, YELLOW), (1, GREEN)),
                    ),
                ),
                lines(
                    "Replaced engines",
                    "Within half an hour, by the reason.",
                    Query(
                        f"sum by (stage, why) (increase(darkroom_engine_restarts_total{{{_STAGE}}}"
                        "[30m])) > 0",
                        "{{stage}} {{why}}",
                    ),
                    look=Look(decimals=0),
                ),
                lines(
                    "Memory",
                    "Resident memory of engine processes.",
                    Query(
                        f"sum by (stage, engine) (darkroom_engine_memory_bytes{{{_STAGE}}}) > 0",
                        "{{stage}} {{engine}}",
                    ),
                    look=Look(unit="bytes"),
                ),
            ),
            line(
                lines(
                    "Busy engines, by lane",
                    "Engines' worth of time that lanes take: what their weights divide.",
                    Query(
                        f"sum by (stage, lane) (rate(darkroom_engine_seconds_total{{{_STAGE}}}"
                        "[$__rate_interval]))",
                        "{{stage}} {{lane}}",
                    ),
                    look=Look(stacked=True),
                ),
                lines(
                    "Handling a record",
                    "Half of all records take no longer (p50), 95 of 100 take no longer (p95).",
                    Query(
                        "histogram_quantile(0.5, sum by (stage, le) (rate("
                        f"darkroom_processing_duration_seconds_bucket{{{_STAGE}}}"
                        "[$__rate_interval])))",
                        "{{stage}} p50",
                    ),
                    Query(
                        "histogram_quantile(0.95, sum by (stage, le) (rate("
                        f"darkroom_processing_duration_seconds_bucket{{{_STAGE}}}"
                        "[$__rate_interval])))",
                        "{{stage}} p95",
                    ),
                    look=Look(unit="s"),
                ),
                lines(
                    "Fill of micro-batches",
                    "Mean share of what an engine would have taken at once.",
                    Query(
                        f"sum by (stage) (rate(darkroom_batch_fill_sum{{{_STAGE}}}"
                        "[$__rate_interval])) / (sum by (stage)"
                        f" (rate(darkroom_batch_fill_count{{{_STAGE}}}[$__rate_interval])) > 0)",
                        "{{stage}}",
                    ),
                    look=Look(unit="percentunit", most=1),
                ),
            ),
        ),
        row(
            "Versions",
            line(
                lines(
                    "Engine processes by what they say",
                    "Ready, loading, or failed to load what was activated.",
                    Query("max by (model, state) (darkroom_model_replicas)", "{{model}} {{state}}"),
                    look=Look(decimals=0),
                ),
                bars(
                    "Trainings by how they stand",
                    "All that there ever were.",
                    Query("max by (state) (darkroom_trainings) > 0", "{{state}}"),
                ),
            ),
        ),
        row(
            "Trainings",
            line(
                lines(
                    "Trainings that ended",
                    "Within a day, by their end and whether the head is used.",
                    Query(
                        "sum by (end, publish) (increase(darkroom_training_ended_total[1d]))",
                        "{{end}}, used: {{publish}}",
                    ),
                    look=Look(decimals=0),
                ),
                lines(
                    "How long they take, p95",
                    "To their end.",
                    Query(
                        "histogram_quantile(0.95, sum by (le)"
                        " (rate(darkroom_training_seconds_bucket[1d])))",
                        "p95",
                    ),
                    look=Look(unit="s"),
                ),
                lines(
                    "Folds and locks",
                    "Within a day: folds that were computed or kept, locks taken, held by another"
                    " trainer, lost.",
                    Query(
                        "sum by (how) (increase(darkroom_training_folds_total[1d]))",
                        "fold {{how}}",
                    ),
                    Query(
                        "sum by (what) (increase(darkroom_training_locks_total[1d]))",
                        "lock {{what}}",
                    ),
                    look=Look(decimals=0),
                ),
            ),
        ),
    ),
)
