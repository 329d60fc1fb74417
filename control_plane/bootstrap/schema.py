"""The tables that this version needs, in the database that is there: made, upgraded, or a refusal that says what to run.

An embedded database is brought up to date at every start; a PostgreSQL only by `probegate-server migrate`, since
replicas start whenever they like and a change of its tables is an operator's decision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect, text

# Importing a step's tables puts them on Base.
import control_plane.audit.tables
import control_plane.delivery.tables
import control_plane.foundation.idempotency
import control_plane.identity.issuer.tables
import control_plane.identity.tables
import control_plane.masking.tables
import control_plane.policy.proposal_tables
import control_plane.policy.rule_tables
import control_plane.policy.tables
import control_plane.records.tables
import control_plane.templates.tables
import control_plane.tracepoints.tables  # noqa: F401
from control_plane.foundation.database import Base, Database
from control_plane.foundation.row_security import APP_ROLE, secure, unsecured
from control_plane.migrations import HEAD

METADATA: Final = Base.metadata
MIGRATIONS: Final = Path(__file__).resolve().parents[1] / "migrations"
_LOCK: Final = 0x70_72_6F_62_65  # "probe": two replicas must not migrate at once


class WrongSchema(Exception):
    """The database is not at this version's tables; the text says what to run."""


async def make_ready(database: Database) -> None:
    """An embedded database is made or upgraded, another one is only looked at. Raises WrongSchema."""
    async with database.owner() as connection:
        current = await connection.run_sync(_current)
        if current == HEAD:
            if not database.is_sqlite:
                await connection.run_sync(_refuse_unsecured)
            return
        if not database.is_sqlite:
            raise WrongSchema(
                f"the database is at version {current or 'none'}, this server needs {HEAD}: run `probegate-server migrate`"
            )
        if current is None:
            await connection.run_sync(METADATA.create_all)
            await connection.run_sync(_stamp)
            return
    await upgrade(database)


async def upgrade(database: Database) -> None:
    """All migrations that are missing, in one transaction."""
    async with database.owner() as connection:
        if not database.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(_upgrade)
        if not database.is_sqlite:
            await connection.run_sync(secure, METADATA)


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration for this connection; its `env.py` takes the connection from there."""
    from alembic.config import Config  # not needed at a start with nothing to migrate

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _refuse_unsecured(connection: Connection) -> None:
    """Raises WrongSchema: without row-level security, or as a role that it does not bind, no server starts."""
    found = unsecured(connection, METADATA)
    if found:
        raise WrongSchema(f"row-level security is not as it must be ({found[0]}): run `probegate-server migrate`")
    row = connection.execute(
        text("SELECT rolsuper OR rolbypassrls OR rolcreaterole AS mighty FROM pg_roles WHERE rolname = :role"),
        {"role": APP_ROLE},
    ).one()
    if row.mighty:
        raise WrongSchema(
            f"the role {APP_ROLE} has powers that it must not have: ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS NOCREATEROLE"
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def _stamp(connection: Connection) -> None:
    from alembic import command

    command.stamp(alembic_config(connection), "head")
