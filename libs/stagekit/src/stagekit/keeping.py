"""Keeps an engine process at the version of its model that is active."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog

from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import MODEL_ACTIVATED
from stagekit.adding import NOTHING, Adds
from stagekit.heads import Heads
from stagekit.labelling import Labelling
from stagekit.loaded import Loaded
from stagekit.reasons import FORESEEN, reason
from stagekit.reporting import Report, Reporter
from stagekit.serving import Resident, Serving, Servings, Shadow, give_memory_back
from stagekit.versions import Activation, Options, Version, VersionError, fetched
from streamkit import (
    Busy,
    Codec,
    ObjectStore,
    Publisher,
    Reject,
    Retry,
    SchemaIds,
)
from streamkit.kafka.follower import Follower

_log = structlog.get_logger("stagekit.models")

MODEL: Final = "model"
"""What a model that can't be loaded for now is called as a dependency."""

_START_S: Final = 20.0
"""So long is waited at a start for what is active; without it the service's own settings hold."""

_TURN_S: Final = 0.5
_AGAIN_S: Final = 30.0
"""After so long a version that could not be loaded is tried again."""

S = TypeVar("S", bound=Any)


@dataclass(frozen=True, slots=True)
class Means(Generic[S]):
    """What versions are loaded by and from."""

    load: Callable[[S], Loaded]
    options: Options
    settings: S
    store: ObjectStore

    def own(self) -> Serving:
        """The engine of the service's own settings."""
        loaded = self.load(self.settings)
        resident = Resident(loaded, lambda: self.load(self.settings), time.monotonic)
        return replace(Serving.of(loaded), resident=resident)

    def serving(self, activation: Activation, *, starting: bool = False) -> Serving:
        """What an activation asks for, loaded. Raises what loading raises, VersionError.

        Where services shall have what their settings say, one that is `starting` takes that,
        whatever it is by now. A shadow that can't be loaded is a finding, and no trouble.
        """
        serving = self._version(activation.active, starting=starting)
        shadow, finding = self._shadow(activation)
        return replace(serving, generation=activation.generation, shadow=shadow, finding=finding)

    def _shadow(self, activation: Activation) -> tuple[Shadow | None, str | None]:
        wanted = activation.shadow
        if wanted is None:
            return None, None
        try:
            resident = self._version(wanted).resident
        except Exception as error:  # noqa: BLE001 - a candidate may have any defect
            _log.error("shadow_failed", version=wanted.version, reason=reason(error))
            return None, f"The shadow {wanted.version} can't be loaded: {reason(error)}"
        return Shadow(wanted.version, resident, activation.share), None

    def _version(self, version: Version, *, starting: bool = False) -> Serving:
        if version.built_in:
            return self._built_in(version, starting=starting)
        loaded = self._loaded(version)
        resident = Resident(loaded, lambda: self._loaded(version), time.monotonic)
        return Serving(0, version.version, loaded.engine.name, resident)

    def _loaded(self, version: Version) -> Loaded:
        if ":" in version.engine:
            raise VersionError(f"{version.engine} is code of one machine, no built-in engine")
        return self.load(self.options.settings(self.settings, version, self.files(version)))

    def files(self, version: Version) -> Path | None:
        """The folder with a version's files, None if it has none; see `fetched`."""
        return fetched(version.files, self.store.open, self.settings.models_cache)

    def _built_in(self, version: Version, *, starting: bool) -> Serving:
        """What the service's own settings give, if it is that version."""
        own = self.own()
        if own.version != version.version:
            said = f"{version.version} is not what this service is set to: {own.version} is"
            if not starting:
                raise VersionError(f"{said}. Activate that one, or put the settings back.")
            _log.warning("settings_changed", reason=said)
        return own


