"""A campaign's own keys: destroying them erases its contacts everywhere, in old backups too (DESIGN §4.8).

Each service that opens contacts (a recipient) makes a random X25519 pair when it first hears of a campaign, and publishes the
public half; a service that seals uses it once it has arrived, and the deployment's public key before. What the recipient keeps of
the campaign's people it encrypts under a key derived from the private half, which exists in its table `campaign_key`, encrypted
under `CONTACT_KEYS`, and in one file per backup (upkeep/campaign_keys.py). It exists nowhere else and cannot be derived again.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import nacl.public
import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.bus import outbox
from shared.contracts.base import CampaignKeyMade, SealedColumn
from shared.database import Transaction
from shared.ids import new_event_id
from shared.people import sealing
from shared.people.at_rest import Vault
from shared.people.sealing import CannotOpen

log = structlog.get_logger()

KEY_ID = "@campaign"  # names a campaign's own key in what is encrypted under it; `fanzha init` names no key like this
AT_REST_PREFIX = f"{KEY_ID}:".encode()  # how such a value begins (`Vault`)
PublicKeys = Mapping[str, str | None]
"""recipient → its public key for a campaign (base64); None once that is destroyed."""


# ---- whoever seals ---------------------------------------------------------------------------------------------------


async def learn(tx: Transaction, event: CampaignKeyMade) -> None:
    """Keeps a recipient's public key. The newest announcement wins; what was destroyed stays destroyed."""
    await tx.execute(
        """
        INSERT INTO campaign_key AS k (campaign_id, recipient, announced_by, public_key) VALUES ($1, $2, $3, $4)
        ON CONFLICT (campaign_id, recipient) DO UPDATE
        SET announced_by = excluded.announced_by, public_key = excluded.public_key
        WHERE k.destroyed_at IS NULL AND k.announced_by < excluded.announced_by
        """,
        event.campaign_id,
        event.OWNER,
        event.event_id,
        event.public_key,
    )


async def public_keys(tx: Transaction, campaign_id: str) -> PublicKeys:
    """The recipients' public keys for the campaign, as far as they have arrived."""
    rows = await tx.fetch(
        "SELECT recipient, CASE WHEN destroyed_at IS NULL THEN public_key END FROM campaign_key WHERE campaign_id = $1",
        campaign_id,
    )
    return {recipient: public_key for recipient, public_key in rows}


def seal(
    deployment: Mapping[str, str], campaign: PublicKeys, secrets: Sequence[bytes | None], bound_to: Sequence[str]
) -> SealedColumn | None:
    """Seals to the recipients' keys for the campaign. A recipient whose key has not arrived gets it sealed to its key of the
    deployment, one whose key is destroyed gets nothing. Returns None where no recipient is left."""
    recipients = {
        name: key for name, fallback in deployment.items() if (key := campaign.get(name, fallback)) is not None
    }
    return sealing.seal(recipients, secrets, bound_to) if recipients else None


# ---- whoever opens ---------------------------------------------------------------------------------------------------


class CampaignKeys:
    """A recipient's keys for one campaign: with them it opens, keeps and finds contacts."""

    def __init__(
        self, name: str, deployment: str, contact_keys: Mapping[str, str], campaign_key: bytes | None, gone: bool
    ) -> None:
        self._name = name
        self._private_keys = (
            [deployment] if campaign_key is None else [base64.b64encode(campaign_key).decode(), deployment]
        )
        self._campaign_key = campaign_key
        self.destroyed = gone
        at_rest = (
            {} if campaign_key is None else {KEY_ID: base64.b64encode(_derived(campaign_key, b"at rest")).decode()}
        )
        self.vault = Vault({**contact_keys, **at_rest})
        """Encrypts under the campaign's key; also decrypts what is encrypted under the deployment's."""

    def open(self, column: SealedColumn | None, bound_to: Sequence[str]) -> list[bytes | None]:
        """Opens what was sealed for this recipient; only Nones once the key is destroyed. Raises `CannotOpen`."""
        if column is None or self.destroyed:
            return [None] * len(bound_to)
        *campaign, deployment = self._private_keys
        for key in campaign:
            try:
                return sealing.unseal(column, self._name, key, bound_to)
            except CannotOpen:
                pass  # sealed before the campaign's key had reached the sender
        return sealing.unseal(column, self._name, deployment, bound_to)

    def decrypt(self, value: bytes | None, bound_to: str) -> str | None:
        """Decrypts a value; None where there is none, or its key is destroyed."""
        if value is None or (self.destroyed and value.startswith(AT_REST_PREFIX)):
            return None
        return self.vault.decrypt(value, bound_to)

    @property
    def lookup_key(self) -> str:
        """The key (base64) of the hash by which a phone is found again inside the campaign. The deployment's key would not do:
        whoever has it could find the phone behind a hash in an old backup, since there are few phones to try."""
        assert self._campaign_key is not None  # noqa: S101 - nothing is opened, and so nothing is looked up, after destruction
        return base64.b64encode(_derived(self._campaign_key, b"lookup")).decode()


