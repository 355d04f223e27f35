"""Imports as a state machine, their ends by file; policies, sources, schedules, notices.

Of an event's subject (photo, analysis, import) the tables that events feed have no foreign keys,
as in 0001.
"""

from typing import Final

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
loses = (
    "policies, sources, schedules and their runs, notices, channels, the audit log, requests to "
    "train, the ends of imports' files; paused imports go on, cancelled ones count as completed"
)

_IMPORTS: Final = """
-- kind, location: where its files come from, as gateway.origins reads it · sealed: no file comes
-- any more · a pause holds the scan until somebody resumes it, or until paused_until
ALTER TABLE batches DROP CONSTRAINT batches_state_check;
ALTER TABLE batches
  ADD CONSTRAINT batches_state_check CHECK (state IN ('scanning', 'paused', 'running',
    'cancelling', 'completed', 'completed_with_failures', 'cancelled')),
  ADD kind text NOT NULL DEFAULT 'folder'
    CHECK (kind IN ('folder', 'archive', 'upload', 'store', 'reprocess')),
  ADD location jsonb NOT NULL DEFAULT '{}',
  ADD source_id uuid,
  ADD sealed boolean NOT NULL DEFAULT false,
  ADD waits_for text,
  ADD paused_by text, ADD paused_at timestamptz, ADD paused_until timestamptz,
  ADD cancelled_by text, ADD cancelled_at timestamptz;
UPDATE batches SET sealed = state <> 'scanning';
CREATE INDEX batches_recent ON batches (owner, started_at DESC);

-- ended: what batch.photo-ended said first of a submitted file
ALTER TABLE batch_items
  ADD recorded_at timestamptz NOT NULL DEFAULT now(),
  ADD byte_size bigint,
  ADD ended text
    CHECK (ended IN ('auto_labeled', 'suggested', 'review', 'rejected', 'cancelled')),
  ADD partial boolean NOT NULL DEFAULT false,
  ADD ended_at timestamptz;
UPDATE batch_items i SET ended = o.outcome, partial = o.partial, ended_at = o.decided_at
  FROM outcomes o WHERE o.analysis_id = i.analysis_id AND o.revision = 1 AND i.state = 'submitted';
UPDATE batch_items i SET ended = 'rejected', ended_at = r.rejected_at
  FROM rejections r
  WHERE r.analysis_id = i.analysis_id AND i.state = 'submitted' AND i.ended IS NULL;
CREATE INDEX batch_items_open ON batch_items (batch_id, index)
  WHERE state = 'submitted' AND ended IS NULL;
CREATE INDEX batch_items_failed ON batch_items (batch_id, index)
  WHERE state = 'refused' OR ended = 'rejected' OR partial;

-- awaited: somebody else than an import joined it, so that no cancelled import ends it
ALTER TABLE analyses ADD cancelled_at timestamptz, ADD awaited boolean NOT NULL DEFAULT false;
CREATE INDEX analyses_submitted ON analyses (submitted_at);
"""

_SAMPLES: Final = """
-- [[seconds since 1970, files ended], ...], the oldest first: what the rate and the time left are
-- reckoned from. A trigger, since two doors move an import: the scan (control) and the recorder.
-- A pause begins anew: it is no slowness.
ALTER TABLE batches ADD samples jsonb NOT NULL DEFAULT '[]';

CREATE FUNCTION batches_sample() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  at numeric := round(extract(epoch FROM clock_timestamp()), 1);
  done bigint := greatest(NEW.duplicates, (NEW.totals ->> 'duplicates')::bigint)
    + greatest(NEW.refused, (NEW.totals ->> 'rejected')::bigint)
    + coalesce((NEW.totals ->> 'accepted')::bigint, 0);
  sample jsonb := jsonb_build_array(jsonb_build_array(at, done));
BEGIN
  IF TG_OP = 'INSERT' THEN
    at := round(extract(epoch FROM NEW.started_at), 1);
    NEW.samples := jsonb_build_array(jsonb_build_array(at, done));
  ELSIF OLD.state = 'paused' AND NEW.state <> 'paused' THEN
    NEW.samples := sample;
  ELSIF at - coalesce((OLD.samples -> -1 ->> 0)::numeric, 0) >= 2 THEN
    NEW.samples := CASE WHEN jsonb_array_length(OLD.samples) < 64 THEN OLD.samples
      ELSE OLD.samples - 0 END || sample;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER batches_sample
  BEFORE INSERT OR UPDATE OF state, duplicates, refused, totals ON batches
  FOR EACH ROW EXECUTE FUNCTION batches_sample();
"""

_POLICIES: Final = """
-- Revisions from 2; revision 1 is what the aggregator's settings say.
-- labels: {label: [auto_above, review_below]}
CREATE TABLE policies (
  revision int PRIMARY KEY CHECK (revision > 1),
  auto_above double precision NOT NULL, review_below double precision NOT NULL,
  labels jsonb NOT NULL, reason text NOT NULL, changed_by text NOT NULL,
  changed_at timestamptz NOT NULL);

CREATE TABLE trainings (
  request_id uuid PRIMARY KEY, owner uuid NOT NULL, model text NOT NULL,
  reason text NOT NULL, batch_id uuid,
  state text NOT NULL CHECK (state IN ('requested', 'skipped')), note text,
  requested_at timestamptz NOT NULL, ended_at timestamptz);
CREATE INDEX trainings_recent ON trainings (owner, requested_at DESC);

-- Who changed what: never updated.
CREATE TABLE audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
  who text NOT NULL, what text NOT NULL, subject text NOT NULL, detail jsonb NOT NULL DEFAULT '{}');
CREATE INDEX audit_recent ON audit (at DESC);
"""

