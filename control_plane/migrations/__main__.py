"""Write the next migration: the difference between what the migrations build and what the tables say."""

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command

from control_plane.bootstrap.schema import alembic_config, upgrade
from control_plane.foundation.database import Database


async def main(message: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite+aiosqlite:///{directory}/migrating.db")
        await upgrade(database)
        async with database.owner() as connection:
            await connection.run_sync(
                lambda sync: command.revision(alembic_config(sync), message, autogenerate=True, rev_id=f"{_next():04d}")
            )
        await database.close()


def _next() -> int:
    return 1 + len(list((Path(__file__).parent / "versions").glob("[0-9]*.py")))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
