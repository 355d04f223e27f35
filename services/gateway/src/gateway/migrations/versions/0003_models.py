"""Versions of models, which of them holds and who has it; what shadows say; embedding again.

Tables that events feed have no foreign keys, as in 0001.
"""

from typing import Final

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
loses = "versions of models and which of them holds, what shadows said, who asked to embed again"

_REGISTRY: Final = """
-- Bytes of checkpoints in the object store, by their hash.
CREATE TABLE model_files (
  sha256 text PRIMARY KEY, byte_size bigint NOT NULL, uri text NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT now());

-- files: [{path, sha256, byte_size}] · built_in: as it comes with the services, which told of it
CREATE TABLE model_versions (
  name text, version text, engine text NOT NULL, options jsonb NOT NULL, files jsonb NOT NULL,
  sha256 text NOT NULL, built_in boolean NOT NULL, licence text, source text,
  metrics jsonb NOT NULL DEFAULT '{}', notes text,
  stage text NOT NULL CHECK (stage IN ('candidate', 'active', 'retired')),
  created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (name, version));

-- Every change of a model; the newest generation holds. held_at: since a replica has it
CREATE TABLE model_activations (
  name text, generation bigint, version text NOT NULL, shadow text, shadow_share float8 NOT NULL,
  change text NOT NULL CHECK (change IN ('served', 'activated', 'rolled_back', 'shadowed')),
  reason text, activated_by text NOT NULL, activated_at timestamptz NOT NULL,
  held_at timestamptz,
  PRIMARY KEY (name, generation),
  FOREIGN KEY (name, version) REFERENCES model_versions (name, version));
"""

_REPORTS: Final = """
-- seen_at: by the catalog's own clock, since replicas' clocks differ
CREATE TABLE model_replicas (
  replica text PRIMARY KEY, name text NOT NULL, state text NOT NULL, generation bigint NOT NULL,
  wanted bigint NOT NULL, version text, engine text, shadow text, message text,
  reported_at timestamptz NOT NULL, seen_at timestamptz NOT NULL DEFAULT now());

CREATE TABLE model_comparisons (
  analysis_id uuid, stage text, revision int, shadow_version text, active_version text NOT NULL,
  photo_id uuid NOT NULL, owner uuid NOT NULL, agrees boolean NOT NULL, difference float8 NOT NULL,
  active_says text NOT NULL, shadow_says text NOT NULL, active_confidence float8,
  shadow_confidence float8, active_ms float8 NOT NULL, shadow_ms float8 NOT NULL, error text,
  compared_at timestamptz NOT NULL,
  PRIMARY KEY (stage, shadow_version, analysis_id, revision));
CREATE INDEX model_comparisons_apart ON model_comparisons (stage, shadow_version, difference DESC)
  WHERE NOT agrees;
"""

_EMBEDDINGS: Final = """
-- Photos that were asked to be embedded again by a version; error: why that could not be done
CREATE TABLE embedding_requests (
  photo_id uuid, model_version text, owner uuid NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz, error text,
  PRIMARY KEY (photo_id, model_version));
CREATE INDEX embedding_requests_open ON embedding_requests (requested_at) WHERE ended_at IS NULL;
ALTER TABLE embeddings ADD embedded_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX embeddings_by_version ON embeddings (owner, model_version);
"""


def upgrade() -> None:
    """Make the tables."""
    for statements in (_REGISTRY, _REPORTS, _EMBEDDINGS):
        op.execute(statements)


def downgrade() -> None:
    """Take them away."""
    op.execute(
        """
        DROP INDEX embeddings_by_version;
        ALTER TABLE embeddings DROP embedded_at;
        DROP TABLE embedding_requests, model_comparisons, model_replicas, model_activations,
          model_versions, model_files
        """
    )
