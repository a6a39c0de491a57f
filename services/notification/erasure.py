"""What notification keeps of people, and how it is forgotten. That something was sent stays, to whom does not."""

from shared.database import Transaction
from shared.people import erasure

# What was not sent is not sent any more. The certificate's row goes, so that no later definition plans the text again.
CANCEL = (
    "UPDATE notification SET status = 'cancelled', reason = 'erased' "
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR recipient = $2) AND status = 'queued'"
)
RENAME = "UPDATE notification SET recipient = $3 WHERE campaign_id = $1 AND recipient = $2"
DELETE = "DELETE FROM {table} WHERE campaign_id = $1 AND ($2::text IS NULL OR viewer_id = $2)"


async def forget_viewer(tx: Transaction, campaign_id: str, viewer_id: str, name: str) -> dict[str, int]:
    """Rows changed, by table."""
    counts = await _forget(tx, campaign_id, viewer_id)
    renamed = await tx.change(RENAME, campaign_id, viewer_id, name)
    ledger = await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name)
    return counts | {"notification": renamed, "ledger": ledger}


async def forget_people(tx: Transaction, campaign_id: str) -> dict[str, int]:
    """Phones and claim codes of everybody in a campaign. Texts that wait are not sent any more."""
    counts = await _forget(tx, campaign_id, None)
    return counts | {"ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id)}


async def _forget(tx: Transaction, campaign_id: str, viewer_id: str | None) -> dict[str, int]:
    statements = {"cancelled": CANCEL} | {table: DELETE.format(table=table) for table in ("certificate", "contact")}
    return {what: await tx.change(sql, campaign_id, viewer_id) for what, sql in statements.items()}
