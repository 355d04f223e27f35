"""Who works, what was measured of it in the last day, and what operators have set."""

from typing import Final

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
loses = (
    "what operators have set, pinned shares of lanes, a day of measurements, events that take "
    "something back and were not sent"
)

_WORKERS: Final = """
-- The last heartbeat of each worker. said: all of it · seen_at: by the catalog's own clock
CREATE TABLE workers (
  worker text PRIMARY KEY, service text NOT NULL, state text NOT NULL, cpu real NOT NULL,
  memory real NOT NULL, every_s real NOT NULL, said jsonb NOT NULL, seen_at timestamptz NOT NULL);

-- What was measured every ten seconds, by the name of its series.
CREATE TABLE samples (at timestamptz PRIMARY KEY, measured jsonb NOT NULL);
"""

_CONTROLS: Final = """
-- What holds for a service or one of its lanes, as ops.control.v1 tells it to its workers.
CREATE TABLE controls (
  target text PRIMARY KEY, rate text, paused boolean NOT NULL, paused_until timestamptz,
  concurrency int, owner text NOT NULL, reason text NOT NULL, changed_at timestamptz NOT NULL);

-- A null value is a tombstone's: nothing holds for the key any more.
ALTER TABLE outbox ALTER COLUMN value DROP NOT NULL;

-- By how much more or less of each lane is let in than the limits say, for the load of the workers.
-- share: as it is measured · pinned: what somebody has set instead, until pinned_until
CREATE TABLE admission_shares (
  lane text PRIMARY KEY, share real NOT NULL, cause text, since timestamptz NOT NULL,
  measured_at timestamptz NOT NULL, pinned real, pinned_until timestamptz, pinned_by text,
  pinned_reason text);

-- How long single photos of the highest lane took lately.
CREATE INDEX outcomes_high ON outcomes (decided_at) WHERE lane = 'high';
"""

_TASKS: Final = """
-- What stages have done, failed at, called off and have yet to do, each the newest first, and by
-- what may be rare among very many.
CREATE INDEX parts_finished ON parts (owner, finished_at DESC);
CREATE INDEX parts_by_model ON parts (owner, model_version, finished_at DESC);
CREATE INDEX parts_slow ON parts (ms);
CREATE INDEX stage_failures_recent ON stage_failures (owner, failed_at DESC);
CREATE INDEX stage_failures_by_code ON stage_failures (owner, code, failed_at DESC);
CREATE INDEX analyses_by_lane ON analyses (owner, lane, submitted_at DESC);
CREATE INDEX analyses_cancelled ON analyses (owner, cancelled_at DESC)
  WHERE cancelled_at IS NOT NULL;

-- open: false once an outcome or a rejection is recorded, so that the few analyses that wait are
-- found among very many that don't. Events come in any order, hence the second trigger. Two
-- transactions that write both at once may leave it true: whoever reads it looks for itself.
ALTER TABLE analyses ADD COLUMN open boolean NOT NULL DEFAULT true;
UPDATE analyses a SET open = false
  WHERE EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id)
     OR EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id);
CREATE INDEX analyses_open ON analyses (owner, submitted_at DESC)
  WHERE open AND cancelled_at IS NULL;

CREATE FUNCTION analyses_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE analyses SET open = false WHERE analysis_id = NEW.analysis_id AND open;
  RETURN NULL;
END $$;
CREATE TRIGGER outcomes_end AFTER INSERT ON outcomes
  FOR EACH ROW EXECUTE FUNCTION analyses_end();
CREATE TRIGGER rejections_end AFTER INSERT ON rejections
  FOR EACH ROW EXECUTE FUNCTION analyses_end();

CREATE FUNCTION analyses_ended_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM outcomes WHERE analysis_id = NEW.analysis_id)
      OR EXISTS (SELECT FROM rejections WHERE analysis_id = NEW.analysis_id) THEN
    UPDATE analyses SET open = false WHERE analysis_id = NEW.analysis_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER analyses_begin AFTER INSERT ON analyses
  FOR EACH ROW EXECUTE FUNCTION analyses_ended_before();
"""

_TRAININGS: Final = """
-- due_at: not before, since models are not trained more often · merged_into: the request that
-- stands for this one, too
ALTER TABLE trainings ADD COLUMN due_at timestamptz, ADD COLUMN merged_into uuid,
  DROP CONSTRAINT trainings_state_check,
  ADD CONSTRAINT trainings_state_check CHECK (state IN ('requested', 'skipped', 'merged'));
"""


def upgrade() -> None:
    """Make the tables."""
    for statements in (_WORKERS, _CONTROLS, _TASKS, _TRAININGS):
        op.execute(statements)


def downgrade() -> None:
    """Drop them."""
    op.execute(
        """
        UPDATE trainings SET state = 'skipped' WHERE state = 'merged';
        ALTER TABLE trainings DROP COLUMN due_at, DROP COLUMN merged_into,
          DROP CONSTRAINT trainings_state_check,
          ADD CONSTRAINT trainings_state_check CHECK (state IN ('requested', 'skipped'));
        DROP TRIGGER outcomes_end ON outcomes;
        DROP TRIGGER rejections_end ON rejections;
        DROP TRIGGER analyses_begin ON analyses;
        DROP FUNCTION analyses_end, analyses_ended_before;
        DROP INDEX parts_finished, parts_by_model, parts_slow, stage_failures_recent,
          stage_failures_by_code, analyses_by_lane, analyses_cancelled, analyses_open,
          outcomes_high;
        ALTER TABLE analyses DROP COLUMN open;
        DELETE FROM outbox WHERE value IS NULL;
        ALTER TABLE outbox ALTER COLUMN value SET NOT NULL;
        DROP TABLE workers, samples, controls, admission_shares
        """
    )
