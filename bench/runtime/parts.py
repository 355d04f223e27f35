"""(b) What a stage's work on a record is made of: each part measured on its own."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from bench.runtime import workload
from bench.runtime.broker import BrokerView
from bench.runtime.context import START_S, Context
from bench.runtime.ground import declared
from bench.runtime.micro import SOURCE
from bench.runtime.programs import Program, start

_RECORDS: Final = 20_000
_PREFIX: Final = "parts."
_TIMEOUT_S: Final = 120.0


def by_part(context: Context) -> Mapping[str, float]:
    """Microseconds of CPU per record by part, measured in a process of its own."""
    context.say(f"(b) each part on its own: {_RECORDS} records", START_S)
    ground = context.ground
    env = {**ground.env, "DARKROOM_TOPIC_PREFIX": _PREFIX}
    out = ground.folder / "parts.json"
    with ExitStack() as undo:
        topics = declared([SOURCE, workload.PART_TOPICS["detector"]])
        undo.enter_context(ground.topics(topics, _PREFIX))
        BrokerView(env, _PREFIX).fill(_RECORDS, "batch")
        arguments = ("-m", "bench.runtime.micro", str(_RECORDS), str(out))
        program = start(Program("parts", arguments, abrupt=True), env, ground.logs)
        undo.callback(program.stop)
        program.wait(_TIMEOUT_S)
    found: Mapping[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return found
