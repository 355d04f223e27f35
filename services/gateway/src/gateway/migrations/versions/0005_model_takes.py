"""What versions of a stage's model may be, as its replicas say.

Tables that events feed have no foreign keys, as in 0001.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
loses = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        -- engines: [name] · options: {name: JSON Schema, as text}
        CREATE TABLE model_takes (
          name text PRIMARY KEY, engines jsonb NOT NULL, options jsonb NOT NULL,
          reported_at timestamptz NOT NULL)
        """
    )


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP TABLE model_takes")
