"""Groups, strength and issuer's name of console sessions; service accounts with owner and end; trust rules; personal tokens."""

from alembic import op
import sqlalchemy as sa

from control_plane.foundation.database import UtcDateTime


revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "issuer_trust_rules",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("account", sa.String(length=63), nullable=False),
        sa.Column("issuer", sa.String(length=400), nullable=False),
        sa.Column("audience", sa.String(length=255), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=700), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "logout_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "personal_tokens",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("shown", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=700), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    with op.batch_alter_table("personal_tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_personal_tokens_token_hash"), ["token_hash"], unique=False)

    with op.batch_alter_table("issuer_service_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("created_by", sa.String(length=700), server_default="", nullable=False))
        batch_op.add_column(sa.Column("owner", sa.String(length=700), server_default="", nullable=False))
        batch_op.add_column(sa.Column("expires_at", UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("last_used_at", UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("revision", sa.Integer(), server_default="1", nullable=False))

    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("groups", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("context_class", sa.String(length=255), server_default="", nullable=False))
        batch_op.add_column(sa.Column("issuer_session", sa.String(length=255), server_default="", nullable=False))
        batch_op.create_index("ix_sessions_subject", ["issuer", "subject"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_index("ix_sessions_subject")
        batch_op.drop_column("issuer_session")
        batch_op.drop_column("context_class")
        batch_op.drop_column("groups")

    with op.batch_alter_table("issuer_service_accounts", schema=None) as batch_op:
        batch_op.drop_column("revision")
        batch_op.drop_column("last_used_at")
        batch_op.drop_column("expires_at")
        batch_op.drop_column("owner")
        batch_op.drop_column("created_by")

    with op.batch_alter_table("personal_tokens", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_personal_tokens_token_hash"))

    op.drop_table("personal_tokens")
    op.drop_table("logout_tokens")
    op.drop_table("issuer_trust_rules")
