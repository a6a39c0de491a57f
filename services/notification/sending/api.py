"""HTTP of sending: the office's list of messages, with counts by status."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from services.notification.plans import usecases as plans
from services.notification.sending import domain, store
from services.notification.sending.domain import Status
from shared.contracts.base import Id
from shared.contracts.campaign import MessageEvent
from shared.database import Database
from shared.definitions import is_defined
from shared.paging import Cursor, Limit, next_cursor, position_in
from shared.people.campaign_keys import Recipient
from shared.people.masks import mask_account, mask_phone
from shared.service.guarded_route import GuardedRoute
from shared.service.problems import not_found
from shared.service.tokens import Principal, requires


class NotificationRow(BaseModel):
    id: UUID
    kind: str
    period: str
    recipient: str  # 138****5678, or the masked account where no phone is known
    channel: str
    status: Status
    reason: str | None = Field(
        description="of a queued message, what it waits for: no_contact, no_claim_code, or no_channel where this deployment "
        "has no such channel; of the others, why it ended so"
    )
    due_at: datetime
    sent_at: datetime | None
    updated_at: datetime


class NotificationPage(BaseModel):
    counts: dict[str, int]  # of the whole campaign and kind, whatever `status` the rows are filtered by
    rows: list[NotificationRow]
    next_cursor: str | None


def build_api(db: Database, recipient: Recipient, channels: Collection[str]) -> APIRouter:
    """`channels`: those that this deployment has."""
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}", tags=["notifications"], route_class=GuardedRoute)

    @router.get("/notifications", summary="Counts and rows, recipients masked")
    async def notifications(
        campaign_id: Id,
        principal: Annotated[Principal, Depends(requires("admin", "office", "auditor"))],
        kind: MessageEvent | None = None,
        status: Status | None = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> NotificationPage:
        after = position_in(cursor, tuple[datetime, UUID])
        async with db.transaction() as tx:
            if not await is_defined(tx, campaign_id):
                raise not_found("活动", "这里还没有收到该活动的定义")
            counts = await store.counts(tx, campaign_id, kind)
            page = await store.page(tx, campaign_id, kind=kind, status=status, after=after, limit=limit)
            phones = await plans.phones(tx, recipient, campaign_id, {row["recipient"] for row in page})
        rows = [_row(row, phones, channels) for row in page]
        onward = next_cursor(rows, limit, lambda row: (row.due_at, row.id))
        return NotificationPage(counts=counts, rows=rows, next_cursor=onward)

    return router


def _row(row: store.Row, phones: Mapping[str, str], channels: Collection[str]) -> NotificationRow:
    account = row["recipient"]
    masked = mask_phone(phones[account]) if account in phones else mask_account(account)
    sent = row["status"] in (Status.ACCEPTED, Status.DELIVERED)
    return NotificationRow(
        **{key: row[key] for key in ("id", "kind", "period", "channel", "status", "due_at", "updated_at")},
        reason=domain.reason(row["status"], row["reason"], row["channel"] in channels),
        recipient=masked,
        sent_at=row["attempted_at"] if sent else None,
    )
