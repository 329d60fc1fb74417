"""The database's tables, version by version, as Alembic runs them; `bootstrap.schema` calls it.

After a change of a step's tables.py:  python -m control_plane.migrations "what changed"
That writes the difference to versions/ for you to read and correct; put its revision into `HEAD`.
A test compares what the migrations build with what the tables say, on SQLite and on PostgreSQL.
"""

HEAD = "0009"  # the newest file in versions/
