"""Nobody is asked about photos of which a person has said already what is asked."""

from typing import Final

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
loses = "which answers were about examples"

_TAUGHT: Final = """
-- taught: the photo was an example before, so that the answer tells how well it was learned and not
-- how well others are known
ALTER TABLE review_answers ADD COLUMN taught boolean NOT NULL DEFAULT false;
CREATE INDEX given_examples_of_photo ON given_examples (photo_id) WHERE NOT removed;
UPDATE review_answers a SET taught = true WHERE EXISTS (SELECT FROM given_examples g
  WHERE g.photo_id = a.photo_id AND NOT g.removed AND g.said_at <= a.answered_at);
"""

_SAID: Final = """
-- Whether the last that people said of a photo is what is shown: of the answer that holds, and of
-- examples in the sets that have the label, or in all where none is shown.
CREATE FUNCTION review_said(photo uuid, shown text, holds uuid) RETURNS boolean
  LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT said.label IS NOT DISTINCT FROM shown FROM (
      SELECT a.label, a.answered_at AS at FROM review_answers a WHERE a.answer_id = holds
      UNION ALL
      SELECT g.label, g.said_at
      FROM given_examples g JOIN label_sets l ON l.owner = g.owner AND l.name = g.set_name
      WHERE g.photo_id = photo AND NOT g.removed AND (shown IS NULL OR shown = ANY(l.labels))
    ) AS said ORDER BY at DESC LIMIT 1), false)
$$;

CREATE OR REPLACE FUNCTION outcomes_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO reviews AS r (
    photo_id, owner, analysis_id, revision, outcome, label, doubt, decided_at, waiting)
  VALUES (NEW.photo_id, NEW.owner, NEW.analysis_id, NEW.revision, NEW.outcome, NEW.label,
    1 - coalesce(NEW.confidence, 0), NEW.decided_at,
    NEW.outcome <> 'auto_labeled' AND NOT review_said(NEW.photo_id, NEW.label, NULL))
  ON CONFLICT (photo_id) DO UPDATE SET
    analysis_id = excluded.analysis_id, revision = excluded.revision, outcome = excluded.outcome,
    label = excluded.label, doubt = excluded.doubt, decided_at = excluded.decided_at, audit = false,
    waiting = excluded.outcome <> 'auto_labeled'
      AND NOT review_said(r.photo_id, excluded.label, r.answer_id)
  WHERE (excluded.decided_at, excluded.revision, excluded.analysis_id)
    > (r.decided_at, r.revision, r.analysis_id);
  RETURN NULL;
END $$;

-- What is given while a review waits settles it, as an answer would. No audit is left of a photo
-- that is an example: it was drawn to be a stranger.
CREATE FUNCTION examples_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE reviews r SET audit = r.audit AND (NEW.removed OR r.answer_id IS NOT NULL),
    waiting = CASE
      WHEN review_said(r.photo_id, r.label, r.answer_id) THEN false
      WHEN r.outcome = 'auto_labeled' THEN r.waiting AND (NEW.removed OR r.answer_id IS NOT NULL)
      ELSE r.waiting OR (r.answer_id IS NULL AND NOT EXISTS (SELECT FROM given_examples g
        WHERE g.photo_id = r.photo_id AND NOT g.removed)) END
  WHERE r.photo_id = NEW.photo_id
    AND (r.waiting OR r.audit OR (r.answer_id IS NULL AND r.outcome <> 'auto_labeled'));
  RETURN NULL;
END $$;
CREATE TRIGGER examples_review AFTER INSERT OR UPDATE ON given_examples
  FOR EACH ROW EXECUTE FUNCTION examples_review();

-- Of a photo about which a person's word counts nobody is asked again because it was rescored.
CREATE OR REPLACE FUNCTION reviews_rescored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.waiting := NOT (
    (OLD.answer_id IS NOT NULL OR EXISTS (SELECT FROM given_examples g
      WHERE g.photo_id = NEW.photo_id AND NOT g.removed))
    AND EXISTS (SELECT FROM rescored_photos s WHERE s.photo_id = NEW.photo_id
      AND s.analysis_id = NEW.analysis_id AND s.rescored_at = NEW.decided_at));
  RETURN NEW;
END $$;
DROP TRIGGER reviews_rescored ON reviews;
CREATE TRIGGER reviews_rescored BEFORE UPDATE OF decided_at ON reviews FOR EACH ROW
  WHEN (NEW.waiting AND NOT OLD.waiting AND NEW.decided_at > OLD.decided_at)
  EXECUTE FUNCTION reviews_rescored();

UPDATE reviews r SET audit = false, waiting = false
WHERE r.audit AND r.answer_id IS NULL AND EXISTS (SELECT FROM given_examples g
  WHERE g.photo_id = r.photo_id AND NOT g.removed);
UPDATE reviews r SET waiting = false
WHERE r.waiting AND NOT r.audit AND EXISTS (SELECT FROM given_examples g
  WHERE g.photo_id = r.photo_id AND NOT g.removed)
  AND review_said(r.photo_id, r.label, r.answer_id);
"""


def upgrade() -> None:
    """Make the functions, and settle what was said already."""
    for statements in (_TAUGHT, _SAID):
        op.execute(statements)


def downgrade() -> None:
    """As before; what was settled stays so."""
    op.execute(
        """
        DROP TRIGGER examples_review ON given_examples;
        DROP FUNCTION examples_review;
        DROP TRIGGER reviews_rescored ON reviews;
        CREATE OR REPLACE FUNCTION reviews_rescored() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          NEW.waiting := NOT EXISTS (SELECT FROM rescored_photos s
            WHERE s.photo_id = NEW.photo_id AND s.analysis_id = NEW.analysis_id
              AND s.rescored_at = NEW.decided_at);
          RETURN NEW;
        END $$;
        CREATE TRIGGER reviews_rescored BEFORE UPDATE OF decided_at ON reviews FOR EACH ROW
          WHEN (NEW.waiting AND NOT OLD.waiting AND OLD.answer_id IS NOT NULL
            AND NEW.decided_at > OLD.decided_at)
          EXECUTE FUNCTION reviews_rescored();
        CREATE OR REPLACE FUNCTION outcomes_review() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO reviews AS r (
            photo_id, owner, analysis_id, revision, outcome, label, doubt, decided_at, waiting)
          VALUES (NEW.photo_id, NEW.owner, NEW.analysis_id, NEW.revision, NEW.outcome, NEW.label,
            1 - coalesce(NEW.confidence, 0), NEW.decided_at, NEW.outcome <> 'auto_labeled')
          ON CONFLICT (photo_id) DO UPDATE SET
            analysis_id = excluded.analysis_id, revision = excluded.revision,
            outcome = excluded.outcome, label = excluded.label, doubt = excluded.doubt,
            decided_at = excluded.decided_at, audit = false,
            waiting = excluded.waiting AND NOT EXISTS (SELECT FROM review_answers a
              WHERE a.answer_id = r.answer_id AND a.label IS NOT DISTINCT FROM excluded.label)
          WHERE (excluded.decided_at, excluded.revision, excluded.analysis_id)
            > (r.decided_at, r.revision, r.analysis_id);
          RETURN NULL;
        END $$;
        DROP FUNCTION review_said;
        DROP INDEX given_examples_of_photo;
        ALTER TABLE review_answers DROP COLUMN taught
        """
    )
