"""What migrations are written with."""

from typing import Any

from alembic import op
from sqlalchemy.util import await_only


def run(*scripts: str) -> None:
    """Executes SQL scripts of several statements, as Postgres reads them, inside Alembic's transaction."""
    raw: Any = op.get_bind().connection.driver_connection
    for script in scripts:
        await_only(raw.execute(script))
