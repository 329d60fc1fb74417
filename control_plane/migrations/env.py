"""Run by Alembic with the connection that `bootstrap.schema` hands over: its transaction, its database."""

from alembic import context

from control_plane.bootstrap.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite changes a table by copying it
    compare_type=True,
    user_module_prefix="",
)
with context.begin_transaction():
    context.run_migrations()
