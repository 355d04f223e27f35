"""streamkit.testing: a worker's tests without a broker, with a clock that is moved by hand."""

from streamkit.testing.clock import FakeClock
from streamkit.testing.kit import Event, Kit, Letter, MemoryIds
from streamkit.testing.world import SteppedWorker, World

__all__ = ["Event", "FakeClock", "Kit", "Letter", "MemoryIds", "SteppedWorker", "World"]
