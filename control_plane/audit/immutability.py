"""The triggers that refuse to change what the log holds, as DDL for each database.

Entries, nodes and checkpoints are written once; the state of a tree only grows. An honest mistake (a stray UPDATE, a
clean-up job, a REPLACE) stops here; a person with the database's own powers is found by `wire.audit_export` instead.
"""

from __future__ import annotations

from string import Template
from typing import Final

from sqlalchemy import DDL
from sqlalchemy.schema import ExecutableDDLElement

_TREES: Final = "audit_trees"
_KEYS: Final = {
    "audit_entries": ("tenant", "number"),
    "audit_nodes": ("tenant", "level", "number"),
    "audit_checkpoints": ("tenant", "size"),
    _TREES: ("tenant",),
}
_GROWS: Final = "NEW.tenant = OLD.tenant AND NEW.size > OLD.size"

_SQLITE: Final = (
    """CREATE TRIGGER ${table}_no_update BEFORE UPDATE ON $table WHEN NOT ($allowed)
BEGIN SELECT RAISE(ABORT, '$table is append-only'); END""",
    """CREATE TRIGGER ${table}_no_delete BEFORE DELETE ON $table
BEGIN SELECT RAISE(ABORT, '$table is append-only'); END""",
    # REPLACE deletes without firing the trigger above, unless recursive triggers are on.
    """CREATE TRIGGER ${table}_no_replace BEFORE INSERT ON $table WHEN EXISTS (SELECT 1 FROM $table WHERE $same)
BEGIN SELECT RAISE(ABORT, '$table is append-only'); END""",
)
_POSTGRESQL: Final = (
    """CREATE FUNCTION ${table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$$$ BEGIN
IF TG_OP = 'UPDATE' AND $allowed THEN RETURN NEW; END IF; RAISE EXCEPTION '$table is append-only'; END $$$$""",
    """CREATE TRIGGER ${table}_no_change BEFORE UPDATE OR DELETE ON $table
FOR EACH ROW EXECUTE FUNCTION ${table}_append_only()""",
    """CREATE TRIGGER ${table}_no_truncate BEFORE TRUNCATE ON $table
FOR EACH STATEMENT EXECUTE FUNCTION ${table}_append_only()""",
)


def statements(table: str, dialect: str) -> list[str]:
    """What to run, one statement each, after the table was created on `sqlite` or `postgresql`."""
    same = " AND ".join(f'"{column}" = NEW."{column}"' for column in _KEYS[table])
    allowed = _GROWS if table == _TREES else "FALSE"
    texts = _SQLITE if dialect == "sqlite" else _POSTGRESQL
    return [Template(text).substitute(table=table, allowed=allowed, same=same) for text in texts]


def guards(table: str) -> list[ExecutableDDLElement]:
    """The same for both databases as DDL that runs on its own database only."""
    return [
        # DDL formats its text with `%`; its constructor has no annotations.
        DDL(text.replace("%", "%%")).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
        for dialect in ("sqlite", "postgresql")
        for text in statements(table, dialect)
    ]
