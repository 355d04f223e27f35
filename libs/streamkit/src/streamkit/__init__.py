"""streamkit: a worker runtime for task-like work on Kafka.

It knows records, lanes, retries and dead letters; it does not know what they are about.
"""

from streamkit.backoff import Stopped, delay_s, wait
from streamkit.codec import Codec, RegistryRefusesError, SchemaIds, UnregisteredSchemaError
from streamkit.deadletters import dead_letter
from streamkit.engines import EngineLoadError, UnknownEngineError, load_engine, needing
from streamkit.errors import (
    Busy,
    DeadlineExceeded,
    Instruction,
    OutOfMemory,
    Reject,
    Retry,
    StoreFull,
)
from streamkit.headers import event_headers, readable
from streamkit.job import Batching, Job, Lane, lanes_of
from streamkit.logs import RecordLines, configure_logs, name_keys
from streamkit.messages import BatchHandler, Emit, Failure, GiveUp, Handler, Handlers, Message
from streamkit.objects import ObjectStore
from streamkit.publishing import MAX_MESSAGE_BYTES, Publisher, PublishError
from streamkit.records import RawRecord, Taken
from streamkit.service import Readiness, service_frame
from streamkit.settings import (
    HeartbeatSettings,
    ObjectSettings,
    ServiceSettings,
    TopicSettings,
    WorkerSettings,
)
from streamkit.settle import HandlerDefectError
from streamkit.worker import Worker, connect

__all__ = [
    "MAX_MESSAGE_BYTES",
    "BatchHandler",
    "Batching",
    "Busy",
    "Codec",
    "DeadlineExceeded",
    "Emit",
    "EngineLoadError",
    "Failure",
    "GiveUp",
    "Handler",
    "HandlerDefectError",
    "Handlers",
    "HeartbeatSettings",
    "Instruction",
    "Job",
    "Lane",
    "Message",
    "ObjectSettings",
    "ObjectStore",
    "OutOfMemory",
    "PublishError",
    "Publisher",
    "RawRecord",
    "Readiness",
    "RecordLines",
    "RegistryRefusesError",
    "Reject",
    "Retry",
    "SchemaIds",
    "ServiceSettings",
    "Stopped",
    "StoreFull",
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
    "name_keys",
    "needing",
    "readable",
    "service_frame",
    "wait",
]
