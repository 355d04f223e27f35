"""In what order photos are asked about, audits of what was labelled without asking."""

from typing import Final

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
loses = "that a question was an audit; audits that wait are not asked"

_LOTS: Final = """
-- A photo's lot, from 0 to 1: as good as by chance, and the same whenever it is drawn.
CREATE FUNCTION photo_lot(photo uuid) RETURNS double precision
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN ('x' || left(md5(photo::text), 8))::bit(32)::bigint / 4294967296.0;
CREATE INDEX reviews_auto ON reviews (owner, label, photo_lot(photo_id))
  WHERE outcome = 'auto_labeled';
"""

_AUDITS: Final = """
-- audit: nobody would have been asked about this outcome, were it not for the lot
ALTER TABLE reviews ADD COLUMN audit boolean NOT NULL DEFAULT false;
ALTER TABLE review_answers ADD COLUMN audit boolean NOT NULL DEFAULT false;
CREATE INDEX reviews_audits ON reviews (owner, photo_lot(photo_id)) WHERE waiting AND audit;

CREATE OR REPLACE FUNCTION outcomes_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO reviews AS r (
    photo_id, owner, analysis_id, revision, outcome, label, doubt, decided_at, waiting)
  VALUES (NEW.photo_id, NEW.owner, NEW.analysis_id, NEW.revision, NEW.outcome, NEW.label,
    1 - coalesce(NEW.confidence, 0), NEW.decided_at, NEW.outcome <> 'auto_labeled')
  ON CONFLICT (photo_id) DO UPDATE SET
    analysis_id = excluded.analysis_id, revision = excluded.revision, outcome = excluded.outcome,
    label = excluded.label, doubt = excluded.doubt, decided_at = excluded.decided_at, audit = false,
    waiting = excluded.waiting AND NOT EXISTS (SELECT FROM review_answers a
      WHERE a.answer_id = r.answer_id AND a.label IS NOT DISTINCT FROM excluded.label)
  WHERE (excluded.decided_at, excluded.revision, excluded.analysis_id)
    > (r.decided_at, r.revision, r.analysis_id);
  RETURN NULL;
END $$;
"""

_WITHOUT_AUDITS: Final = """
CREATE OR REPLACE FUNCTION outcomes_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO reviews AS r (
    photo_id, owner, analysis_id, revision, outcome, label, doubt, decided_at, waiting)
  VALUES (NEW.photo_id, NEW.owner, NEW.analysis_id, NEW.revision, NEW.outcome, NEW.label,
    1 - coalesce(NEW.confidence, 0), NEW.decided_at, NEW.outcome <> 'auto_labeled')
  ON CONFLICT (photo_id) DO UPDATE SET
    analysis_id = excluded.analysis_id, revision = excluded.revision, outcome = excluded.outcome,
    label = excluded.label, doubt = excluded.doubt, decided_at = excluded.decided_at,
    waiting = excluded.waiting AND NOT EXISTS (SELECT FROM review_answers a
      WHERE a.answer_id = r.answer_id AND a.label IS NOT DISTINCT FROM excluded.label)
  WHERE (excluded.decided_at, excluded.revision, excluded.analysis_id)
    > (r.decided_at, r.revision, r.analysis_id);
  RETURN NULL;
END $$;
"""

_RANKS: Final = """
-- Photos that wait, the one that teaches most first: what the last look at their vectors came to.
-- useful: on the scale of doubt, so that photos that were not looked at have a place among them
CREATE TABLE review_ranks (
  photo_id uuid PRIMARY KEY, owner uuid NOT NULL, analysis_id uuid NOT NULL, revision int NOT NULL,
  useful double precision NOT NULL, place int NOT NULL);
CREATE INDEX review_ranks_order ON review_ranks (owner, place);
"""

_EXAMPLES: Final = """
-- What a machine labelled is read from its outcome, as answers are: it is never written down.
DELETE FROM given_examples WHERE source = 'auto';
ALTER TABLE given_examples DROP CONSTRAINT given_examples_source_check,
  ADD CONSTRAINT given_examples_source_check CHECK (source IN ('person', 'folder'));
"""


def upgrade() -> None:
    """Make the tables."""
    for statements in (_LOTS, _AUDITS, _RANKS, _EXAMPLES):
        op.execute(statements)


def downgrade() -> None:
    """Drop them; audits wait no more."""
    op.execute(
        """
        ALTER TABLE given_examples DROP CONSTRAINT given_examples_source_check,
          ADD CONSTRAINT given_examples_source_check
            CHECK (source IN ('person', 'folder', 'auto'));
        DROP TABLE review_ranks;
        UPDATE reviews SET waiting = false WHERE audit;
        DROP INDEX reviews_audits, reviews_auto;
        ALTER TABLE reviews DROP COLUMN audit;
        ALTER TABLE review_answers DROP COLUMN audit;
        DROP FUNCTION photo_lot
        """
    )
    op.execute(_WITHOUT_AUDITS)
