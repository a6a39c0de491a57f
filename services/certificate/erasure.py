"""Forgets what certificate keeps of people. A certificate stays valid: it is signed anew, without a name."""

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from services.certificate import certificates, store
from services.certificate.domain import SigningKey
from shared.database import Transaction
from shared.database.columns import columns
from shared.people import erasure
from shared.people.campaign_keys import AT_REST_PREFIX
from shared.people.erasure import CannotForget, NewName
from shared.people.forgetting import Counts, ServiceErasure

PAGE_ROWS = 500

CERTIFICATES = (
    f"SELECT {', '.join(store.Certificate._fields)} FROM certificate "  # noqa: S608 - constants
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR viewer_id = $2) AND serial > $3 AND ($2 IS NOT NULL OR name IS NOT NULL) "
    "ORDER BY serial LIMIT $4 FOR UPDATE"
)
UPDATE = """
UPDATE certificate SET viewer_id = given.viewer_id, name = NULL, key_id = given.key_id, signature = given.signature
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS given (serial, viewer_id, key_id, signature)
WHERE certificate.serial = given.serial
"""
RENAME_COMPLETION = "UPDATE completion SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2"
FORGET_CONTACTS = "DELETE FROM contact WHERE campaign_id = $1 AND ($2::text IS NULL OR viewer_id = $2)"
UNDER_OTHER_KEYS = (
    "SELECT (SELECT count(*) FROM contact WHERE campaign_id = $1 AND position($2::bytea IN value) <> 1) "
    "+ (SELECT count(*) FROM certificate WHERE campaign_id = $1 AND position($2::bytea IN name) <> 1)"
)
PEOPLE_DUE = (
    "SELECT count(DISTINCT (campaign_id, viewer_id)) FROM contact WHERE retain_until <= $1 AND value IS NOT NULL"
)


class Erasure(ServiceErasure):
    """Signs certificates anew without their holder's name, which needs the service's key; deletes their PDFs after the commit."""

    KNOWN_KEYS = ("certificate", "notification")
    ACTORS: ClassVar = {"certificate": "revoked_by"}

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        try:
            self._signing = SigningKey(base64.b64decode(environment["CERTIFICATE_SIGNING_KEY"]))
        except KeyError as error:
            raise CannotForget(f"读不到 certificate 的 {error}：去掉姓名以后证书要重新签名") from None
        folder = os.environ.get("PDF_DIR") or environment.get("PDF_DIR")
        self._rendered = Path(folder) if folder else None
        self._serials: list[str] = []  # of certificates whose PDFs are removed after the commit

    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts:
        await store.one_issuer(tx, campaign_id)
        self._serials = await _forget_holders(tx, self._signing, campaign_id, viewer_id, name.account)
        return {
            "certificate": len(self._serials),
            "completion": await tx.change(RENAME_COMPLETION, campaign_id, viewer_id, name.account),
            "contact": await tx.change(FORGET_CONTACTS, campaign_id, viewer_id),
            "ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name),
        }

    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """Removes names and phone tails."""
        await store.one_issuer(tx, campaign_id)
        self._serials = await _forget_holders(tx, self._signing, campaign_id, None, None)
        return {
            "certificate": len(self._serials),
            "contact": await tx.change(FORGET_CONTACTS, campaign_id, None),
            "ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id),
        }

    async def under_deployment_keys(self, tx: Transaction, campaign_id: str) -> int:
        return int(await tx.fetchval(UNDER_OTHER_KEYS, campaign_id, AT_REST_PREFIX))

    @staticmethod
    async def people_due(tx: Transaction, at: datetime) -> int:
        return int(await tx.fetchval(PEOPLE_DUE, at))

    def committed(self) -> Counts:
        return {} if self._rendered is None else {"rendered": _remove_rendered(self._rendered, self._serials)}


async def _forget_holders(
    tx: Transaction, signing: SigningKey, campaign_id: str, viewer_id: str | None, name: str | None
) -> list[str]:
    """Removes the names from a viewer's certificates, or from all of the campaign; returns the serials. `name`: the account's new
    id, None where it stays."""
    serials: list[str] = []
    await store.keep_signing_key(tx, signing.key_id, signing.public_bytes)
    while True:
        after = serials[-1] if serials else ""
        rows = [
            store.Certificate(*row) for row in await tx.fetch(CERTIFICATES, campaign_id, viewer_id, after, PAGE_ROWS)
        ]
        if not rows:
            return serials
        new = [certificates.without_name(row, name or row.viewer_id, signing) for row in rows]
        changed = [(row.serial, row.viewer_id, row.key_id, row.signature) for row in new]
        await tx.execute(UPDATE, *columns(changed, 4))
        serials += [row.serial for row in rows]


def _remove_rendered(folder: Path, serials: Sequence[str]) -> int:
    """Deletes the PDFs kept for these certificates; they are rendered again, without the name, when asked for."""
    paths = [path for serial in serials for path in (folder / serial[:2]).glob(f"{serial}-*")]
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)