class Recipient:
    """A service that opens contacts: its keys of the deployment, and through them those of each campaign."""

    def __init__(self, announcement: type[CampaignKeyMade], private_key: str, contact_keys: Mapping[str, str]) -> None:
        self._announcement = announcement
        self._name = announcement.OWNER
        self._private_key = private_key
        self._contact_keys = dict(contact_keys)
        self.vault = Vault(contact_keys)

    async def keys(self, tx: Transaction, campaign_id: str, now: datetime) -> CampaignKeys:
        """The keys for a transaction that writes: they are made at the first call, and cannot be destroyed before `tx` ends."""
        if (row := await self._row(tx, campaign_id, "FOR SHARE")) is None:
            await self._make(tx, campaign_id, now)
            row = await self._row(tx, campaign_id, "FOR SHARE")
        return self._of(campaign_id, row)

    async def keys_to_read(self, tx: Transaction, campaign_id: str) -> CampaignKeys:
        return self._of(campaign_id, await self._row(tx, campaign_id, ""))

    async def _row(self, tx: Transaction, campaign_id: str, lock: str) -> Any:
        return await tx.fetchrow(
            f"SELECT private_key FROM campaign_key WHERE campaign_id = $1 AND recipient = $2 {lock}",  # noqa: S608
            campaign_id,
            self._name,
        )

    async def _make(self, tx: Transaction, campaign_id: str, now: datetime) -> None:
        pair = nacl.public.PrivateKey.generate()
        event = self._announcement(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=campaign_id,
            public_key=base64.b64encode(bytes(pair.public_key)).decode(),
        )
        made = await tx.fetchval(
            "INSERT INTO campaign_key (campaign_id, recipient, announced_by, public_key, private_key) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true",
            campaign_id,
            self._name,
            event.event_id,
            event.public_key,
            self.vault.encrypt_bytes(bytes(pair), _row_of(campaign_id)),
        )
        if made:  # else another transaction was first and announces its key
            await outbox.add(tx, event)
            log.info("campaign key made", campaign=campaign_id)

    def _of(self, campaign_id: str, row: Any) -> CampaignKeys:
        sealed = None if row is None else row["private_key"]
        campaign_key = None if sealed is None else self.vault.decrypt_bytes(sealed, _row_of(campaign_id))
        gone = row is not None and campaign_key is None
        return CampaignKeys(self._name, self._private_key, self._contact_keys, campaign_key, gone)


def _row_of(campaign_id: str) -> str:
    return f"campaign key {campaign_id}"


def _derived(private_key: bytes, use: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"fanzha campaign key: " + use).derive(private_key)


# ---- the end ---------------------------------------------------------------------------------------------------------


async def destroy(tx: Transaction, campaign_id: str, recipients: Iterable[str], now: datetime) -> int:
    """Destroys these recipients' keys for the campaign, for ever: none is made, learnt or used again. Returns how many were
    destroyed."""
    rows = await tx.fetch(
        """
        INSERT INTO campaign_key AS k (campaign_id, recipient, destroyed_at) SELECT $1, unnest($2::text[]), $3
        ON CONFLICT (campaign_id, recipient) DO UPDATE SET private_key = NULL, destroyed_at = excluded.destroyed_at
        WHERE k.destroyed_at IS NULL RETURNING recipient
        """,
        campaign_id,
        sorted(recipients),
        now,
    )
    return len(rows)


async def overwrite_destroyed(tx: Transaction) -> None:
    """Removes old versions of destroyed rows, which have the keys and which Postgres would keep. Not inside a transaction."""
    await tx.execute("VACUUM (FULL) campaign_key")
