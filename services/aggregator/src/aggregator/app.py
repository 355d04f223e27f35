"""Wires the aggregator: what its folds are, and the Faust application that runs them."""

import threading
from importlib.metadata import version
from typing import Final

from aggregator.handlers import PRODUCED, Rules, folds
from aggregator.policies import Policies, PolicyTopic
from aggregator.routing import PolicyOf
from aggregator.settings import Settings
from darkroom_schemas import avro, catalogue
from streamkit import Codec, Readiness, SchemaIds
from streamkit.faust import FoldApp

SERVICE: Final = "aggregator"

APPLICATION: Final = "darkroom-aggregator"
"""Consumer group, and first part of the changelogs' names; the topic prefix goes before it."""


def application(settings: Settings, policy_of: PolicyOf) -> FoldApp:
    """The aggregator, to be run."""
    rules = Rules(policy_of, settings.training_above, settings.state_kept_days)
    return FoldApp(
        service=SERVICE,
        version=version("darkroom-aggregator"),
        application=APPLICATION,
        dead_letters=catalogue.load().dead_letters(SERVICE),
        keys=catalogue.load().log_keys(),
        folds=folds(rules),
        writes=PRODUCED,
        settings=settings,
        schema_of=avro.schema_of,
        instance=settings.aggregator_instance,
        most=settings.aggregator_in_flight,
        notices=True,
        heartbeat_s=settings.heartbeat_s,
    )


def run(settings: Settings, stop: threading.Event, readiness: Readiness) -> None:
    """Work until `stop` is set. Blocks; raises what crashed the worker.

    Nothing is worked on before the policies are known, so waits for the broker and, where there are
    any, for the registry.
    """
    prefix = settings.topic_prefix
    codec = Codec(SchemaIds(settings.registry, settings.cache), avro.schema_of, prefix)
    policies = PolicyTopic(
        settings.kafka, codec, Policies(settings.policy()), prefix, settings.kafka_options
    )
    try:
        policies.start(stop)
        application(settings, policies).run(stop, readiness)
    finally:
        policies.close()
