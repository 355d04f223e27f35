"""Darkroom's own programs: names, commands, settings."""

import os
import sys
from collections.abc import Mapping

from darkroom_cli.infra.probes import http_ok
from darkroom_cli.supervision.spec import Kind, ProcessSpec

INFRASTRUCTURE = ("redis", "postgres", "kafka", "registry")

SERVICES: Mapping[str, tuple[str, ...]] = {
    "gateway-recorder": ("gateway", "recorder"),
    "gateway-control": ("gateway", "control"),
    "gateway-api": ("gateway", "api"),
    "intake": ("intake",),
    "detector": ("detector",),
    "ocr": ("ocr",),
    "embedder": ("embedder",),
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
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def stage_threads(cores: int) -> int:
    """Threads of each of the three engines, so that together they fill the machine once."""
    return max(1, cores // len(_STAGES))


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
    threads = str(stage_threads(os.cpu_count() or 1))
    own = dict.fromkeys(_THREAD_SETTINGS, threads) if name in _STAGES else {}
    door = (
        {"DARKROOM_API_HOST": "127.0.0.1", "DARKROOM_API_PORT": str(port)}
        if name == "gateway-api"
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
    )
