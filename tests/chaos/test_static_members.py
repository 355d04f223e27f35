"""Static members of a group whose broker is away for longer than their sessions."""

import os
import signal
from collections.abc import Callable, Sequence

import pytest

from darkroom_cli.stack import Stack
from streamkit.kafka.consumer import KafkaConsumer, consumer_config
from streamkit.records import Offsets, Partition, Taken
from worker_chaos import is_up
from worker_process import until
from worker_tasks import LANES
from worker_world import Task, World

TOPIC = LANES["batch"]


class Member:
    """Reads a topic as a static member, and commits what it has read."""

    def __init__(self, world: World) -> None:
        self.read: list[Taken] = []
        self.lost_once = False
        group = f"{world.prefix}static"
        config = consumer_config(world.places.kafka, group, "classic", "slot-1")
        self.consumer = KafkaConsumer(config, [TOPIC], self, world.prefix)

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """There is nothing to do."""

    def revoked(self, _partitions: Sequence[Partition]) -> Offsets:
        return {}

    def lost(self, _partitions: Sequence[Partition]) -> None:
        self.lost_once = True

    def has(self, count: int) -> Callable[[], bool]:
        """Whether it has read so many records, once it has looked again."""

        def holds() -> bool:
            found = self.consumer.consume(100, 0.05)
            self.consumer.store({Partition(TOPIC, one.partition): one.offset + 1 for one in found})
            self.read += found
            return len({(one.partition, one.offset) for one in self.read}) >= count

        return holds


def test_who_is_not_asked_for_records_in_an_outage_as_long_as_its_session_goes_on_afterwards(
    world: World, stack: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    member, said = Member(world), []
    try:
        world.ask(*(Task(f"before-{number}") for number in range(20)))
        until(member.has(20), "it works")
        before = stack.wait_until(is_up("kafka", 0), 60, "it is up").process("kafka").restarts
        # After this its supervisor needs more than a session: the broker waits for its own to end.
        os.kill(stack.pid("kafka"), signal.SIGKILL)
        stack.wait_until(is_up("kafka", before + 1), 60, "it is back")

        def fenced() -> bool:
            """librdkafka says so by itself, while its application does something else."""
            said.append(capfd.readouterr().err)
            return "Static consumer fenced" in "".join(said)

        until(fenced, "the broker takes it for another process")
        world.ask(*(Task(f"after-{number}") for number in range(20)))
        until(member.has(40), "it goes on")
        assert member.lost_once
    finally:
        member.consumer.close()
