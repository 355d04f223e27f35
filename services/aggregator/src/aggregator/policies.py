"""The confidence policies by revision, as `ops.policy.v1` tells them."""

import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol

import structlog

from aggregator.routing import Policy, Thresholds
from darkroom_schemas.names import OPS_POLICY
from streamkit import Busy, Codec, Reject
from streamkit.backoff import Stopped
from streamkit.kafka.follower import Follower, Look

_log = structlog.get_logger("aggregator.policies")

FIRST: Final = 1
"""The revision that the settings say."""

_MOST_UNKNOWN: Final = 1_000
_SAY_AGAIN_S: Final = 10.0
_POLL_S: Final = 0.05
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class UnknownPolicyError(Busy):
    """It isn't known yet whether there is a policy of this revision."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"revision {revision} of the policy is looked up", dependency="policies")


class Source(Protocol):
    """Where policies come from: see Follower."""

    def look(self) -> Look:
        """Ask for all that is there now."""


class Policies:
    """The policy of each revision; told in one thread, asked in another.

    A revision that is unknown is looked up once more. One that does not exist even then is routed
    as the first one, until it does.
    """

    def __init__(self, first: Policy) -> None:
        self._known: dict[int, Policy] = {FIRST: first}
        self._first = first
        self._looks: dict[int, Look] = {}
        self._unknown: set[int] = set()

    def told(self, revision: int, policy: Policy) -> None:
        """There is a revision; the first that is said of it counts, and settings say revision 1."""
        if revision not in self._known:
            self._known[revision] = policy
            _log.info("policy", revision=revision, auto_above=policy.general.auto_above)

    def of(self, revision: int, source: Source) -> Policy:
        """Its policy; raises UnknownPolicyError as long as the source looks for it."""
        if revision in self._known:
            return self._known[revision]
        if revision in self._unknown:
            return self._first
        look = self._looks.get(revision) or self._looks.setdefault(revision, source.look())
        if not look.done.is_set():
            raise UnknownPolicyError(revision)
        del self._looks[revision]
        if revision in self._known:
            return self._known[revision]
        _log.error("policy_unknown", revision=revision, instead=FIRST)
        if len(self._unknown) >= _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown.add(revision)
        return self._first


def policy_of(event: Mapping[str, Any]) -> Policy:
    """The policy that an event of the topic says; raises ValueError if it makes no sense."""
    thresholds = [Thresholds(one["auto_above"], one["review_below"]) for one in _all(event)]
    for one in thresholds:
        if not 0 <= one.review_below <= one.auto_above <= 1:
            raise ValueError(f"no thresholds: {one.review_below} and {one.auto_above}")
    labels = [one["label"] for one in event["labels"]]
    return Policy(thresholds[0], dict(zip(labels, thresholds[1:], strict=True)))


def _all(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [event, *event["labels"]]


class PolicyTopic:
    """`ops.policy.v1`, followed into Policies. `options` are further settings of librdkafka's."""

    def __init__(
        self,
        kafka: str,
        codec: Codec,
        policies: Policies,
        prefix: str = "",
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._codec = codec
        self._policies = policies
        self._follower = Follower(
            kafka, prefix + OPS_POLICY, self._tell, name="policies", options=options
        )

    def __call__(self, revision: int) -> Policy:
        """The policy of a revision; raises UnknownPolicyError while it is looked up."""
        return self._policies.of(revision, self._follower)

    def start(self, stop: threading.Event) -> None:
        """Begin, and wait until all that is there is told; raises Stopped when `stop` is set."""
        ready = self._follower.start(0.0)
        waited = 0.0
        while not ready:
            if stop.wait(_POLL_S):
                raise Stopped
            ready = self._follower.wait(0.0)
            waited += _POLL_S
            if waited >= _SAY_AGAIN_S:
                waited = 0.0
                why = self._follower.trouble or "no answer yet"
                _log.warning("policies_awaited", topic=self._follower.topic, reason=why)

    def close(self) -> None:
        """Stop following."""
        self._follower.close()

    def _tell(self, key: bytes | None, value: bytes | None) -> None:
        """Raises Busy while the registry is needed and away."""
        if value is None:
            return  # a revision is never taken back
        try:
            event = self._codec.decode(OPS_POLICY, value)
            self._policies.told(event["revision"], policy_of(event))
        except (Reject, ValueError) as error:
            name = (key or b"")[:100].decode("utf-8", "replace")
            _log.error("policy_unreadable", key=name, reason=str(error))
