"""What checkin keeps under an account, and how it is forgotten: the account is renamed, every number stays."""

# ruff: noqa: S608 - SQL is put together of constants

from shared.database import Transaction
from shared.people import erasure
from shared.people.erasure import event_name_sql

# A viewer's rows in a campaign: $1 campaign, $2 account, $3 its new name.
RENAMES = {
    "viewer": "UPDATE viewer SET viewer_id = $3, channel = NULL, "
    f"enrolment_id = {event_name_sql('enrolment_id')} FROM campaign "
    "WHERE campaign_id = $1 AND viewer.campaign_no = campaign.campaign_no AND viewer_id = $2",
    "enrolment": "UPDATE enrolment SET viewer_id = $3, channel = NULL, "
    f"enrolment_id = {event_name_sql('enrolment_id')} FROM campaign "
    "WHERE campaign_id = $1 AND enrolment.campaign_no = campaign.campaign_no AND viewer_id = $2",
    "live_room_action": f"UPDATE live_room_action SET viewer_id = $3, event_id = {event_name_sql('event_id')} FROM campaign "
    "WHERE campaign_id = $1 AND live_room_action.campaign_no = campaign.campaign_no AND viewer_id = $2",
    "uncounted": f"UPDATE uncounted SET viewer_id = $3, event_key = {event_name_sql('event_key')} "
    "WHERE campaign_id = $1 AND viewer_id = $2",
    "make_good": "UPDATE make_good SET audience = jsonb_set(audience, '{viewer_ids}', (audience->'viewer_ids') - $2::text "
    "|| to_jsonb($3::text)) WHERE campaign_id = $1 AND audience->'viewer_ids' ? $2",
}


async def forget_viewer(tx: Transaction, campaign_id: str, viewer_id: str, name: str) -> dict[str, int]:
    """Rows changed, by table."""
    counts = {table: await tx.change(sql, campaign_id, viewer_id, name) for table, sql in RENAMES.items()}
    return counts | {"ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name)}


async def forget_people(tx: Transaction, campaign_id: str) -> dict[str, int]:
    """Names and phones of everybody in a campaign: checkin has them nowhere but sealed, in its ledger."""
    return {"ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id)}
