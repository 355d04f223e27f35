"""What a person does about failures: tries them again, or lays them aside; and dead letters.

What failed is in 0001's tables; here is only what was done about it.
"""

from typing import Final

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
loses = "replays and discards of failures"

_REPLAYS: Final = """
-- chosen: the filter that was asked for · beyond: failures that fit it, too, and were too many
CREATE TABLE failure_replays (
  replay_id uuid PRIMARY KEY, owner uuid NOT NULL, asked_by text NOT NULL, lane text NOT NULL,
  chosen jsonb NOT NULL, beyond bigint NOT NULL, asked_at timestamptz NOT NULL DEFAULT now(),
  stopped_at timestamptz, stopped_by text);
CREATE INDEX failure_replays_recent ON failure_replays (owner, asked_at DESC);

-- A failure as it was when its replay was asked for. sent_at: since its request is in the outbox ·
-- new_analysis_id: of the whole photo, null where only the stage looks again
CREATE TABLE failure_replay_items (
  replay_id uuid NOT NULL REFERENCES failure_replays, place bigint NOT NULL,
  analysis_id uuid NOT NULL, stage text NOT NULL, photo_id uuid NOT NULL,
  code text NOT NULL, message text NOT NULL, failed_at timestamptz NOT NULL,
  sent_at timestamptz, new_analysis_id uuid, ended_at timestamptz,
  result text CHECK (result IN
    ('changed', 'failed_again', 'unanswered', 'impossible', 'settled', 'stopped')),
  PRIMARY KEY (replay_id, place), CHECK ((ended_at IS NULL) = (result IS NULL)));
CREATE UNIQUE INDEX failure_replay_items_open ON failure_replay_items (analysis_id, stage)
  WHERE ended_at IS NULL;
CREATE INDEX failure_replay_items_of ON failure_replay_items (analysis_id, stage);
"""

_DISCARDS: Final = """
-- A failure counts as discarded as long as it has not failed again later.
CREATE TABLE failure_discards (
  discard_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner uuid NOT NULL, analysis_id uuid NOT NULL, stage text NOT NULL,
  failed_at timestamptz NOT NULL, reason text NOT NULL,
  discarded_by text NOT NULL, discarded_at timestamptz NOT NULL DEFAULT now(),
  restored_by text, restored_at timestamptz);
CREATE UNIQUE INDEX failure_discards_hold ON failure_discards (analysis_id, stage)
  WHERE restored_at IS NULL;
CREATE INDEX failure_discards_of ON failure_discards (analysis_id, stage);
"""

_LETTERS: Final = """
-- What lies in the topics of dead letters, a row for each partition where a letter's record died.
-- "offset": of its last letter there · covered: up to where marks mean it · photo_id: its key
CREATE TABLE dead_letters (
  service text, letter_id text, partition int, "offset" bigint, covered bigint,
  code text, message text, photo_id uuid, died_at timestamptz NOT NULL,
  PRIMARY KEY (service, letter_id, partition));
CREATE INDEX dead_letters_died ON dead_letters (died_at);
CREATE INDEX dead_letters_waiting ON dead_letters (service, code)
  WHERE "offset" > coalesce(covered, -1);
CREATE TABLE dead_letter_places (
  service text, partition int, "offset" bigint NOT NULL, PRIMARY KEY (service, partition));
"""

_INDEXES: Final = """
CREATE INDEX outcomes_partial ON outcomes (owner) WHERE partial;
CREATE INDEX rejections_recent ON rejections (owner, rejected_at DESC);
"""


def upgrade() -> None:
    """Make the tables."""
    for statements in (_REPLAYS, _DISCARDS, _LETTERS, _INDEXES):
        op.execute(statements)


def downgrade() -> None:
    """Drop them."""
    op.execute(
        """
        DROP INDEX outcomes_partial, rejections_recent;
        DROP TABLE failure_replay_items, failure_replays, failure_discards, dead_letters,
          dead_letter_places
        """
    )
