"""Trainings as a state machine with a fence by model; heads in the registry of models."""

from typing import Final

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
loses = "the user's own models, and what became of trainings"

_TRAININGS: Final = """
-- note: what it waits for, then what came of it · waits_since: it was due and nothing else of the
-- model was under way · against: the version that held when it was prepared · token … said_at: what
-- its trainer said last, progressed_at the same by the catalog's clock · version: what it made
-- · tidied_at: what it learned from is not kept any more
ALTER TABLE trainings
  DROP CONSTRAINT trainings_state_check,
  ADD CONSTRAINT trainings_state_check CHECK (state IN ('requested', 'skipped', 'merged',
    'prepared', 'running', 'published', 'candidate', 'not_enough', 'failed', 'cancelled',
    'timed_out')),
  ADD forced boolean NOT NULL DEFAULT false,
  ADD waits_since timestamptz, ADD prepared_at timestamptz, ADD against text,
  ADD token bigint, ADD worker text, ADD step text, ADD done double precision,
  ADD said_at timestamptz, ADD progressed_at timestamptz, ADD started_at timestamptz,
  ADD version text, ADD metrics jsonb, ADD report_uri text, ADD seconds double precision,
  ADD tidied_at timestamptz;
CREATE INDEX trainings_waiting ON trainings (due_at) WHERE ended_at IS NULL;
CREATE INDEX trainings_of_model ON trainings (owner, model, requested_at DESC);
CREATE UNIQUE INDEX trainings_under_way ON trainings (owner, model)
  WHERE state IN ('prepared', 'running');

-- The highest token of a trainer that was heard of; nothing by a lower one is taken any more.
CREATE TABLE training_fences (
  owner uuid, model text, fence bigint NOT NULL, PRIMARY KEY (owner, model));
"""

_HEADS: Final = """
-- embedding_version: of a head, the version of the embedder whose vectors it labels
ALTER TABLE model_versions ADD embedding_version text;

-- heads: {name: generation} that a replica of the embedder obeys · heads_failed: {name: why not}
ALTER TABLE model_replicas
  ADD heads jsonb NOT NULL DEFAULT '{}', ADD heads_failed jsonb NOT NULL DEFAULT '{}';
"""


def upgrade() -> None:
    """Add the columns and the fences."""
    for statements in (_TRAININGS, _HEADS):
        op.execute(statements)


def downgrade() -> None:
    """Take them away. Heads go with what told of them: nothing could name them any more."""
    op.execute(
        """
        ALTER TABLE model_replicas DROP heads, DROP heads_failed;
        DELETE FROM model_comparisons WHERE stage LIKE 'head:%';
        DELETE FROM model_activations WHERE name LIKE 'head:%';
        DELETE FROM model_versions WHERE name LIKE 'head:%';
        ALTER TABLE model_versions DROP embedding_version;
        DROP TABLE training_fences;
        DROP INDEX trainings_under_way, trainings_of_model, trainings_waiting;
        UPDATE trainings SET state = CASE
          WHEN ended_at IS NULL THEN 'requested' ELSE 'skipped' END
          WHERE state NOT IN ('requested', 'skipped', 'merged');
        ALTER TABLE trainings DROP CONSTRAINT trainings_state_check,
          ADD CONSTRAINT trainings_state_check
            CHECK (state IN ('requested', 'skipped', 'merged')),
          DROP forced, DROP waits_since, DROP prepared_at, DROP against, DROP token, DROP worker,
          DROP step, DROP done, DROP said_at, DROP progressed_at, DROP started_at, DROP version,
          DROP metrics, DROP report_uri, DROP seconds, DROP tidied_at;
        """
    )
