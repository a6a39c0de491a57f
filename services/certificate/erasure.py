"""What certificate keeps of people, and how it is forgotten. A certificate stays valid, without a name and signed anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.certificate import store, usecases
from services.certificate.domain import SigningKey
from shared.database import Transaction
from shared.database.columns import columns
from shared.people import erasure

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


@dataclass
class Forgotten:
    """Rows changed, by table; and whose rendered certificates are to be removed once that is committed."""

    counts: dict[str, int]
    serials: list[str]


async def forget_viewer(tx: Transaction, signing: SigningKey, campaign_id: str, viewer_id: str, name: str) -> Forgotten:
    await store.one_issuer(tx, campaign_id)
    serials = await _forget_holders(tx, signing, campaign_id, viewer_id, name)
    completions = await tx.change(
        "UPDATE completion SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2", campaign_id, viewer_id, name
    )
    contacts = await tx.change("DELETE FROM contact WHERE campaign_id = $1 AND viewer_id = $2", campaign_id, viewer_id)
    counts = {
        "certificate": len(serials),
        "completion": completions,
        "contact": contacts,
    }
    counts["ledger"] = await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name)
    return Forgotten(counts, serials)


async def forget_people(tx: Transaction, signing: SigningKey, campaign_id: str) -> Forgotten:
    """Names and phone tails of everybody in a campaign."""
    await store.one_issuer(tx, campaign_id)
    serials = await _forget_holders(tx, signing, campaign_id, None, None)
    contacts = await tx.change("DELETE FROM contact WHERE campaign_id = $1", campaign_id)
    counts = {"certificate": len(serials), "contact": contacts}
    counts["ledger"] = await erasure.forget_sealed_in_ledger(tx, campaign_id)
    return Forgotten(counts, serials)


async def _forget_holders(
    tx: Transaction, signing: SigningKey, campaign_id: str, viewer_id: str | None, name: str | None
) -> list[str]:
    serials: list[str] = []
    while True:
        after = serials[-1] if serials else ""
        rows = [
            store.Certificate(*row) for row in await tx.fetch(CERTIFICATES, campaign_id, viewer_id, after, PAGE_ROWS)
        ]
        if not rows:
            return serials
        new = [usecases.without_name(row, name or row.viewer_id, signing) for row in rows]
        changed = [(row.serial, row.viewer_id, row.key_id, row.signature) for row in new]
        await tx.execute(UPDATE, *columns(changed, 4))
        serials += [row.serial for row in rows]


def remove_rendered(folder: Path, serials: Sequence[str]) -> int:
    """Deletes the PDFs kept for these certificates; they are rendered again, without the name, when asked for."""
    paths = [path for serial in serials for path in (folder / serial[:2]).glob(f"{serial}-*")]
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)
