"""Photos that were seen before, labelled again by the user's own heads from their embeddings."""

from typing import Final

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
loses = "which photos were labelled again (their outcomes stay)"

_RESCORING: Final = """
-- How far an owner's photos are labelled by heads, {name: version}, of embeddings by one version.
-- photos … ended_at: the first round, over all photos; changed: by the later ones, too · round_at,
-- since, after: the round in progress, when it began, photos embedded later than what it looks at,
-- and behind which photo it goes on; null: it is over · next_at: when another one begins
CREATE TABLE rescorings (
  owner uuid PRIMARY KEY, heads jsonb NOT NULL, embedding_version text NOT NULL,
  photos bigint NOT NULL, done bigint NOT NULL DEFAULT 0, changed bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz,
  round_at timestamptz NOT NULL DEFAULT now(), since timestamptz, after uuid, next_at timestamptz);

-- The last photo.rescored of each photo: labels as in the event.
CREATE TABLE rescored_photos (
  photo_id uuid PRIMARY KEY, analysis_id uuid NOT NULL, revision int NOT NULL,
  labels jsonb NOT NULL, rescored_at timestamptz NOT NULL);

DROP INDEX embeddings_by_version;
CREATE INDEX embeddings_of_owner ON embeddings (owner, model_version, photo_id);
"""

_REVIEWS: Final = """
-- Of a photo about which a person's answer counts nobody is asked again because it was rescored.
-- The outcome of a rescoring is known by its moment.
CREATE FUNCTION reviews_rescored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.waiting := NOT EXISTS (SELECT FROM rescored_photos s WHERE s.photo_id = NEW.photo_id
    AND s.analysis_id = NEW.analysis_id AND s.rescored_at = NEW.decided_at);
  RETURN NEW;
END $$;
CREATE TRIGGER reviews_rescored BEFORE UPDATE OF decided_at ON reviews FOR EACH ROW
  WHEN (NEW.waiting AND NOT OLD.waiting AND OLD.answer_id IS NOT NULL
    AND NEW.decided_at > OLD.decided_at)
  EXECUTE FUNCTION reviews_rescored();
"""


def upgrade() -> None:
    """Make the tables."""
    for statements in (_RESCORING, _REVIEWS):
        op.execute(statements)


def downgrade() -> None:
    """Drop them."""
    op.execute(
        """
        DROP TRIGGER reviews_rescored ON reviews;
        DROP FUNCTION reviews_rescored;
        DROP INDEX embeddings_of_owner;
        CREATE INDEX embeddings_by_version ON embeddings (owner, model_version);
        DROP TABLE rescored_photos, rescorings
        """
    )
