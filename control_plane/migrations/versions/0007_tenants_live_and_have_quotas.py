"""Tenants are suspended and deleted, and have quotas; rows beyond one are counted."""

from alembic import op
import sqlalchemy as sa

from control_plane.foundation.database import UtcDateTime


revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenant_usage",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("window", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("events_before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "tenant_quotas",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(length=700), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.tenant"]),
        sa.PrimaryKeyConstraint("tenant"),
    )
    with op.batch_alter_table("record_accounting", schema=None) as batch_op:
        batch_op.add_column(sa.Column("over_quota", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("tenants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=20), nullable=False, server_default="active"))
        batch_op.add_column(sa.Column("state_reason", sa.String(length=1000), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("state_changed_at", UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("state_changed_by", sa.String(length=700), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("tenants", schema=None) as batch_op:
        for column in ("state_changed_by", "state_changed_at", "state_reason", "state"):
            batch_op.drop_column(column)
    with op.batch_alter_table("record_accounting", schema=None) as batch_op:
        batch_op.drop_column("over_quota")
    op.drop_table("tenant_quotas")
    op.drop_table("tenant_usage")
