"""Wires the control door."""

from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock
from typing import Final

from darkroom_schemas import catalogue
from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_SUBMITTED
from gateway import db, locks
from gateway.catalog.outbox import Outbox
from gateway.catalog.produced import PRODUCED
from gateway.catalog.schedules import SYNC
from gateway.control.control import Control
from gateway.control.dead_letter_digest import digest_job, services_with_letters
from gateway.control.duty import Duty
from gateway.control.head_files import HeadFiles
from gateway.control.imports import ImportRunner
from gateway.control.job_run import Job
from gateway.control.lag import KafkaOffsets
from gateway.control.learning import Learning, Ranker
from gateway.control.letters import LetterKeeper
from gateway.control.loads import Loads
from gateway.control.measuring import Measuring
from gateway.control.notices import Notifier
from gateway.control.operations import Operations
from gateway.control.reconcile import reconcile_job
from gateway.control.reembed import Reembedder
from gateway.control.relay import Relay
from gateway.control.replays import Replayer
from gateway.control.republish import republish_job
from gateway.control.rescore import Rescorer
from gateway.control.schedules import Schedules
from gateway.control.shares import AdmissionShares
from gateway.control.sync import sync_job
from gateway.control.tidying import Kept, retention_job, statistics_job
from gateway.control.training_job import training_job
from gateway.control.trainings import Tutor
from gateway.control.work import Means, Pace
from gateway.disks import watch_disks
from gateway.notifications.mail import Mailer
from gateway.notifications.mail_server import mail_server
from gateway.notifications.ways import WayMeans, open_ways
from gateway.origins import OriginMeans, open_origin
from gateway.settings import SERVICE, Settings
from gateway.store_away import StoreAway
from streamkit import (
    Codec,
    ObjectStore,
    Publisher,
    RawRecord,
    Readiness,
    SchemaIds,
    name_keys,
    service_frame,
)
from streamkit.kafka.log import KafkaLog

_AT_ONCE: Final = 8
"""Files of an import that are recorded in one transaction: each then costs a fifth of what it would
by itself; with more of them hardly any less."""


def build_control(settings: Settings, codec: Codec, publisher: Publisher) -> Control:
    """The control door, not started."""
    away = StoreAway(_connecting(settings, "store"))
    store = ObjectStore(settings.objects, settings.stores, away=away)
    watch_disks({"objects": store.folder})
    pace = Pace(
        in_flight=settings.import_in_flight,
        limit=settings.photo_max_bytes,
        wait_s=settings.import_wait_s,
        at_once=_AT_ONCE,
    )
    outbox = Outbox(codec)
    opens = partial(open_origin, means=OriginMeans(store, settings.archive_limits))
    publish = _in_turns(publisher.publish_raw)
    relay = Relay(publish)
    runner = ImportRunner(Means(outbox, store, pace, opens))
    schedules = Schedules(
        _connecting(settings, "job"),
        jobs(settings, codec, outbox, store),
        {SYNC: sync_job(outbox, opens)},
    )
    watch = Loads(
        outbox,
        KafkaOffsets(settings.kafka, prefix=settings.topic_prefix, options=settings.kafka_options),
        settings.lag_limits,
        settings.lag_every_s,
    )
    measuring = Measuring(
        KafkaOffsets(settings.kafka, prefix=settings.topic_prefix, options=settings.kafka_options),
        prefix=settings.topic_prefix,
        every_s=settings.measure_every_s,
    )
    reembedder = Reembedder(outbox, settings.reembed_in_flight)
    learning = Learning(Ranker(HeadFiles(store)), settings.audit_share)
    rescorer = Rescorer(outbox, store, settings.rescore_per_s)
    tutor = Tutor(outbox, store, settings.training_rules)
    replayer = Replayer(outbox)
    letters = KafkaLog(settings.kafka, prefix=settings.topic_prefix, options=settings.kafka_options)
    keeper = LetterKeeper(letters, services_with_letters(), publish)
    operations = Operations(
        settings.kafka,
        codec.decode,
        prefix=settings.topic_prefix,
        options=settings.kafka_options,
    )
    duties = (
        Duty("relay", locks.RELAY, _connecting(settings, "relay"), relay.work),
        Duty("notices", locks.NOTICES, _connecting(settings, "notices"), _notifier(settings).work),
        Duty("imports", locks.IMPORTS, _connecting(settings, "imports"), runner.work),
        Duty("loads", locks.LOADS, _connecting(settings, "loads"), watch.work),
        Duty("measures", locks.MEASURES, _connecting(settings, "measures"), measuring.work),
        Duty("shares", locks.SHARES, _connecting(settings, "shares"), _admission(settings).work),
        Duty("trainings", locks.LEARNING, _connecting(settings, "trainings"), tutor.work),
        Duty("models", locks.MODELS, _connecting(settings, "models"), reembedder.work),
        Duty("reviews", locks.REVIEWS, _connecting(settings, "reviews"), learning.work),
        Duty("rescoring", locks.RESCORING, _connecting(settings, "rescoring"), rescorer.work),
        Duty("replays", locks.REPLAYS, _connecting(settings, "replays"), replayer.work),
        Duty("letters", locks.LETTERS, _connecting(settings, "letters"), keeper.work),
        Duty("operations", locks.OPERATIONS, _connecting(settings, "operations"), operations.work),
        Duty("schedules", locks.SCHEDULES, _connecting(settings, "schedules"), schedules.work),
    )
    return Control(duties)


