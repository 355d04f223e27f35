#!/usr/bin/env python3
"""Pause a service or a lane, bound its concurrency, set its rate; or take it all back.

    python control.py intake/batch --pause 30 --reason "the disk is being replaced"
    python control.py detector --rate 100/m --reason "the GPU is shared today"
    python control.py intake/batch --clear

A record of `ops.control.v1`, keyed by its target (SERVICE or SERVICE/LANE), replaces what was set
for the target before; one without a value takes everything back. Workers obey within seconds, and
their logs say who it was and why. `--kafka` and `--registry` are those of `./darkroom status`.
"""

import argparse
import getpass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from darkroom_schemas import avro
from streamkit import Codec, Emit, Publisher, RawRecord, SchemaIds
from streamkit.control import TOPIC, control_of


def arguments() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("target", help="SERVICE or SERVICE/LANE")
    parser.add_argument("--kafka", default="127.0.0.1:9092")
    parser.add_argument("--registry", default="http://127.0.0.1:8081/apis/ccompat/v7")
    parser.add_argument("--prefix", default="", help="that of the installation's topics")
    parser.add_argument("--pause", type=float, metavar="MINUTES", help="it ends by itself")
    parser.add_argument("--concurrency", type=int, help="records that engines hold at a time")
    parser.add_argument("--rate", help="of all workers together: 100/m, 5/s")
    parser.add_argument("--reason", default="", help="for the next person who looks")
    parser.add_argument("--clear", action="store_true", help="take back what was set")
    return parser


def control(given: argparse.Namespace, now: datetime) -> dict[str, Any]:
    """The record's value. Raises ValueError for what makes no sense."""
    pause = timedelta(minutes=given.pause) if given.pause is not None else None
    value = {
        "target": given.target,
        "rate": given.rate,
        "paused": pause is not None,
        "paused_until": None if pause is None else now + pause,
        "concurrency": given.concurrency,
        "owner": getpass.getuser(),
        "reason": given.reason,
        "changed_at": now,
    }
    control_of(value)
    return value


def main(words: list[str] | None = None) -> None:
    """Publish it, and wait until the broker has it."""
    parser = arguments()
    given = parser.parse_args(words)
    if not given.clear and not given.reason:
        parser.error("say --reason, for the next person who looks")
    with TemporaryDirectory() as cache:
        codec = Codec(SchemaIds(given.registry, Path(cache)), avro.schema_of, given.prefix)
        publisher = Publisher(given.kafka, source="operator", codec=codec, prefix=given.prefix)
        if given.clear:
            publisher.publish_raw([RawRecord(TOPIC, given.target.encode(), None, [])])
        else:
            try:
                value = control(given, datetime.now(UTC))
            except ValueError as error:
                parser.error(str(error))
            event_id = f"{given.target}/{value['changed_at'].isoformat()}"
            publisher.publish([Emit(TOPIC, given.target, value, event_id)])
        publisher.close()
    print(f"{given.target}: {'taken back' if given.clear else 'set'}")  # noqa: T201 - it is a command


if __name__ == "__main__":
    main()
