"""Where and with what was measured."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from bench.runtime.ground import Ground

from darkroom_cli.provision import provide

_PACKAGES: Final = (
    "celery",
    "kombu",
    "redis",
    "dramatiq",
    "confluent-kafka",
    "faust-streaming",
    "aiokafka",
    "fastavro",
)
_GIB: Final = 2**30


def machine() -> Mapping[str, Any]:
    """The machine, and how busy it was when asked."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
        "kernel": platform.platform(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
    }


def versions(ground: Ground) -> Mapping[str, str]:
    """Versions of everything that takes part."""
    redis = ground.empty_redis().info("server")["redis_version"]
    return {
        "python": platform.python_version(),
        "kafka": _kafka(),
        "redis_server": str(redis),
        **{name: version(name) for name in _PACKAGES},
        "streamkit": version("darkroom-streamkit"),
    }


def _kafka() -> str:
    """Out of the name of its own jar."""
    jars = provide(lambda _: None).kafka_jars
    names = [path.stem for path in jars.glob("kafka_2.13-*.jar")]
    return min(names, key=len).removeprefix("kafka_2.13-") if names else "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
