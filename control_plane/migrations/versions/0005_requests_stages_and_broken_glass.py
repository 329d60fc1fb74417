"""Requests that wait, their reviews and starts; roll-outs in stages; uses of the break-glass right; notices; run policies."""

from alembic import op
import sqlalchemy as sa

from control_plane.foundation.database import UtcDateTime


revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tracepoints", schema=None) as batch_op:
        batch_op.add_column(sa.Column("detail", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("requester", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("request_digest", sa.String(length=71), server_default="", nullable=False))
        batch_op.add_column(sa.Column("needs", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("panel", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("starts_at", UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("due_at", UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("lapses_at", UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("process_cap", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("counts", sa.JSON(), server_default="{}", nullable=False))
    op.create_table(
        "tracepoint_reviews",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("tracepoint_id", sa.String(length=40), nullable=False),
        sa.Column("reviewer", sa.String(length=700), nullable=False),
        sa.Column("reviewer_name", sa.String(length=200), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),
        sa.PrimaryKeyConstraint("tenant", "tracepoint_id", "reviewer"),
    )
    op.create_table(
        "rollouts",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("tracepoint_id", sa.String(length=40), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("soak_ms", sa.BigInteger(), nullable=False),
        sa.Column("stage_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("settled_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),
        sa.PrimaryKeyConstraint("tenant", "tracepoint_id"),
    )
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.create_index("rollouts_by_state", ["state"], unique=False)
    op.create_table(
        "break_glass_uses",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("tracepoint_id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=700), nullable=False),
        sa.Column("subject_name", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ticket", sa.String(length=200), nullable=False),
        sa.Column("used_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("review_by", UtcDateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("reviewer", sa.String(length=700), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("reviewed_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant", "tracepoint_id"], ["tracepoints.tenant", "tracepoints.id"]),
        sa.PrimaryKeyConstraint("tenant", "tracepoint_id"),
    )
    op.create_table(
        "notices",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("resource", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("closed_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.create_index("notices_by_age", ["tenant", "at", "id"], unique=False)
    op.create_table(
        "run_policies",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(length=700), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )


def downgrade() -> None:
    op.drop_table("run_policies")
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.drop_index("notices_by_age")
    op.drop_table("notices")
    op.drop_table("break_glass_uses")
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.drop_index("rollouts_by_state")
    op.drop_table("rollouts")
    op.drop_table("tracepoint_reviews")
    with op.batch_alter_table("tracepoints", schema=None) as batch_op:
        for name in (
            "counts",
            "process_cap",
            "lapses_at",
            "due_at",
            "starts_at",
            "panel",
            "needs",
            "request_digest",
            "requester",
            "detail",
        ):
            batch_op.drop_column(name)
