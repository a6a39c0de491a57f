"""Keeps the forms of campaigns, and counts what this version does not know in them. The caller opens the transaction."""

from pydantic import ValidationError

from services.reporting.obligations import store
from shared.contracts.campaign_forms_reading import read_forms
from shared.contracts.checkin import FormsDefinedV1
from shared.database import Transaction
from shared.failures import Poison


async def keep_forms(tx: Transaction, event: FormsDefinedV1) -> None:
    """Keeps the forms of one revision. Raises `Poison` where they cannot be read, since every later question about them would
    fail.

    Values that only a newer version knows can be read: they are left out and counted (`forms_unknown`)."""
    try:
        read_forms(event.forms, event.indicators)
    except ValidationError as error:
        at = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise Poison(f"forms cannot be read: {error.error_count()} faults, first {at}") from None
    await store.keep_forms(tx, event)


async def forms_unknown(tx: Transaction) -> dict[str, int]:
    """Campaign → how many values in its forms this version does not know and leaves out, 0 included."""
    return {
        revision.campaign_id: len(read_forms(revision.forms, revision.indicators).unknown)
        for revision in await store.forms_in_force(tx)
    }
