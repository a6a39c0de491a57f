"""Looks for the viewers' names and phones where they must not be (DESIGN §4.8): logs, metrics, streams, databases.

The generated phones share one range that nothing else uses. For names, every run of letters outside ASCII is compared, also where
JSON has written it as `\\u4f60`. An account may stand in an event, but only where its contract says so.
"""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import nats
import nats.errors
from nats.js import api

from demo.people import PHONE_BASE, Viewer
from devstack.home import Home, read_env
from devstack.ports import kept
from devstack.secrets import load_or_create
from shared.bus.topology import SERVICES, STREAMS, inbox_prefix
from shared.contracts.registry import BY_SUBJECT

PHONE = re.compile(rf"(?<!\d){str(PHONE_BASE)[:3]}[ -]?{str(PHONE_BASE)[3:7][:3]}\d[ -]?\d{{4}}(?!\d)")
ACCOUNT = re.compile(r"(?:ks|dy)_\d+")
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
READ_WITHIN_S = 5


@dataclass(frozen=True)
class Seen:
    """Somebody's data where it must not be. `where` is a file, a table or a stream."""

    where: str
    what: str


class Watcher:
    """Knows all generated names and phones."""

    def __init__(self, viewers: Iterable[Viewer]) -> None:
        names = {viewer.name for viewer in viewers if viewer.name}
        self._plain = {name for name in names if NOT_ASCII.sub("", name)}  # compared whole: they have ASCII in them
        self._names = names - self._plain
        self._lengths = sorted({len(name) for name in self._names})

    def seen(self, where: str, data: str | bytes) -> Iterator[Seen]:
        text = data.decode(errors="replace") if isinstance(data, bytes) else data
        yield from (Seen(where, match[0]) for match in PHONE.finditer(text))
        if "\\u" in text:
            text = ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
        for run in set(NOT_ASCII.findall(text)):
            for length in self._lengths:
                for start in range(len(run) - length + 1):
                    if run[start : start + length] in self._names:
                        yield Seen(where, run[start : start + length])
        yield from (Seen(where, name) for name in self._plain if name in text)


def accounts_out_of_place(where: str, subject: str, payload: bytes) -> Iterator[Seen]:
    """Yields accounts in fields that the event's contract calls impersonal, where an erasure would leave them (DESIGN §4.12)."""
    contract = BY_SUBJECT[subject]
    for field, value in json.loads(payload).items():
        if field not in contract.PERSONAL:
            yield from (Seen(f"{where} {field}", account) for account in ACCOUNT.findall(json.dumps(value)))


async def everywhere(home: Home, viewers: Iterable[Viewer], metrics: dict[str, str]) -> tuple[int, list[Seen]]:
    """Searches all these places. Returns how many bytes were read, and the names and phones that were seen."""
    watcher = Watcher(viewers)
    size, seen = 0, []
    async for where, data in _sources(home, metrics):
        size += len(data)
        seen += list(watcher.seen(where, data))
    async for subject, _, data in read_stream(home, "EVENTS"):
        seen += list(accounts_out_of_place(f"event {subject}", subject, data))
    return size, seen


async def _sources(home: Home, metrics: dict[str, str]) -> AsyncIterator[tuple[str, str | bytes]]:
    for path in sorted((home.root / "log").iterdir()):
        yield f"log {path.name}", path.read_bytes()
    for service, page in metrics.items():
        yield f"/metrics of {service}", page
    for stream in STREAMS:
        async for _, headers, data in read_stream(home, stream.name):
            yield f"stream {stream.name}", str(headers)
            yield f"stream {stream.name}", data
    for path in _files(home.nats_data):
        yield f"nats file {path.name}", path.read_bytes()
    for service in SERVICES:
        async for where, row in _rows(home, service):
            yield where, row


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


async def _rows(home: Home, service: str) -> AsyncIterator[tuple[str, str | bytes]]:
    """Every value of every table, bytes as bytes."""
    connection = await asyncpg.connect(read_env(home.service_env(service))["DATABASE_URL"])
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for table in (row[0] for row in tables):
            async with connection.transaction():
                batch: list[str] = []
                async for row in connection.cursor(f'SELECT * FROM "{table}"', prefetch=500):  # noqa: S608 - own tables
                    for value in row.values():
                        if isinstance(value, bytes):
                            yield f"database {service}.{table}", value
                        elif isinstance(value, str | list):
                            batch.append(str(value))
                yield f"database {service}.{table}", "\n".join(batch)
    finally:
        await connection.close()


async def read_stream(home: Home, stream: str) -> AsyncIterator[tuple[str, dict[str, str], bytes]]:
    """Subject, headers and body of every message of a stream. The topology user reads them, who otherwise reads nothing."""
    url = f"nats://topology:{load_or_create(home).nats['topology']}@127.0.0.1:{kept(home).nats}"
    client = await nats.connect(url, inbox_prefix=inbox_prefix("topology"))
    jetstream = client.jetstream(timeout=READ_WITHIN_S)
    name = f"demo-reads-{stream}"
    try:
        state = (await jetstream.stream_info(stream)).state
        if not state.messages:
            return
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
        with contextlib.suppress(nats.errors.Error):
            await jetstream.delete_consumer(stream, name)
        config = api.ConsumerConfig(durable_name=name, deliver_subject=inbox, ack_policy=api.AckPolicy.NONE)
        await jetstream.add_consumer(stream, config=config)
        pending = state.messages
        while pending:
            message: Any = await subscription.next_msg(timeout=READ_WITHIN_S)
            pending = message.metadata.num_pending
            yield message.subject, dict(message.headers or {}), message.data
        await jetstream.delete_consumer(stream, name)
    finally:
        await client.close()