_SOURCES: Final = """
-- A folder or a prefix of a store that is looked through again and again.
-- location: as of an import of the same kind · schedule: cron, or null: by hand only
CREATE TABLE sources (
  source_id uuid PRIMARY KEY, owner uuid NOT NULL, name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('folder', 'store')), location jsonb NOT NULL,
  lane text NOT NULL, schedule text,
  deletions text NOT NULL CHECK (deletions IN ('report', 'forget')),
  enabled boolean NOT NULL DEFAULT true, created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (owner, name));

-- What a source held when it was last looked through; version: size and time, or the store's tag.
CREATE TABLE source_files (
  source_id uuid NOT NULL REFERENCES sources ON DELETE CASCADE,
  path_hash text NOT NULL, path text NOT NULL, version text NOT NULL,
  photo_id uuid, batch_id uuid NOT NULL, seen_at timestamptz NOT NULL, gone_at timestamptz,
  PRIMARY KEY (source_id, path_hash));
"""

_SCHEDULES: Final = """
-- Jobs are declared by the control door; their rows hold when, and what came of it.
CREATE TABLE jobs (
  name text PRIMARY KEY, schedule text NOT NULL, enabled boolean NOT NULL DEFAULT true,
  next_at timestamptz, asked_at timestamptz, asked_by text);

CREATE TABLE job_runs (
  run_id uuid PRIMARY KEY, job text NOT NULL,
  reason text NOT NULL CHECK (reason IN ('schedule', 'catch_up', 'person')), asked_by text,
  due_at timestamptz NOT NULL, started_at timestamptz NOT NULL, ended_at timestamptz,
  state text NOT NULL
    CHECK (state IN ('running', 'done', 'failed', 'interrupted', 'skipped')),
  report jsonb NOT NULL DEFAULT '{}', error text);
CREATE INDEX job_runs_recent ON job_runs (job, started_at DESC);
"""

_NOTICES: Final = """
-- What a person should know; owner null: whoever runs Darkroom.
CREATE TABLE notices (
  notice_id uuid PRIMARY KEY, owner uuid, kind text NOT NULL, service text NOT NULL,
  subject text NOT NULL, severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
  title text NOT NULL, detail text NOT NULL, occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX notices_recent ON notices (recorded_at DESC);

-- Whom to tell, by which way, of what. kinds empty: all.
CREATE TABLE channels (
  channel_id uuid PRIMARY KEY, owner uuid NOT NULL, name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('log', 'webhook', 'email', 'websocket')),
  target jsonb NOT NULL, kinds text[] NOT NULL DEFAULT '{}', least_severity text NOT NULL,
  enabled boolean NOT NULL DEFAULT true, created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (owner, name));

CREATE TABLE deliveries (
  notice_id uuid NOT NULL REFERENCES notices ON DELETE CASCADE,
  channel_id uuid NOT NULL REFERENCES channels ON DELETE CASCADE,
  state text NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
  attempts int NOT NULL DEFAULT 0, next_at timestamptz NOT NULL DEFAULT now(), error text,
  delivered_at timestamptz,
  PRIMARY KEY (notice_id, channel_id));
CREATE INDEX deliveries_waiting ON deliveries (next_at) WHERE state = 'waiting';
"""

_NEW: Final = (
    "deliveries, channels, notices, job_runs, jobs, source_files, sources, audit, trainings,"
    " policies"
)


def upgrade() -> None:
    """Add the columns and make the tables."""
    for statements in (_IMPORTS, _SAMPLES, _POLICIES, _SOURCES, _SCHEDULES, _NOTICES):
        op.execute(statements)


def downgrade() -> None:
    """Take them away. States that 0001 does not know become those that it has."""
    op.execute(f"DROP TABLE {_NEW}")
    op.execute(
        """
        DROP TRIGGER batches_sample ON batches;
        DROP FUNCTION batches_sample;
        DROP INDEX analyses_submitted, batch_items_failed, batch_items_open, batches_recent;
        ALTER TABLE analyses DROP cancelled_at, DROP awaited;
        ALTER TABLE batch_items DROP recorded_at, DROP byte_size, DROP ended, DROP partial,
          DROP ended_at;
        ALTER TABLE batches DROP samples, DROP CONSTRAINT batches_state_check;
        UPDATE batches SET state = CASE
          WHEN state IN ('paused', 'cancelling') AND sealed THEN 'running'
          WHEN state IN ('paused', 'cancelling') THEN 'scanning'
          WHEN state IN ('completed_with_failures', 'cancelled') THEN 'completed'
          ELSE state END;
        ALTER TABLE batches ADD CONSTRAINT batches_state_check
            CHECK (state IN ('scanning', 'running', 'completed')),
          DROP kind, DROP location, DROP source_id, DROP sealed, DROP waits_for, DROP paused_by,
          DROP paused_at, DROP paused_until, DROP cancelled_by, DROP cancelled_at;
        """
    )
