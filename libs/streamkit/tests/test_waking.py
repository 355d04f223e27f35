"""A thread that waits on a queue hears of a stop, whatever its wait has come to."""

import subprocess
import sys

# The signal comes before the wait's time is over, and its handler returns after that.
WAITS = """
import os, queue, signal, threading, time
from streamkit.waking import wakes

inbox, stop = queue.SimpleQueue(), threading.Event()

def stopping(*_):
    stop.set()
    time.sleep(0.5)

signal.signal(signal.SIGTERM, stopping)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
with wakes(stop, lambda: inbox.put("woken")):
    while not stop.is_set():
        try:
            inbox.get(timeout=0.4)
        except queue.Empty:
            pass
print("ended")
"""


def test_a_signal_at_the_end_of_a_wait_ends_it() -> None:
    done = subprocess.run(
        (sys.executable, "-c", WAITS), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
