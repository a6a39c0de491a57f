"""Dumps one service's database to files and restores it. Rows stream through COPY: no table is ever in memory.

A dump is taken in one read-only REPEATABLE READ transaction while the service runs. It is restored in one transaction: the
service's own migrations make the tables up to the backup's revision, the tables are filled, and then migrated on to what the code
needs.
"""

# ruff: noqa: ASYNC240 - a command runs nothing else in its event loop

import gzip
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.database import Limits, row_count
from shared.database.migrate import MIGRATION_LOCK, alembic_config, withhold
from upkeep.manifest import DatabaseDump, TableDump

GZIP_LEVEL = 3  # level 6 takes three times as long for 8 % less
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 6 * 3600.0  # one table; a full disk or a dead server ends it sooner
LOOKING = Limits(
    statement_s=300,  # a count over the largest table takes seconds; a slow disk is no reason to fail
    lock_s=10,  # if a migration is running, say so instead of hanging
    idle_in_transaction_s=60,
    transaction_s=900,
)
BACKUP = Limits(
    statement_s=STATEMENT_TIMEOUT_S,
    lock_s=600,  # to wait for a migration to end
    idle_in_transaction_s=1800,  # the backup's disk may stand still
    transaction_s=0,  # one snapshot for all tables
    unacknowledged_s=1800,  # because of the same disk
)
RESTORING = Limits(
    statement_s=STATEMENT_TIMEOUT_S,
    lock_s=60,  # nobody else is connected: that was checked before
    idle_in_transaction_s=1800,  # reading the backup from a slow disk
    transaction_s=0,  # all or nothing
)
ERASING = Limits(
    statement_s=3600,  # a campaign's whole ledger may be rewritten
    lock_s=60,  # the running service is quick
    idle_in_transaction_s=300,  # between two pages of the ledger, in which JSON is rewritten here
    transaction_s=0,  # a person is gone everywhere in a service, or nowhere
)
APPLICATION = "fanzha-keeping"

COLUMNS = """
SELECT c.relname AS table_name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'
  AND c.relpersistence = 'p'  -- what is unlogged (wrong_try) is not worth keeping
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND (c.relname, a.attname) <> ('campaign_key', 'private_key')  -- in files of their own: campaign_keys.py
GROUP BY 1 ORDER BY 1
"""
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
DROP_EVERYTHING = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm')
    LOOP
        EXECUTE format('DROP %s IF EXISTS public.%I CASCADE',
                       CASE found.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, found.relname);
    END LOOP;
    FOR found IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
    LOOP
        EXECUTE format('DROP SEQUENCE IF EXISTS public.%I CASCADE', found.relname);
    END LOOP;
    FOR found IN SELECT nspname FROM pg_namespace WHERE nspowner = current_user::regrole AND nspname <> 'public'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', found.nspname);
    END LOOP;
END $$
"""


class CannotRestore(Exception):
    """The database is not in a state to be restored into; the text says why and what to do (zh-Hans)."""


# ---- taking ----------------------------------------------------------------------------------------------------------


async def take(url: str, folder: Path, tell: Callable[[str, int], None]) -> DatabaseDump:
    """Writes every table below `folder` (new). `tell(table, rows)` after each."""
    folder.mkdir(mode=0o700)
    connection = await connect(url, BACKUP)
    try:
        # Taken before the snapshot and held through it, so that no migration changes a table meanwhile.
        await connection.execute("SELECT pg_advisory_lock_shared($1)", MIGRATION_LOCK)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
            taken_at = datetime.now(UTC)
            tables = []
            for name, columns in await connection.fetch(COLUMNS):
                rows = await _copy_out(connection, name, columns, folder / f"{name}.copy.gz")
                tables.append(TableDump(name=name, columns=columns, rows=rows, file=f"{folder.name}/{name}.copy.gz"))
                tell(name, rows)
            # Read last: sequences ignore transactions, so their values are at least as high as those of all rows above.
            sequences = {name: last for name, last in await connection.fetch(SEQUENCES)}
        return DatabaseDump(schema_revision=revision, taken_at=taken_at, tables=tables, sequences=sequences)
    finally:
        await connection.close()


async def _copy_out(connection: Any, table: str, columns: list[str], path: Path) -> int:
    query = f'SELECT {_names(columns)} FROM public."{table}"'  # noqa: S608 - names from the catalogue
    with path.open("xb") as raw, gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as file:
        done: str = await connection.copy_from_query(query, output=file, format="binary", timeout=STATEMENT_TIMEOUT_S)
    return row_count(done)


# ---- putting back ----------------------------------------------------------------------------------------------------


def knows(service: str, revision: str) -> bool:
    """Whether this code can make tables of that schema revision."""
    try:
        return ScriptDirectory.from_config(alembic_config(service)).get_revision(revision) is not None
    except CommandError:
        return False


async def rows_in(url: str) -> int:
    """How many tables have rows; a database without tables has none."""
    connection = await connect(url)
    try:
        tables = [name for name, _ in await connection.fetch(COLUMNS)]
        filled = [await connection.fetchval(f'SELECT EXISTS (SELECT FROM public."{name}")') for name in tables]  # noqa: S608
        return sum(filled)
    finally:
        await connection.close()


async def who_is_connected(url: str) -> list[str]:
    """Names of the programs, other than this one, that use the database."""
    connection = await connect(url)
    try:
        rows = await connection.fetch(
            "SELECT DISTINCT coalesce(nullif(application_name, ''), usename) AS who FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> $1 ORDER BY 1",
            APPLICATION,
        )
        return [row["who"] for row in rows]
    finally:
        await connection.close()


async def put_back(
    service: str,
    url: str,
    folder: Path,
    dump: DatabaseDump,
    tell: Callable[[str, int], None],
    afterwards: Callable[[Any], Awaitable[None]] | None = None,
) -> None:
    """Replaces everything in the database, or nothing. `afterwards` gets the raw connection, in the same transaction."""
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        connect_args={"server_settings": {"application_name": APPLICATION, **RESTORING.settings()}},
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_make_tables, service, dump.schema_revision)
            raw: Any = (await connection.get_raw_connection()).driver_connection
            for table in dump.tables:
                await _copy_in(raw, table, folder / table.file)
                tell(table.name, table.rows)
            for sequence, last in dump.sequences.items():
                await raw.execute("SELECT setval($1::text::regclass, $2)", f'public."{sequence}"', last)
            await connection.run_sync(_upgrade, service, "head")
            await connection.run_sync(withhold, service)
            if afterwards is not None:
                await afterwards(raw)
    finally:
        await engine.dispose()


def _make_tables(connection: Connection, service: str, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.exec_driver_sql(DROP_EVERYTHING)
    _upgrade(connection, service, revision)


def _upgrade(connection: Connection, service: str, revision: str) -> None:
    config = alembic_config(service)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def _copy_in(connection: Any, table: TableDump, path: Path) -> None:
    with gzip.open(path, "rb") as file:
        done: str = await connection.copy_to_table(
            table.name, source=file, columns=table.columns, format="binary", timeout=STATEMENT_TIMEOUT_S
        )
    if (rows := row_count(done)) != table.rows:
        raise CannotRestore(f"{table.file} 应有 {table.rows:,} 行，实际 {rows} 行")


async def connect(url: str, limits: Limits = LOOKING) -> Any:
    """A connection that the other functions recognise as ours. `limits`: its time limits, by default those for reading."""
    settings = {"application_name": APPLICATION, "timezone": "UTC", **limits.settings()}
    return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)


def _names(columns: list[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
