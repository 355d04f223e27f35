"""Kills a process at a chosen place of its own code; Python runs this at the start of each.

Only where DARKROOM_CRASH_POINTS names a folder: its file `points.json` maps a point's name to
[module, qualified name, "before" or "after"], and a process that passes a point whose file
`NAME.armed` lies there takes the file away and ends at once, as by kill -9. Of many that pass, one
dies.
"""

import functools
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Point = tuple[str, str, str]


def _die_if_armed(armed: Path, fired: Path) -> None:
    try:
        armed.rename(fired)
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _wrapped(function: Callable[..., Any], when: str, die: Callable[[], None]) -> Any:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **options: Any) -> Any:
            if when == "before":
                die()
            result = await function(*args, **options)
            if when == "after":
                die()
            return result

        return later

    @functools.wraps(function)
    def now(*args: Any, **options: Any) -> Any:
        if when == "before":
            die()
        result = function(*args, **options)
        if when == "after":
            die()
        return result

    return now


def _patch(module: ModuleType, folder: Path, name: str, point: Point) -> None:
    _, path, when = point
    *owners, last = path.split(".")
    owner: Any = module
    for part in owners:
        owner = getattr(owner, part)
    die = functools.partial(_die_if_armed, folder / f"{name}.armed", folder / f"{name}.fired")
    setattr(owner, last, _wrapped(getattr(owner, last), when, die))


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, patch: Callable[[ModuleType], None]) -> None:
        self._loader, self._patch = loader, patch

    def __getattr__(self, name: str) -> Any:  # what else the true loader can
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, folder: Path, points: dict[str, Point]) -> None:
        self._folder, self._points = folder, points
        self._modules = {module for module, _, _ in points.values()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._modules:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._patch)
        return spec

    def _patch(self, module: ModuleType) -> None:
        for name, point in self._points.items():
            if point[0] == module.__name__:
                _patch(module, self._folder, name, point)


def _install() -> None:
    named = os.environ.get("DARKROOM_CRASH_POINTS")
    if not named:
        return
    folder = Path(named)
    points = json.loads((folder / "points.json").read_text(encoding="utf-8"))
    sys.meta_path.insert(0, _Finder(folder, points))


_install()
