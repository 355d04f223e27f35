"""Freed memory is used again, up to a bound. In processes of their own: it can't be taken back."""

import json
import subprocess
import sys
from typing import Any

import pytest

from streamkit.engine.allocation import KEPT_BYTES, LARGE_BYTES

_SIZE = 24 * 1024**2

_SCRIPT = """
import json, resource, sys
import psutil
from streamkit.engine.allocation import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "kept" else None
size, large, rounds = int(sys.argv[2]), int(sys.argv[3]), 10

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fill():
    # Two, so that the blocks of one round are not the last one's.
    blocks = [bytearray(b"x") * size for _ in range(2)]
    del blocks

fill()
before = pages()
for _ in range(rounds):
    fill()
faults = (pages() - before) / rounds
held = psutil.Process().memory_info().rss
block = bytearray(b"x") * large
most = psutil.Process().memory_info().rss
del block
left = psutil.Process().memory_info().rss
print(json.dumps({"kept": kept, "faults": faults, "grew": most - held, "left": left - held}))
"""


def _run(how: str) -> Any:
    arguments = [sys.executable, "-c", _SCRIPT, how, str(_SIZE), str(2 * LARGE_BYTES[0])]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_what_was_freed_is_used_again_and_large_blocks_are_given_back() -> None:
    kept, plain = _run("kept"), _run("plain")
    pages = 2 * _SIZE / 4096
    assert kept["kept"] is True
    assert plain["faults"] > pages / 2  # else there is nothing to gain here
    assert kept["faults"] < pages / 100
    assert 2 * _SIZE < KEPT_BYTES
    assert kept["grew"] >= 2 * LARGE_BYTES[0]
    assert kept["left"] < LARGE_BYTES[0] / 8
