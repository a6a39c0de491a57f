"""Tries to read people's data as an intruder would who has got the deployment's secrets, databases, stream and backups."""

import base64
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
from cryptography.exceptions import InvalidTag
from nats.js import api

from shared.bus.topology import inbox_prefix
from shared.contracts.registry import BY_SUBJECT
from shared.people.campaign_keys import CampaignKeys, Recipient
from shared.people.erasure import sealed_in
from shared.people.sealing import CannotOpen
from tests.support.databases import fresh_database
from tests.support.deployment import WholeDeployment
from upkeep import dump, manifest
from upkeep.campaign_keys import ANNOUNCEMENTS

Read = set[tuple[str, str]]
"""(campaign, name, phone or claim code)"""

AT_REST = {
    "certificate": "SELECT campaign_id, value, campaign_id || '/' || viewer_id FROM contact WHERE value IS NOT NULL UNION ALL "
    "SELECT campaign_id, name, campaign_id || '/' || viewer_id FROM certificate WHERE name IS NOT NULL",
    "notification": "SELECT campaign_id, phone, campaign_id || '/' || viewer_id FROM contact WHERE phone IS NOT NULL UNION ALL "
    "SELECT campaign_id, claim_code, campaign_id || '/' || viewer_id || '/' || serial FROM certificate "
    "WHERE claim_code IS NOT NULL",
}


class Intruder:
    """`keys`: service → campaign → a private half as it stands in a row or a file."""

    def __init__(self, stack: WholeDeployment) -> None:
        self._stack = stack

    async def databases(self) -> Read:
        """What can be read in the services' databases."""
        urls = {service: database.owner_url for service, database in self._stack.databases.items()}
        return await self._read(urls, await _keys_in(urls))

    async def stream(self) -> Read:
        urls = {service: database.owner_url for service, database in self._stack.databases.items()}
        return self._unsealed(await _messages(self._stack), await _keys_in(urls))

    async def backup(self, folder: Path) -> Read:
        """What can be read in a backup with its own keys and those in the databases."""
        content = manifest.read(folder)
        live = {service: database.owner_url for service, database in self._stack.databases.items()}
        keys = await _keys_in(live)
        for service in ANNOUNCEMENTS:
            for path in (folder / "keys" / service).glob("*.json"):
                key_file = json.loads(path.read_text())
                if key_file["private_key"]:
                    keys[service][key_file["campaign_id"]] = base64.b64decode(key_file["private_key"])
        copies = {service: await fresh_database(self._stack.postgres, service) for service in content.databases}
        for service, copy in copies.items():
            await dump.put_back(service, copy.owner_url, folder, content.databases[service], lambda *_: None)
        read = await self._read({service: copy.owner_url for service, copy in copies.items()}, keys)
        for copy in copies.values():
            await self._stack.postgres.drop(copy.name)
        return read

    async def _read(self, urls: Mapping[str, str], keys: dict[str, dict[str, bytes]]) -> Read:
        read: Read = set()
        for service, url in urls.items():
            connection = await dump.connect(url)
            rows = await connection.fetch(AT_REST[service]) if service in AT_REST else []
            ledger = await connection.fetch(
                "SELECT subject, payload FROM outbox UNION ALL "
                "SELECT subject, payload FROM dead_letter WHERE payload IS NOT NULL"
            )
            await connection.close()
            for campaign_id, value, bound_to in rows:
                with suppress(KeyError, InvalidTag):
                    read.add((campaign_id, self._opener(service, campaign_id, keys).vault.decrypt(value, bound_to)))
            read |= self._unsealed(((row["subject"], row["payload"]) for row in ledger), keys)
        return read

    def _unsealed(self, events: Iterable[tuple[str, bytes]], keys: dict[str, dict[str, bytes]]) -> Read:
        read: Read = set()
        for subject, payload in events:
            event = json.loads(payload)
            for column in sealed_in(BY_SUBJECT[subject], payload):
                for service in ANNOUNCEMENTS:
                    with suppress(CannotOpen):
                        boxes = self._opener(service, event["campaign_id"], keys).open(column, event["viewer_ids"])
                        read |= {(event["campaign_id"], text) for box in boxes if box for text in _texts(box)}
        return read

    def _opener(self, service: str, campaign_id: str, keys: dict[str, dict[str, bytes]]) -> CampaignKeys:
        environment = self._stack.environment(service)
        contact_keys = json.loads(environment["CONTACT_KEYS"])
        recipient = Recipient(ANNOUNCEMENTS[service], environment["SEALING_PRIVATE_KEY"], contact_keys)
        sealed = keys[service].get(campaign_id)
        campaign_key = sealed and recipient.vault.decrypt_bytes(sealed, f"campaign key {campaign_id}")
        return CampaignKeys(service, environment["SEALING_PRIVATE_KEY"], contact_keys, campaign_key or None, False)


def _texts(box: bytes) -> list[str]:
    """The texts in an opened box: a contact is JSON, a claim code is plain text."""
    try:
        return [text for text in json.loads(box).values() if text]
    except ValueError:
        return [box.decode()]


async def _keys_in(urls: Mapping[str, str]) -> dict[str, dict[str, bytes]]:
    keys: dict[str, dict[str, bytes]] = {}
    for service in ANNOUNCEMENTS:
        connection = await dump.connect(urls[service])
        rows = await connection.fetch("SELECT campaign_id, private_key FROM campaign_key WHERE private_key IS NOT NULL")
        await connection.close()
        keys[service] = {row["campaign_id"]: row["private_key"] for row in rows}
    return keys


async def _messages(stack: WholeDeployment) -> list[tuple[str, bytes]]:
    """Everything in the stream of events, with its subject, through a consumer of the topology user."""
    client = await nats.connect(stack.nats.url("topology"), inbox_prefix=inbox_prefix("topology"))
    try:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info("EVENTS")).state.last_seq
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox)
        config = api.ConsumerConfig(durable_name="intruder", deliver_subject=inbox, ack_policy=api.AckPolicy.NONE)
        await jetstream.add_consumer("EVENTS", config=config)
        messages: list[tuple[str, bytes]] = []
        sequence = 0
        while sequence < last:
            message: Any = await subscription.next_msg(timeout=30)
            sequence = message.metadata.sequence.stream
            messages.append((message.subject, message.data))
        await jetstream.delete_consumer("EVENTS", "intruder")
        return messages
    finally:
        await client.close()
