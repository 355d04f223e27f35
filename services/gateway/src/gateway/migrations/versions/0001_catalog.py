"""The catalog: photos, analyses, what was found in them, imports, the outbox.

Tables that events feed have no foreign keys, since events come in any order; their unique keys
make a repetition harmless.
"""

from typing import Final

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
loses = "everything: photos, analyses, imports. Objects stay"

_PHOTOS: Final = """
-- One row per (owner, bytes); written at submission, completed by analysis-requested.
-- source_uri is null only where another producer's photo was refused before we heard of it.
CREATE TABLE photos (
  photo_id uuid PRIMARY KEY, owner uuid NOT NULL, sha256 text NOT NULL, source_uri text,
  byte_size bigint, file_name text, media_type text, width int, height int, orientation int,
  frames int, rendition_uri text, rendition_width int, rendition_height int, thumbnail_uri text,
  taken_at timestamp, camera_make text, camera_model text,
  latitude double precision, longitude double precision,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (owner, sha256));
CREATE INDEX photos_recent ON photos (owner, created_at DESC, photo_id);

CREATE TABLE analyses (
  analysis_id uuid PRIMARY KEY, photo_id uuid NOT NULL, owner uuid NOT NULL,
  submission_id text NOT NULL, lane text NOT NULL,
  revision int NOT NULL DEFAULT 1, policy_revision int NOT NULL DEFAULT 1, file_name text,
  submitted_at timestamptz NOT NULL, requested_at timestamptz, intake_ms double precision);
CREATE INDEX analyses_of_photo ON analyses (photo_id, submitted_at DESC);
"""

_RESULTS: Final = """
-- body: detector: category, labels, objects, caption, calibrated
--       ocr: text, lines · embedder: labels, dimension
CREATE TABLE parts (
  analysis_id uuid, stage text, revision int, photo_id uuid NOT NULL, owner uuid NOT NULL,
  engine text NOT NULL, model_version text NOT NULL, ms double precision NOT NULL,
  finished_at timestamptz NOT NULL, body jsonb NOT NULL, words tsvector NOT NULL,
  PRIMARY KEY (analysis_id, stage, revision));
CREATE INDEX parts_of_photo ON parts (photo_id);
CREATE INDEX parts_words ON parts USING gin (words);

CREATE TABLE embeddings (
  photo_id uuid, model_version text, owner uuid NOT NULL, vector vector NOT NULL,
  PRIMARY KEY (photo_id, model_version));

CREATE TABLE stage_failures (
  analysis_id uuid, stage text, revision int, photo_id uuid NOT NULL, owner uuid NOT NULL,
  code text NOT NULL, message text NOT NULL, attempts int NOT NULL, failed_at timestamptz NOT NULL,
  PRIMARY KEY (analysis_id, stage, revision));

CREATE TABLE outcomes (
  analysis_id uuid, revision int, photo_id uuid NOT NULL, owner uuid NOT NULL,
  policy_revision int NOT NULL, lane text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('auto_labeled', 'suggested', 'review')),
  label text, confidence double precision, calibrated boolean NOT NULL, category text,
  labels jsonb NOT NULL, partial boolean NOT NULL, failed_stages text[] NOT NULL,
  parts jsonb NOT NULL, reason text NOT NULL, decided_at timestamptz NOT NULL,
  event_id uuid NOT NULL,
  PRIMARY KEY (analysis_id, revision));
CREATE INDEX outcomes_of_photo ON outcomes (photo_id);
CREATE INDEX outcomes_recent ON outcomes (owner, decided_at DESC);

CREATE TABLE rejections (
  analysis_id uuid, revision int, photo_id uuid NOT NULL, owner uuid NOT NULL, file_name text,
  code text NOT NULL, message text NOT NULL, rejected_at timestamptz NOT NULL,
  PRIMARY KEY (analysis_id, revision));
CREATE INDEX rejections_of_photo ON rejections (photo_id);
"""

_BATCHES: Final = """
-- roots: absolute paths as asked for · found, duplicates, refused, submitted: the scan (control) ·
-- totals: the last of batch.progressed, or batch.completed (recorder)
CREATE TABLE batches (
  batch_id uuid PRIMARY KEY, owner uuid NOT NULL, lane text NOT NULL,
  state text NOT NULL CHECK (state IN ('scanning', 'running', 'completed')),
  roots jsonb NOT NULL, expected bigint,
  found bigint NOT NULL DEFAULT 0, duplicates bigint NOT NULL DEFAULT 0,
  refused bigint NOT NULL DEFAULT 0, submitted bigint NOT NULL DEFAULT 0,
  totals jsonb,
  started_at timestamptz NOT NULL, completed_at timestamptz);

CREATE TABLE batch_items (
  batch_id uuid NOT NULL REFERENCES batches, index bigint NOT NULL, path text NOT NULL,
  state text NOT NULL CHECK (state IN ('submitted', 'duplicate', 'refused')),
  photo_id uuid, analysis_id uuid, duplicate_of uuid, code text, message text,
  PRIMARY KEY (batch_id, index));
-- The hash, because an index entry holds 2.7 kB at most and a path may be longer.
CREATE UNIQUE INDEX batch_items_path ON batch_items (batch_id, md5(path));
CREATE INDEX batch_items_of_photo ON batch_items (photo_id);
CREATE INDEX batch_items_of_analysis ON batch_items (analysis_id);
"""

_OUTBOX: Final = """
-- value: Avro in the Confluent wire format, encoded when it was written.
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL, key text NOT NULL,
  event_id uuid NOT NULL, value bytea NOT NULL, headers jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
"""

_TABLES: Final = (
    "outbox, batch_items, batches, rejections, outcomes, stage_failures, embeddings, parts,"
    " analyses, photos"
)


def upgrade() -> None:
    """Make all tables."""
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    for statements in (_PHOTOS, _RESULTS, _BATCHES, _OUTBOX):
        op.execute(statements)


def downgrade() -> None:
    """Drop all tables; the extension stays, since others may use it in this database."""
    op.execute(f"DROP TABLE {_TABLES}")
