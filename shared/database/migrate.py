"""Migrations: `python -m shared.database SERVICE` brings a service's database to the newest schema, as the owner role.

A one-shot job under an advisory lock: any number may start at once, one works, the others find nothing to do.
"""

import importlib
import importlib.util
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.database import Limits
from shared.database.rights import CHANGING, WITHHELD

MIGRATION_LOCK = 0x46_41_4E_5A  # "FANZ"
DATABASE_WAIT_S = 60
LIMITS = Limits(
    statement_s=0,  # an index over a province's viewers takes as long as it takes
    lock_s=6 * 3600,  # to wait for our turn: a backup holds the migration lock from beginning to end
    idle_in_transaction_s=60,  # between two statements we only compute
    transaction_s=0,  # no limit: the whole migration is one transaction
)
TABLE_LOCK_WAIT = "30s"  # services' transactions are open for less; while we wait, new ones wait behind us


def alembic_config(service: str) -> Config:
    spec = importlib.util.find_spec(f"services.{service}")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"there is no service named {service}")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("version_locations", str(Path(spec.submodule_search_locations[0]) / "migrations"))
    config.set_main_option("path_separator", "newline")
    return config


def newest_schema(service: str) -> str | None:
    """The revision that the code expects (the head of the service's migrations)."""
    return ScriptDirectory.from_config(alembic_config(service)).get_current_head()


def is_enough(present: str | None, needed: str | None) -> bool:
    """Whether code that needs the schema `needed` works on the schema `found`. It works on the same and on newer ones, because a
    release only adds to the schema and a later one removes (docs/operations/upgrade.md). Revisions are numbers of four digits."""
    return present is not None and needed is not None and present >= needed


def _upgrade(connection: Connection, service: str, table_lock_wait: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.execute(text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": table_lock_wait})
    # A schema that is enough stays: it is ours, or a later version made it and the service was rolled back since.
    if not is_enough(_current(connection), newest_schema(service)):
        config = alembic_config(service)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    withhold(connection, service)


def withhold(connection: Connection, service: str) -> None:
    """Revokes rights that the database's default privileges (deploy/postgres/provision.sql) grant to others than the owner."""
    service_rights = importlib.import_module(f"services.{service}.rights")
    changing: dict[str, str] = CHANGING | service_rights.CHANGING
    for table, rights in (WITHHELD | service_rights.WITHHELD).items():
        grantees = connection.execute(
            text(
                "SELECT grantee::regrole::text, bool_or(privilege_type = 'INSERT') FROM pg_class, aclexplode(relacl) "
                "WHERE oid = to_regclass('public.' || :table) AND grantee NOT IN (0, relowner) GROUP BY 1"
            ),
            {"table": table},
        )
        for grantee, writes in grantees.all():
            connection.execute(text(f"REVOKE {rights} ON {table} FROM {grantee}"))
            if writes and table in changing:
                connection.execute(text(f"GRANT UPDATE ({changing[table]}) ON {table} TO {grantee}"))


def _current(connection: Connection) -> str | None:
    if connection.execute(text("SELECT to_regclass('public.alembic_version')")).scalar() is None:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


@retry(
    retry=retry_if_exception_type((OSError, ConnectionError)),
    stop=stop_after_delay(DATABASE_WAIT_S),
    wait=wait_fixed(0.5),
    reraise=True,
)
async def migrate(service: str, url: str, *, table_lock_wait: str = TABLE_LOCK_WAIT) -> None:
    """Upgrades the database at `url` (postgresql://owner:password@host:port/database) to the newest schema, or changes nothing:
    where a table stays locked for `table_lock_wait`, the job fails, and may be run again."""
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1), connect_args={"server_settings": LIMITS.settings()}
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, service, table_lock_wait)
    finally:
        await engine.dispose()
