"""What people are asked about photos and what they answered; their labels and the examples."""

from typing import Final

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
loses = "what people answered in reviews, sets of labels, examples"

_ANSWERS: Final = """
-- What people said that photos show, as review.answered.v1 tells it. label: null for none and skip
-- · suggested_label … model_version: what they were shown · undone_at: it counts no more
CREATE TABLE review_answers (
  answer_id uuid PRIMARY KEY, owner uuid NOT NULL, photo_id uuid NOT NULL,
  analysis_id uuid NOT NULL, revision int NOT NULL, reviewer text NOT NULL,
  answer text NOT NULL CHECK (answer IN ('confirm', 'correct', 'none', 'skip')),
  label text, suggested_label text, suggested_confidence double precision,
  calibrated boolean NOT NULL, model_version text,
  answered_at timestamptz NOT NULL, undone_at timestamptz,
  CHECK ((answer IN ('confirm', 'correct')) = (label IS NOT NULL)));
CREATE INDEX review_answers_of_photo ON review_answers (photo_id, answered_at DESC);
CREATE INDEX review_answers_recent ON review_answers (owner, answered_at DESC, answer_id);
CREATE INDEX review_answers_undone ON review_answers (owner, undone_at)
  WHERE undone_at IS NOT NULL;
"""

_REVIEWS: Final = """
-- What people are asked about a photo: its newest outcome. doubt: from 0 to 1 · answer_id: what
-- holds of all that people said of the photo · waiting: a person shall look, and nobody has said
-- since what it shows · lease: whom it was given to, until when, and what outcome they were shown
CREATE TABLE reviews (
  photo_id uuid PRIMARY KEY, owner uuid NOT NULL, analysis_id uuid NOT NULL, revision int NOT NULL,
  outcome text NOT NULL, label text, doubt double precision NOT NULL,
  decided_at timestamptz NOT NULL, answer_id uuid, waiting boolean NOT NULL,
  lease uuid, leased_to text, leased_until timestamptz, leased_analysis uuid, leased_revision int);
CREATE INDEX reviews_doubtful ON reviews (owner, doubt DESC, decided_at DESC, photo_id)
  WHERE waiting;
CREATE INDEX reviews_recent ON reviews (owner, decided_at DESC, photo_id) WHERE waiting;
CREATE INDEX reviews_answered ON reviews (owner) WHERE answer_id IS NOT NULL;

INSERT INTO reviews (
  photo_id, owner, analysis_id, revision, outcome, label, doubt, decided_at, waiting)
SELECT DISTINCT ON (photo_id) photo_id, owner, analysis_id, revision, outcome, label,
  1 - coalesce(confidence, 0), decided_at, outcome <> 'auto_labeled'
FROM outcomes ORDER BY photo_id, decided_at DESC, revision DESC, analysis_id DESC;

-- Outcomes come in any order. A new one is a new question, unless it says what a person said.
CREATE FUNCTION outcomes_review() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER outcomes_review AFTER INSERT ON outcomes
  FOR EACH ROW EXECUTE FUNCTION outcomes_review();
"""

_LABELS: Final = """
-- A set's name is the name of the model that learns it.
CREATE TABLE label_sets (
  owner uuid, name text, labels text[] NOT NULL, created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (owner, name));

-- The last that was said of a photo beside its reviews. label: null if none of the set fits ·
-- removed: it is no example
CREATE TABLE given_examples (
  owner uuid, set_name text, photo_id uuid, label text, removed boolean NOT NULL DEFAULT false,
  source text NOT NULL CHECK (source IN ('person', 'folder', 'auto')),
  said_by text NOT NULL, said_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (owner, set_name, photo_id),
  FOREIGN KEY (owner, set_name) REFERENCES label_sets);
"""


_REFUSED: Final = """
-- Files of imports that are no photos, for the inbox of failures.
CREATE INDEX batch_items_refused ON batch_items (batch_id) WHERE state = 'refused';
"""


def upgrade() -> None:
    """Make the tables."""
    for statements in (_ANSWERS, _REVIEWS, _LABELS, _REFUSED):
        op.execute(statements)


def downgrade() -> None:
    """Drop them."""
    op.execute(
        """
        DROP INDEX batch_items_refused;
        DROP TRIGGER outcomes_review ON outcomes;
        DROP FUNCTION outcomes_review;
        DROP TABLE given_examples, label_sets, reviews, review_answers
        """
    )
