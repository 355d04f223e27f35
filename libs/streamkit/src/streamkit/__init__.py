"""streamkit: a worker runtime for task-like work on Kafka.

It knows records, lanes, retries and dead letters; it does not know what they are about.
"""

from streamkit.codec import Codec, SchemaIds, UnregisteredSchemaError
from streamkit.engines import UnknownEngineError, factory_of
from streamkit.errors import Busy, Instruction, Reject, Retry
from streamkit.job import Job
from streamkit.lanes import Lane
from streamkit.messages import Emit, Failure, GiveUp, Handler, Message
from streamkit.objects import ObjectStore
from streamkit.publisher import Publisher, PublishError, RawRecord
from streamkit.service import Readiness, service_frame
from streamkit.settings import ObjectSettings, ServiceSettings, WorkerSettings
from streamkit.worker import Worker, connect

__all__ = [
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
    "Reject",
    "Retry",
    "SchemaIds",
    "ServiceSettings",
    "UnknownEngineError",
    "UnregisteredSchemaError",
    "Worker",
    "WorkerSettings",
    "connect",
    "factory_of",
    "service_frame",
]