def jobs(settings: Settings, codec: Codec, outbox: Outbox, store: ObjectStore) -> tuple[Job, ...]:
    """What the control door does at times, beside looking through sources."""
    letters = KafkaLog(settings.kafka, prefix=settings.topic_prefix, options=settings.kafka_options)
    return (
        reconcile_job(settings, codec, outbox),
        digest_job(letters, services_with_letters()),
        statistics_job(),
        republish_job(outbox),
        training_job(outbox, least=settings.examples_least, every_s=settings.training_every_s),
        retention_job(store, _kept(settings)),
    )


def run_control(settings: Settings) -> None:
    """Relay and import until SIGTERM or SIGINT."""
    readiness = Readiness("start")
    with service_frame("gateway-control", settings, readiness) as stop:
        name_keys(catalogue.load().log_keys())
        ids = SchemaIds(settings.registry, settings.cache)
        codec = Codec(ids, schema_of, settings.topic_prefix)
        readiness.follow(lambda: ["schema registry"])
        codec.preload(PRODUCED, stop)
        publisher = Publisher(
            settings.kafka,
            source=SERVICE,
            codec=codec,
            prefix=settings.topic_prefix,
            options=settings.kafka_options,
        )
        control = build_control(settings, codec, publisher)
        readiness.follow(control.waiting_for)
        control.run(stop)


def _admission(settings: Settings) -> AdmissionShares:
    weights = settings.policy.weights
    lanes = sorted(PHOTO_SUBMITTED, key=lambda lane: (lane == "high", weights.get(lane, 1.0)))
    return AdmissionShares(lanes, settings.marks)


def _kept(settings: Settings) -> Kept:
    return Kept(
        notices=settings.keep_days,
        audit=settings.audit_days,
        photos=settings.photo_days,
        uploads=settings.upload_days,
    )


def _notifier(settings: Settings) -> Notifier:
    mailer = None
    if settings.smtp_url is not None and settings.smtp_from is not None:
        mailer = Mailer(mail_server(settings.smtp_url.get_secret_value()), settings.smtp_from)
    return Notifier(partial(open_ways, WayMeans(settings.redis, settings.topic_prefix, mailer)))


def _in_turns(
    publish: Callable[[Iterable[RawRecord]], None],
) -> Callable[[Iterable[RawRecord]], None]:
    """A publisher is for one thread at a time, and duties have threads of their own."""
    lock = Lock()

    def published(records: Iterable[RawRecord]) -> None:
        with lock:
            publish(records)

    return published


def _connecting(settings: Settings, what: str) -> Callable[[], db.Conn]:
    return partial(db.connect, settings.database, name=f"darkroom-gateway-{what}")
