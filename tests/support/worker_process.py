"""A worker of tests, as a process: what it says, and how it is ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

DEADLINE_S: Final = 120.0

NICE: Final = ("nice", "-n", "5")
"""As their supervisor does: a broker that is starved by its workers loses them. Less than there,
since engines yield to them by 10 more, and 19 is the end."""


def until(
    condition: Callable[[], object],
    what: str,
    timeout_s: float = DEADLINE_S,
    state: Callable[[], object] = str,
) -> None:
    """Poll until it is so; fail after the deadline, telling the `state` of then."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s {state()}"
        time.sleep(0.05)


class WorkerProcess:
    """A worker, started at once: `python -m PROGRAM`."""

    def __init__(
        self,
        name: str,
        log: Path,
        settings: Mapping[str, object],
        program: str = "worker_program",
    ) -> None:
        self.name = name
        self.log = log
        variables = {
            key if key.isupper() else f"DARKROOM_{key.upper()}": str(value)
            for key, value in settings.items()
        }
        # The kernel ends it with us, however we end.
        leash = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        here, others = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                (*leash, *NICE, sys.executable, "-m", program),
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, (here, others))),
                    "WORKER_NAME": name,
                    **variables,
                },
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    # -- what it says ---------------------------------------------------------------------------

    def lines(self, event: str = "") -> Sequence[Mapping[str, Any]]:
        """Its log; only what it says of `event`, if that is given."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if event in ("", line["event"])]

    def get(self, page: str) -> httpx.Response | None:
        """A page of its health server; None while it does not answer."""
        found = self.lines("health_server")
        if not found:
            return None
        try:
            return httpx.get(f"http://127.0.0.1:{found[0]['port']}{page}", timeout=5)
        except httpx.TransportError:
            return None

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels; 0 without one."""
        answer = self.get("/metrics")
        if answer is None:
            return 0.0
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def is_ready(self) -> bool:
        """Whether every lane has its partitions."""
        answer = self.get("/readyz")
        return answer is not None and answer.status_code == 200

    def ready(self) -> "WorkerProcess":
        """Wait until it is."""
        until(lambda: self.ended or self.is_ready, f"{self.name} is ready")
        assert not self.ended, self.log.read_text(encoding="utf-8")
        return self

    # -- its end --------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait()

    def code(self, timeout_s: float = DEADLINE_S) -> int:
        """Its exit code, once it has ended by itself."""
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float = DEADLINE_S) -> int:
        """Ask it to stop; its exit code."""
        self.send(signal.SIGTERM)
        return self.code(timeout_s)

    def end(self) -> None:
        """Have it ended, whatever it does."""
        if not self.ended:
            self.kill()
