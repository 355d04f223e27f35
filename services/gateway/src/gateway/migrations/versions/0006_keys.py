"""Who may ask: keys with their roles, and the sessions of pages that were signed in with one.

A source's name is that of its job, and jobs are all owners'.
"""

from typing import Final

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
loses = "keys and sessions: nobody has a key any more"

# secret_sha256: the secret is 256 random bits, which nobody guesses, so a plain hash is enough: a
# slow one protects what people make up. name: for ever, since the audit log knows keys by it.
_KEYS: Final = """
CREATE TABLE api_keys (
  key_id text PRIMARY KEY, name text NOT NULL UNIQUE, secret_sha256 bytea NOT NULL,
  role text NOT NULL CHECK (role IN ('viewer', 'uploader', 'reviewer', 'trainer', 'admin')),
  owner text NOT NULL, created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz);

-- A session lives no longer than its key.
CREATE TABLE sessions (
  session_sha256 bytea PRIMARY KEY, key_id text NOT NULL REFERENCES api_keys,
  created_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL);

ALTER TABLE sources ADD CONSTRAINT sources_name UNIQUE (name);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(_KEYS)


def downgrade() -> None:
    """Drop them."""
    op.execute("ALTER TABLE sources DROP CONSTRAINT sources_name; DROP TABLE sessions, api_keys")
