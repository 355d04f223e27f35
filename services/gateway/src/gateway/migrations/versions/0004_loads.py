"""How much of each lane is not done yet, as it was measured last.

A replica of the api door that refuses work reads it, and so needs neither Kafka nor the others.
"""

from typing import Final

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
loses = None

# measured_at: by the catalog's own clock, before anything was looked at
_LOADS: Final = """
CREATE TABLE lane_loads (
  lane text PRIMARY KEY, state text NOT NULL CHECK (state IN ('open', 'warned', 'closed')),
  records bigint NOT NULL, outbox bigint NOT NULL, stages jsonb NOT NULL, retries jsonb NOT NULL,
  retry_after_s int NOT NULL, cause text, measured_at timestamptz NOT NULL,
  since timestamptz NOT NULL);
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(_LOADS)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE lane_loads")
