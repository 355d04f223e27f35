"""streamkit: a worker runtime for task-like work on Kafka.

It knows records, lanes, retries and dead letters; it does not know what they are about.
"""

from streamkit.backoff import Stopped, delay_s, wait
from streamkit.codec import Codec, RegistryRefusesError, SchemaIds, UnregisteredSchemaError
from streamkit.deadletters import dead_letter
from streamkit.engines import UnknownEngineError, load_engine
from streamkit.errors import Busy, Instruction, Reject, Retry
from streamkit.headers import event_headers, readable
from streamkit.job import Job
from streamkit.lanes import Lane, Taken, lanes_of
from streamkit.logs import configure_logs
from streamkit.messages import Emit, Failure, GiveUp, Handler, Message
from streamkit.objects import ObjectStore
from streamkit.publisher import MAX_MESSAGE_BYTES, Publisher, PublishError, RawRecord
from streamkit.service import Readiness, service_frame
from streamkit.settings import ObjectSettings, ServiceSettings, TopicSettings, WorkerSettings
from streamkit.worker import Worker, connect

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Busy",
    "Codec",
    "Emit",
    "Failure",
    "GiveUp",
    "Handler",
    "Instruction",
    "Job",
    "Lane",
    "Message",
    "ObjectSettings",
    "ObjectStore",
    "PublishError",
    "Publisher",
    "RawRecord",
    "Readiness",
    "RegistryRefusesError",
    "Reject",
    "Retry",
    "SchemaIds",
    "ServiceSettings",
    "Stopped",
    "Taken",
    "TopicSettings",
    "UnknownEngineError",
    "UnregisteredSchemaError",
    "Worker",
    "WorkerSettings",
    "configure_logs",
    "connect",
    "dead_letter",
    "delay_s",
    "event_headers",
    "lanes_of",
    "load_engine",
    "readable",
    "service_frame",
    "wait",
]
