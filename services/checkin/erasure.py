"""Forgets what checkin keeps under an account: the account is renamed, and every number stays."""

# ruff: noqa: S608 - SQL is put together of constants

from datetime import datetime
from typing import ClassVar

from services.checkin import store
from shared.database import Transaction
from shared.people import erasure
from shared.people.erasure import NewName, event_name_sql
from shared.people.forgetting import Counts, ServiceErasure

# A viewer's rows in a campaign: $1 campaign, $2 account, $3 its new name, $4 the key that names its events.
RENAMES = {
    "viewer": "UPDATE viewer SET viewer_id = $3, channel = NULL, "
    + ", ".join(f"{column} = {event_name_sql(column)}" for column in ("enrolment_id", "unit_by", "group_by"))
    + " FROM campaign "
    "WHERE campaign_id = $1 AND viewer.campaign_no = campaign.campaign_no AND viewer_id = $2",
    "enrolment": "UPDATE enrolment SET viewer_id = $3, channel = NULL, said = NULL, "
    f"enrolment_id = {event_name_sql('enrolment_id')} FROM campaign "
    "WHERE campaign_id = $1 AND enrolment.campaign_no = campaign.campaign_no AND viewer_id = $2",
    "live_room_action": f"UPDATE live_room_action SET viewer_id = $3, event_id = {event_name_sql('event_id')} FROM campaign "
    "WHERE campaign_id = $1 AND live_room_action.campaign_no = campaign.campaign_no AND viewer_id = $2",
    "uncounted": f"UPDATE uncounted SET viewer_id = $3, event_key = {event_name_sql('event_key')} "
    "WHERE campaign_id = $1 AND viewer_id = $2",
}
FORGET_WHAT_WAS_SAID = (
    "UPDATE enrolment SET said = NULL FROM campaign "
    "WHERE campaign_id = $1 AND enrolment.campaign_no = campaign.campaign_no AND said IS NOT NULL"
)
RENAME_IN_CERTIFICATES = "UPDATE certificate SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2"
RENAME_IN_LINKS_GIVEN = "UPDATE viewer_link_given SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2"
RENAME_IN_MAKE_GOODS = (
    "UPDATE make_good SET audience = jsonb_set(audience, '{viewer_ids}', (audience->'viewer_ids') - $2::text "
    "|| to_jsonb($3::text)) WHERE campaign_id = $1 AND audience->'viewer_ids' ? $2"
)


class Erasure(ServiceErasure):
    KNOWN_KEYS = ("certificate", "notification")
    ACTORS: ClassVar = {
        "campaign_revision": "actor",
        "make_good": "actor",
        "platform_count": "actor",
        "viewer_link_given": "actor",
    }

    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts:
        counts = {table: await tx.change(sql, campaign_id, viewer_id, *name) for table, sql in RENAMES.items()}
        counts["make_good"] = await tx.change(RENAME_IN_MAKE_GOODS, campaign_id, viewer_id, name.account)
        counts["viewer_link_given"] = await tx.change(RENAME_IN_LINKS_GIVEN, campaign_id, viewer_id, name.account)
        counts["certificate"] = await tx.change(RENAME_IN_CERTIFICATES, campaign_id, viewer_id, name.account)
        return counts | {"ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name)}

    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """checkin has names and phones only sealed, in its ledger, and in keyed digests of what enrolments said."""
        counts = {"enrolment": await tx.change(FORGET_WHAT_WAS_SAID, campaign_id)}
        return counts | {"ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id)}

    async def destroy_keys(self, tx: Transaction, campaign_id: str, now: datetime) -> int:
        await store.change_definitions(tx)  # waits until events that are sealed to the old keys are recorded
        await tx.change(FORGET_WHAT_WAS_SAID, campaign_id)
        return await super().destroy_keys(tx, campaign_id, now)
