"""The trainer, but a training stands at a pause for as long as a test wants: `python -m
trainer_program`, with the folder of its files in TRAINER_HOLD."""

import os
import time
from functools import partial
from itertools import count
from pathlib import Path

from trainer.app import run
from trainer.settings import Settings

_pauses = count(1)


def stand(folder: str) -> None:
    """Stand at the pause whose number `hold` has, and at all after it, while that file is there.
    `held` says so, with the process."""
    hold, number = Path(folder, "hold"), next(_pauses)
    while hold.exists() and number >= int(hold.read_text() or "0"):
        Path(folder, f"held-{os.getpid()}").touch()
        time.sleep(0.02)


if __name__ == "__main__":
    settings = Settings.from_command_line("python -m trainer_program")
    run(settings, partial(stand, os.environ["TRAINER_HOLD"]))
