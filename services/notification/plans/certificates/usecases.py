"""Keeps certificates as facts, and plans the messages that they cause: an implementation of `Kind` (plans/kinds.py).

The caller opens the transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.notification.plans import store as contacts
from services.notification.plans.certificates import domain, store
from services.notification.plans.certificates.domain import Text
from services.notification.plans.certificates.store import Cause
from services.notification.plans.domain import RETAIN_FOR, Content, Key, Plan
from services.notification.plans.secrets import Secrets, opened, readable
from shared.contracts.certificate import CertificateIssuedV1, CertificateRevokedV1
from shared.database import Transaction
from shared.definitions import Definitions, InForce
from shared.people.campaign_keys import CampaignKeys

NAME: Final = domain.CERTIFICATE_READY

# --- facts ------------------------------------------------------------------------------------------------------------


async def keep_issued(tx: Transaction, event: CertificateIssuedV1, secrets: Secrets) -> None:
    """Keeps issued certificates with their claim codes. Raises `Poison` where the codes cannot be read."""
    campaign_id = event.campaign_id
    campaign_keys = await secrets.recipient.keys(tx, campaign_id, event.occurred_at)
    codes = opened(event.claim_codes, event.viewer_ids, campaign_keys)
    rows = {
        Cause(campaign_id, row.viewer_id, row.serial): store.IssuedRow(
            campaign_id,
            row.viewer_id,
            row.serial,
            row.issued_at,
            _encrypted(code, campaign_keys, f"{campaign_id}/{row.viewer_id}/{row.serial}"),
        )
        for row, code in zip(event.rows(), codes, strict=True)
    }
    await contacts.touch_contacts(
        tx, sorted((row.campaign_id, row.viewer_id, row.issued_at + RETAIN_FOR) for row in rows.values())
    )
    await store.keep_issued(tx, [rows[cause] for cause in sorted(rows)])


async def keep_revoked(tx: Transaction, event: CertificateRevokedV1) -> None:
    await store.keep_revoked(tx, sorted({Cause(event.campaign_id, row.viewer_id, row.serial) for row in event.rows()}))


def _encrypted(claim_code: bytes | None, campaign_keys: CampaignKeys, bound_to: str) -> bytes | None:
    if claim_code is None:
        return None
    return campaign_keys.vault.encrypt(readable(domain.claim_code_in, claim_code), bound_to)


# --- the methods of `Kind` --------------------------------------------------------------------------------------------


async def plan(tx: Transaction, definitions: Definitions[InForce], limit: int) -> dict[Key, Plan | None]:
    causes = await store.lock_to_plan(tx, limit)
    if not causes:
        return {}
    in_force = await definitions.of(tx, {cause.campaign_id for cause in causes})
    plans = {
        certificate.key: domain.plan(certificate, in_force[certificate.campaign_id].rules)
        for certificate in await store.certificates(tx, causes)
    }
    await store.mark_planned(tx, {cause: in_force[cause.campaign_id].revision for cause in causes})
    return plans


async def plan_again(tx: Transaction, keys: Sequence[Key]) -> None:
    await store.plan_again(tx, sorted(map(_cause_of, keys)))


async def plan_again_for(tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
    await store.plan_again_for(tx, viewers)


async def contents(tx: Transaction, campaign_keys: CampaignKeys, keys: Sequence[Key]) -> dict[Key, Content]:
    decrypt = campaign_keys.vault.decrypt
    by_key: dict[Key, Content] = {}
    for campaign_id, viewer_id, serial, phone, claim_code in await store.sendable(tx, [_cause_of(key) for key in keys]):
        viewer = f"{campaign_id}/{viewer_id}"
        code = "" if claim_code is None else decrypt(claim_code, f"{viewer}/{serial}")
        values = {"serial": serial, "claim_code": code}
        by_key[Key(campaign_id, NAME, serial, viewer_id)] = Content(decrypt(phone, viewer), values)
    return by_key


async def forget(tx: Transaction, viewers: Sequence[tuple[str, str]]) -> None:
    await store.forget(tx, viewers)


async def unplanned(tx: Transaction) -> int:
    return await store.unplanned(tx)


# --- texts that name no certificate -----------------------------------------------------------------------------------


async def certificates_known(tx: Transaction) -> dict[str, int]:
    """Certificates, by campaign, that are issued and not revoked as far as notification was told. Reads the whole table."""
    return await store.certificates_known(tx)


async def texts(tx: Transaction, after: Text | None, limit: int) -> list[Text]:
    """A page of the texts for certificates that are not known to be revoked."""
    return await store.texts(tx, after, limit)


async def cancel_texts(tx: Transaction, unfounded: Sequence[Text], now: datetime) -> int:
    """Marks these certificates, which do not exist, so that no text is sent about them; returns how many texts this cancels."""
    return await store.cancel_texts(tx, unfounded, now)


def _cause_of(key: Key) -> Cause:
    """The certificate that a message is about: its serial is the key's period."""
    return Cause(key.campaign_id, key.recipient, key.period)
