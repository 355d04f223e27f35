"""`python -m bench.runtime`: what `./darkroom bench runtime` runs."""

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.runtime.context import SYSTEMS, Context
from bench.runtime.ground import prepared
from bench.runtime.latency import BacklogGoneError
from bench.runtime.machine import machine, versions
from bench.runtime.plan import FULL, QUICK
from bench.runtime.programs import ProgramError
from bench.runtime.report import as_json, figures, judged, met
from bench.runtime.run import PARTS, run
from bench.runtime.table import tell
from rich.console import Console

from darkroom_cli.errors import DarkroomError

_WIDTH: Final = 120

_QUIET_LOAD: Final = 0.5
"""Load average above which others use the machine."""


def main() -> int:
    """Measure, write, tell; the exit code: 1 if --check was given and a limit is missed, 2 if
    something could not be measured."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _measure(chosen)
    except (ProgramError, BacklogGoneError, DarkroomError) as error:
        _write(f"not measured: {error}")
        return 2
    except KeyboardInterrupt:
        _write("interrupted; all programs are ended")
        return 130


def _measure(chosen: argparse.Namespace) -> int:
    plan = QUICK if chosen.quick else FULL
    _warn_of_others()
    began, about = time.monotonic(), {"measured_at": datetime.now(UTC).isoformat("T", "seconds")}
    with prepared(_write) as ground:
        facts: dict[str, Any] = {"machine": machine(), "versions": versions(ground)}
        found = run(Context(plan, ground, _write, chosen.systems), chosen.only)
    limits = judged(figures(found))
    tell(found, limits, Console(width=_WIDTH))
    facts |= {"quick": chosen.quick, "plan": asdict(plan), "took_s": time.monotonic() - began}
    if chosen.json:
        text = json.dumps(as_json(found, {**about, **facts}), indent=2)
        chosen.json.write_text(text + "\n", encoding="utf-8")
    return 1 if chosen.check and not met(limits) else 0


def _warn_of_others() -> None:
    load = os.getloadavg()[0]
    if load > _QUIET_LOAD:
        _write(f"This machine is busy (load average {load:.1f}): don't trust what follows.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.runtime", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer photos, under 15 minutes")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is missed")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    return parser.parse_args()


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