class Keeper:
    """Loads what is active in a thread of its own, and swaps it in; see `keep`.

    `servings` is used by the process's handlers, and `adds`, which is kept by others. The version
    before goes on working until the next one is loaded, and also where that can't be.
    """

    def __init__(self, means: Means[Any], reporter: Reporter, idle_s: float) -> None:
        self._means = means
        self._reporter = reporter
        self._idle_s = idle_s
        self._wanted: Activation | None = None
        self._refused: tuple[int, float] | None = None
        self._stirred = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-keeper", daemon=True)
        self._ends: list[Callable[[], None]] = [reporter.close]
        self.servings: Servings
        self.adds: Adds = NOTHING

    def told(self, activation: Activation) -> None:
        """This holds from now on. From any thread."""
        self._wanted = activation
        self._stirred.set()

    def start(self) -> None:
        """Load what holds. Raises what loading raises; Busy where a version is not to be had."""
        wanted = self._wanted
        asked = 0 if wanted is None else wanted.generation
        self._reporter.say(Report("loading", 0, asked, None, None))
        try:
            serving = (
                self._means.own() if wanted is None else self._means.serving(wanted, starting=True)
            )
        except Exception as error:
            self._reporter.say(Report("failed", 0, asked, None, None, message=reason(error)))
            self._reporter.flush()
            if wanted is None or isinstance(error, Busy | Retry):
                raise
            # Another version may be activated at any moment, so this process does not end for good.
            raise Busy(
                f"version {wanted.active.version} can't be loaded: {reason(error)}"
                " (It is tried again; put that right, or activate another version.)",
                dependency=MODEL,
                unforeseen=not isinstance(error, FORESEEN),
            ) from error
        self.servings = Servings(serving)
        self._reporter.say(_ready(serving))
        self._thread.start()

    def close(self) -> None:
        """End; the reports say that this replica is gone."""
        self._closing.set()
        self._stirred.set()
        if self._thread.is_alive():
            self._thread.join(_TURN_S * 4)
        for end in self._ends:
            end()

    def closes(self, end: Callable[[], None]) -> None:
        """Call this at the end, before what was there already."""
        self._ends.insert(0, end)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._stirred.wait(_TURN_S)
            self._stirred.clear()
            wanted = self._wanted
            if wanted is not None and self._is_due(wanted):
                self._change(wanted)
            if self._idle_s:
                self._rest()

    def _is_due(self, wanted: Activation) -> bool:
        if wanted.generation <= self.servings.now.generation:
            return False
        if self._refused is None or self._refused[0] != wanted.generation:
            return True
        return time.monotonic() >= self._refused[1]

    def _change(self, wanted: Activation) -> None:
        before = self.servings.now
        asked = wanted.generation
        self._reporter.say(replace(_ready(before), state="loading", wanted=asked))
        try:
            serving = self._means.serving(wanted)
        except Exception as error:  # noqa: BLE001 - the version before goes on working
            why = reason(error)
            _log.error("model_failed", version=wanted.active.version, reason=why)
            self._refused = (wanted.generation, time.monotonic() + _AGAIN_S)
            self._reporter.say(replace(_ready(before), state="failed", wanted=asked, message=why))
            return
        self.servings.swap(serving)
        _log.info(
            "model_activated",
            generation=serving.generation,
            model_version=serving.version,
            before=before.version,
        )
        # What is still looked at by the version before is a part of it: only then is it over.
        while not before.resident.unused(_TURN_S):
            if self._closing.is_set():
                return
        del before
        give_memory_back()
        self._reporter.say(_ready(serving))

    def _rest(self) -> None:
        serving = self.servings.now
        beside = () if serving.shadow is None else (serving.shadow.resident,)
        for resident in (serving.resident, *beside):
            if resident.idle_s() >= self._idle_s and resident.let_go():
                _log.info("engine_unloaded", idle_s=self._idle_s)


Told = Callable[[Activation], None]


def keep(name: str, means: Means[Any], labelling: Labelling | None = None) -> Keeper:
    """A Keeper for the model of a stage, started: it follows `model.activated.v1`, and with
    `labelling` the heads there as well.

    Raises what loading the engine raises; Busy where the active version is not to be had for now.
    """
    settings = means.settings
    codec = Codec(SchemaIds(settings.registry, settings.cache), schema_of, settings.topic_prefix)
    publisher = Publisher(
        settings.kafka,
        source=name,
        codec=codec,
        prefix=settings.topic_prefix,
        options=settings.kafka_options,
    )
    takes = means.options.takes(type(settings))
    reporter = Reporter(name, publisher, takes=takes)
    keeper = Keeper(means, reporter, settings.idle_unload_s)
    heads = None if labelling is None else Heads(labelling, means.files, reporter.heads)

    def tell(key: bytes | None, value: bytes | None) -> None:
        model = (key or b"").decode(errors="replace")
        if model == name:
            _hand_on(codec, model, value, keeper.told)
        elif heads is not None and heads.knows(model):
            _hand_on(codec, model, value, partial(heads.told, model))

    follower = Follower(
        settings.kafka,
        settings.topic_prefix + MODEL_ACTIVATED,
        tell,
        name=f"{name}-models",
        options=settings.kafka_options,
    )
    if heads is not None:
        keeper.adds = heads
        keeper.closes(heads.close)
    keeper.closes(follower.close)
    if not follower.start(_START_S):
        _log.warning("activations_unknown", topic=follower.topic, reason=follower.trouble)
    try:
        if heads is not None:
            heads.start(_START_S)
        keeper.start()
    except BaseException:
        keeper.close()
        raise
    return keeper


def _hand_on(codec: Codec, model: str, value: bytes | None, told: Told) -> None:
    """Raises Busy while the registry is needed and away."""
    if value is None:
        _log.warning("activation_removed", model=model)
        return
    try:
        activation = Activation.of(codec.decode(MODEL_ACTIVATED, value))
    except (Reject, ValueError, KeyError, TypeError) as error:
        _log.error("activation_unreadable", model=model, reason=str(error))
        return
    told(activation)


def _ready(serving: Serving) -> Report:
    shadow = serving.shadow.version if serving.shadow is not None else None
    generation = serving.generation
    return Report(
        "ready",
        generation,
        generation,
        serving.version,
        serving.engine,
        shadow,
        message=serving.finding,
    )
