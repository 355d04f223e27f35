"""Wires the aggregator: what its folds are, and the Faust application that runs them."""

import threading
from importlib.metadata import version
from typing import Final

from aggregator.handlers import PRODUCED, folds
from aggregator.settings import Settings
from darkroom_schemas import avro, catalogue
from streamkit import Readiness
from streamkit.faust import FoldApp

SERVICE: Final = "aggregator"

APPLICATION: Final = "darkroom-aggregator"
"""Consumer group, and first part of the changelogs' names; the topic prefix goes before it."""


def application(settings: Settings) -> FoldApp:
    """The aggregator, to be run."""
    return FoldApp(
        service=SERVICE,
        version=version("darkroom-aggregator"),
        application=APPLICATION,
        dead_letters=catalogue.load().dead_letters(SERVICE),
        folds=folds(settings.policy()),
        writes=PRODUCED,
        settings=settings,
        schema_of=avro.schema_of,
        instance=settings.aggregator_instance,
        most=settings.aggregator_in_flight,
    )


def run(settings: Settings, stop: threading.Event, readiness: Readiness) -> None:
    """Work until `stop` is set. Blocks; raises what crashed the worker."""
    application(settings).run(stop, readiness)
