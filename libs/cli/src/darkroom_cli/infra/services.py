"""Darkroom's own programs: names, commands, settings."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from darkroom_cli.infra.probes import http_ok
from darkroom_cli.settings import CliSettings
from darkroom_cli.supervision.spec import Kind, ProcessSpec

INFRASTRUCTURE = ("redis", "postgres", "kafka", "registry")

EXTRAS = ("prometheus",)
"""What runs beside the rest where somebody asks for it."""

SERVICES: Mapping[str, tuple[str, ...]] = {
    "gateway-recorder": ("gateway", "recorder"),
    "gateway-control": ("gateway", "control"),
    "gateway-api": ("gateway", "api"),
    "intake": ("intake",),
    "detector": ("detector",),
    "ocr": ("ocr",),
    "embedder": ("embedder",),
    "trainer": ("trainer",),
    "aggregator": ("aggregator",),
}
"""Process name → module and arguments."""

_STEPS: Mapping[str, tuple[str, ...]] = {
    "topics": ("darkroom_cli", "topics", "apply"),
    "schemas": ("darkroom_cli", "schemas", "apply"),
    "migrate": ("gateway", "migrate"),
}
_STEP_AFTER = {"topics": ("kafka",), "schemas": ("registry",), "migrate": ("postgres",)}

_STAGES = ("detector", "ocr", "embedder")
_SLOWEST = "ocr"
_LEARNS = "trainer"
"""Its matrices are small: threads would wait for each other, and take from the stages."""
_MOST_ENGINES = 4
_ENGINES_SETTING = "DARKROOM_BULK_ENGINES"
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SHORT_WAITS = {"GOMP_SPINCOUNT": "10000"}
"""Threads of torch (GNU OpenMP on Linux) wait for each other by computing, 300,000 rounds before
they sleep; with more threads than cores, those that are waited for don't get on meanwhile. To label
a photo with two threads beside other programs took 160 to 670 ms of CPU, and 20 to 30 without such
waiting (2 cores). Not to wait at all is slower where nothing else runs, so they wait for tenths of
a millisecond."""


_DOOR = "gateway-api"
"""What others do was accepted before, so they yield to it (`service_nice`): whoever hands a photo
in meanwhile waits for the door and the catalog alone. Among each other nothing changes by that.

Niceness decides about shares of a core, not about who is next: of an answer's 4 ms of work the
door's threads do a piece each time the catalog or one of them has answered, and on a busy core each
piece waits for milliseconds. With real-time priority (`api_realtime`) none does, and none of the
catalog's where the session yields to it (`yield_session`): bench/overload tells what that
brings."""


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


@dataclass(frozen=True, slots=True)
class Share:
    """Of the machine, for a stage: engine processes of the lanes that nobody waits for, and threads
    of each engine."""

    engines: int
    threads: int


def share_of(stage: str, cores: int) -> Share:
    """How the three stages share `cores`.

    Text takes most of the time, labels and embedding little (0.1 to 1.5 s of CPU a photo, 0.04 s
    together), so text is what an import waits for, and it must fill the machine alone. Engines of
    one thread do that best: threads of one engine wait for each other at every layer (all three
    engines took 0.61 s of CPU a photo in two processes of one thread, 0.95 s in one of two; 2
    cores). Each takes memory (0.4 GB), so beyond four, engines get threads instead. The other two
    stages get by with a third of the cores; where all have work the kernel shares out. Engines of
    the lane `high` come on top: they don't yield, these do.
    """
    if stage == _SLOWEST:
        engines = max(1, min(cores, _MOST_ENGINES))
        return Share(engines, max(1, cores // engines))
    return Share(1, max(1, cores // len(_STAGES)))


def _share_settings(service: str) -> dict[str, str]:
    """What tells a service its share; what the environment says already goes first."""
    settings: dict[str, str] = {}
    if service in _STAGES:
        share = share_of(service, os.cpu_count() or 1)
        settings = {
            **dict.fromkeys(_THREAD_SETTINGS, str(share.threads)),
            **_SHORT_WAITS,
            _ENGINES_SETTING: str(share.engines),
        }
    elif service == _LEARNS:
        settings = dict.fromkeys(_THREAD_SETTINGS, "1")
    return {name: value for name, value in settings.items() if name not in os.environ}


def step_specs(environment: Mapping[str, str]) -> tuple[ProcessSpec, ...]:
    """What must be applied before the services start; repeated when it fails for a while."""
    return tuple(
        ProcessSpec(
            name=name,
            argv=_python(*command),
            kind=Kind.STEP,
            after=_STEP_AFTER[name],
            env=environment,
        )
        for name, command in _STEPS.items()
    )


def service_spec(name: str, environment: Mapping[str, str], port: int) -> ProcessSpec:
    """One service. Its health port answers GET /readyz; the gateway's api has its own."""
    own = _share_settings(name)
    door = (
        {"DARKROOM_API_HOST": "127.0.0.1", "DARKROOM_API_PORT": str(port)}
        if name == _DOOR
        else {"DARKROOM_HEALTH_HOST": "127.0.0.1", "DARKROOM_HEALTH_PORT": str(port)}
    )
    return ProcessSpec(
        name=name,
        argv=_python(*SERVICES[name]),
        after=(*INFRASTRUCTURE, *_STEPS),
        env={**own, **environment, **door},
        port=port,
        probe=http_ok(port, "/readyz"),
        start_deadline=180.0,
        stop_deadline=12.0,  # a service drains within 10
        watch_every=3.0,
        nice=0 if name == _DOOR else CliSettings().service_nice,
        realtime=name == _DOOR and CliSettings().api_realtime,
    )
