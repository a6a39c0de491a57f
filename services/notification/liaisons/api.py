"""HTTP of liaisons' contacts: 显示号码, one unit at a time, with a reason and a row about it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from services.notification.liaisons import usecases
from services.notification.liaisons.domain import Person
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN
from shared.database import Database, Transaction
from shared.definitions import is_defined, is_within
from shared.people.campaign_keys import Recipient
from shared.service.guarded_route import GuardedRoute
from shared.service.refusals import Refused
from shared.service.tokens import Principal, requires

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Office = Annotated[Principal, Depends(requires("admin", "office", subtrees=True))]
TypedReason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")
]


class RevealRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: TypedReason


class PersonAnswer(BaseModel):
    name: str
    phone: str


class RevealAnswer(BaseModel):
    unit_code: str
    name: str
    phone: str
    deputy: PersonAnswer | None
    leader: PersonAnswer | None


def build_api(db: Database, clock: Clock, recipient: Recipient) -> APIRouter:
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}", tags=["liaisons"], route_class=GuardedRoute)

    @router.post("/units/{unit_code}/liaison/reveal", summary="Name and phone of a unit's liaison (显示号码)")
    async def reveal(
        campaign_id: PathId, unit_code: PathId, body: RevealRequest, principal: Office, response: Response
    ) -> RevealAnswer:
        """Who asked and why is recorded for good. No cache keeps the answer."""

        async def work(tx: Transaction) -> RevealAnswer:
            await require_reach(tx, principal, campaign_id, unit_code)
            people = await usecases.reveal(
                tx,
                recipient,
                campaign_id,
                unit_code,
                actor=principal.subject,
                role=principal.role,
                reason=body.reason,
                now=clock.now(),
            )
            return RevealAnswer(
                unit_code=unit_code,
                **people["liaison"]._asdict(),
                deputy=_answer(people.get("deputy")),
                leader=_answer(people.get("leader")),
            )

        response.headers["cache-control"] = "no-store"
        return await db.in_transaction(work)

    return router


async def require_reach(tx: Transaction, principal: Principal, campaign_id: str, unit_code: str) -> None:
    """Refused: `no-such-campaign`, `other-unit` for what lies outside of the person's subtree."""
    if not await is_defined(tx, campaign_id):
        raise Refused("no-such-campaign")
    if principal.unit is not None and not await is_within(tx, campaign_id, unit_code, principal.unit):
        raise Refused("other-unit")


def _answer(person: Person | None) -> PersonAnswer | None:
    return None if person is None else PersonAnswer(**person._asdict())
