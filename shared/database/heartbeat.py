"""Checks that commits are real: writes a row through the pool that all work uses and reads it back through another connection
(DESIGN §4.1).

Readiness asks for the latest beat instead of asking the database, so a probe takes no connection away from work. Probes that come
at the same time wait for the same beat. A probe may give up earlier; the beat then still runs to its end.
"""

import asyncio
import time
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Gauge

from shared.database import Database, migrate

log = structlog.get_logger()

BEAT_EVERY_S = 5.0
FRESH_S = 0.1  # however often somebody asks, a beat costs an fsync
BEAT_WITHIN_S = 20.0  # then it is interrupted, and its connection closed


class Heartbeat:
    """`reader` must not share connections with `db`."""

    def __init__(self, db: Database, reader: Database, schema: str | None) -> None:
        self._db = db
        self._reader = reader
        self._schema = schema
        self._process = uuid4()
        self._beat = 0
        self._running: asyncio.Task[str] | None = None
        self._ended_at = 0.0
        self._confirmed = Gauge(
            "fanzha_commits_confirmed",
            "1 while a row that was committed can be read through another connection. 0: /health/ready says why.",
            registry=None,
        )

    def register_metrics(self, registry: CollectorRegistry) -> None:
        registry.register(self._confirmed)

    async def run(self) -> None:
        """Beats for ever, so that the metric is true although nobody asks for readiness."""
        while True:
            await self.check(BEAT_WITHIN_S)
            await asyncio.sleep(BEAT_EVERY_S)

    async def check(self, within_s: float) -> str:
        """ "ok", or a sentence that says what is wrong."""
        if self._running is None or (self._running.done() and time.monotonic() > self._ended_at + FRESH_S):
            self._running = asyncio.create_task(self._once())
        running = self._running
        await asyncio.wait({running}, timeout=within_s)
        return running.result() if running.done() else f"no answer after {within_s:g} s"

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._reader.close()

    async def _once(self) -> str:
        try:
            async with asyncio.timeout(BEAT_WITHIN_S):
                state = await self._schema_state() or await self._write_and_read()
        except Exception as error:
            state = f"not reachable: {type(error).__name__}"
        self._confirmed.set(state == "ok")
        self._ended_at = time.monotonic()
        return state

    async def _schema_state(self) -> str | None:
        """What is wrong with the schema, or None."""
        async with self._reader.transaction() as tx:
            version = await tx.fetchval("SELECT version_num FROM alembic_version")
        if migrate.is_enough(version, self._schema):
            return None
        return f"schema is {version}, the code needs {self._schema}: run the migration job"

    async def _write_and_read(self) -> str:
        self._beat += 1
        async with self._db.transaction() as tx:
            await tx.execute(
                "INSERT INTO heartbeat (process, beat) VALUES ($1, $2) "
                "ON CONFLICT (process) DO UPDATE SET beat = excluded.beat, beaten_at = now()",
                self._process,
                self._beat,
            )
            if self._beat == 1:  # rows of processes that are gone
                await tx.execute("DELETE FROM heartbeat WHERE beaten_at < now() - interval '1 day'")
        async with self._reader.transaction() as tx:
            beat_read = await tx.fetchval("SELECT beat FROM heartbeat WHERE process = $1", self._process)
        if beat_read == self._beat:
            return "ok"
        log.critical("a committed row cannot be read: every connection is closed", written=self._beat, read=beat_read)
        await self._db.discard_connections()
        return "what was committed cannot be read through another connection; all connections were replaced"
