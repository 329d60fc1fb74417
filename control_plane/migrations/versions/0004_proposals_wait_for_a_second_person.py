"""Proposals wait for a second person; a policy's versions are only those that were in force."""

from alembic import op
import sqlalchemy as sa

from control_plane.foundation.database import UtcDateTime


revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proposals",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("resource", sa.String(length=800), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("base", sa.String(length=71), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("needs", sa.JSON(), nullable=False),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("author", sa.String(length=700), nullable=False),
        sa.Column("author_groups", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("lapses_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.String(length=700), nullable=False),
        sa.Column("decided_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.create_index("proposals_by_state", ["tenant", "state"], unique=False)
    # What waited there has to be proposed again; the log keeps who asked for it.
    op.execute("DELETE FROM policy_versions WHERE state IN ('proposed', 'rejected')")


def downgrade() -> None:
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.drop_index("proposals_by_state")
    op.drop_table("proposals")
