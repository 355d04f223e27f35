"""PostgreSQL's advisory locks that the gateway takes; one table, so that no two are the same.

The upper half of each is "dark" in ASCII, and the first of two keys "dark" or "darl", to keep clear
of other programs on the same database.
"""

from typing import Final

MIGRATING: Final = 0x6461726B_00000001
"""Held by the transaction that migrates: two that start together take turns."""

RELAY: Final = 0x6461726B_00000002
"""Held by the one control door that publishes the outbox."""

IMPORTS: Final = 0x6461726B_00000003
"""Held by the one control door that runs the imports."""

NOTICES: Final = 0x6461726B_00000020
"""Held by the one control door that sends notices."""

POLICIES: Final = 0x6461726B_00000010
"""Held by the transaction that makes a policy: revisions are made one after the other."""

MODELS: Final = 0x6461726B_00000011
"""Held by the one control door that has photos embedded again."""

LOADS: Final = 0x6461726B_00000012
"""Held by the one control door that measures how much waits."""

REPLAYS: Final = 0x6461726B_00000013
"""Held by the one control door that tries failures again."""

LETTERS: Final = 0x6461726B_00000014
"""Held by the one control door that follows the dead letters."""

OPERATIONS: Final = 0x6461726B_00000015
"""Held by the one control door that follows the workers and keeps a day of measurements."""

MEASURES: Final = 0x6461726B_0000001F
"""Held by the one control door that measures for Prometheus what no process knows by itself."""

SHARES: Final = 0x6461726B_00000016
"""Held by the one control door that fits what is let in to the load of the workers."""

CONTROLS: Final = 0x6461726B_00000017
"""Held while somebody changes what workers shall obey."""

TRAININGS: Final = 0x6461726B_00000018
"""Held by the transaction that records requests to train: which of them stands is decided one after
the other."""

REVIEWS: Final = 0x6461726B_00000030
"""Held by the one control door that ranks reviews and draws audits."""

RESCORING: Final = 0x6461726B_00000019
"""Held by the one control door that has photos labelled again by the heads of now."""

LEARNING: Final = 0x6461726B_0000001A
"""Held by the one control door that has trainings begin."""

LABEL_SETS: Final = 0x6461726B_0000001E
"""Held by the transaction that makes a set of labels: no two have the same name but for case."""

SCHEDULES: Final = 0x6461726B_00000008
"""Held by the one control door that begins jobs."""

JOBS: Final = 0x6461726B
"""First of two keys, the second is the hash of a job's name: held by a run of that job. Locks of
two keys are apart from those of one."""

TOLD: Final = 0x6461726C
"""First of two keys, the second is the hash of a notice's subject: held by the transaction that
records what a service says of it."""
