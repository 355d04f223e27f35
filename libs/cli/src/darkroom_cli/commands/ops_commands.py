"""`darkroom ops …`: the words about workers and stages, each a function of a module beside this."""

import typer

from darkroom_cli.commands import ops_controls, ops_views

ops = typer.Typer(help="Workers and stages: what they do and have done.", no_args_is_help=True)

ops.command("workers", epilog="Example: darkroom ops workers --service ocr")(ops_views.workers)
ops.command("worker", epilog="Example: darkroom ops worker ocr@studio:4711")(ops_views.worker)
ops.command("stages", epilog="Example: darkroom ops stages")(ops_views.stages)
ops.command("history", epilog="Example: darkroom ops history photos.per_s stage.ocr.batch.waiting")(
    ops_views.history
)

ops.command(
    "pause", epilog='Example: darkroom ops pause ocr/batch --for 10m --reason "a new disk"'
)(ops_controls.pause)
ops.command("resume", epilog="Example: darkroom ops resume ocr/batch")(ops_controls.resume)
ops.command("rate", epilog="Example: darkroom ops rate detector 20/s")(ops_controls.rate)
ops.command("concurrency", epilog="Example: darkroom ops concurrency embedder/batch 2")(
    ops_controls.concurrency
)
ops.command("controls", epilog="Example: darkroom ops controls")(ops_controls.controls)
ops.command("tasks", epilog="Example: darkroom ops tasks --stage ocr --state failed --since 2h")(
    ops_controls.tasks
)
ops.command("cancel", epilog="Example: darkroom ops cancel affa6966-7080-5191-9861-4f6c4adc6cbb")(
    ops_controls.cancel
)
