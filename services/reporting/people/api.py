"""HTTP of people: the list of those who may sign in, for admins (DESIGN §5.5). The pages: signing_in.py and account.py."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.reporting.definition import Definition
from services.reporting.people import account, domain, signing_in, usecases
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.passphrases import Passphrases
from services.reporting.people.store import Listed
from shared.contracts.base import ID_PATTERN, Id
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.paging import LIMIT_MAX, Cursor, Limit, next_cursor, position_in
from shared.service.guarded_route import GuardedRoute
from shared.service.refusals import Refused
from shared.service.tokens import Principal, requires, wall_now

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Admin = Annotated[Principal, Depends(requires("admin"))]
TypedReason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")
]
OfficeRole = Literal["admin", "office", "auditor"]
PersonState = Literal["invited", "invitation_expired", "active", "revoked"]


class InviteRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=domain.NAME_MAX_CHARS)]
    role: OfficeRole
    unit: Id | None = Field(default=None, description="only this unit and what is below it; none: the whole campaign")
    again: bool = Field(
        default=False, description="invite somebody known anew: other role or unit, or passphrase forgotten"
    )


class InviteAnswer(BaseModel):
    person_id: UUID
    name: str
    role: OfficeRole
    unit: str | None
    code: str = Field(description="shown this once")
    page: str = Field(description="where it is typed, on the office's address")
    valid_until: datetime


class PersonAnswer(BaseModel):
    person_id: UUID
    name: str
    role: str
    unit: str | None
    state: PersonState
    sessions: int = Field(description="open ones")
    seen_at: datetime | None


class PeopleAnswer(BaseModel):
    rows: list[PersonAnswer]
    next_cursor: str | None


class RevokeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: TypedReason


def build_api(db: Database, keys: PeopleKeys, definitions: Definitions[Definition]) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    _people(router, db, keys, definitions)
    passphrases = Passphrases()
    signing_in.add_routes(router, db, keys, passphrases)
    account.add_routes(router, db, keys, passphrases)
    return router


def _people(router: APIRouter, db: Database, keys: PeopleKeys, definitions: Definitions[Definition]) -> None:
    path = "/v1/campaigns/{campaign_id}/people"

    @router.post(path, tags=["people"], summary="Invite somebody of the office")
    async def invite(campaign_id: PathId, body: InviteRequest, principal: Admin) -> InviteAnswer:
        async def work(tx: Transaction) -> usecases.Invited:
            definition = await definitions.in_force(tx, campaign_id)
            if definition is None:
                raise Refused("no-such-campaign")
            if body.unit is not None and body.unit not in definition.tree:
                raise Refused("no-such-unit", subject=body.unit)
            return await usecases.invite(
                tx,
                keys,
                campaign_id=campaign_id,
                name=body.name,
                role=body.role,
                unit=body.unit,
                again=body.again,
                actor=principal.subject,
                now=wall_now(),
            )

        invited = await db.in_transaction(work)
        person, code = invited.person, invited.code
        assert person.invitation_until is not None  # noqa: S101 - of an invitation just made
        return InviteAnswer(
            person_id=person.person_id,
            name=person.name,
            role=body.role,
            unit=person.unit_code,
            code=code,
            page="/invitation",
            valid_until=person.invitation_until,
        )

    @router.get(path, tags=["people"], summary="Who may sign in, by name")
    async def people(
        campaign_id: PathId, principal: Admin, limit: Limit = LIMIT_MAX, cursor: Cursor = None
    ) -> PeopleAnswer:
        position = position_in(cursor, tuple[str])
        async with db.transaction() as tx:
            rows = await usecases.people(tx, campaign_id, position[0] if position else None, limit)
        now = wall_now()
        following = next_cursor(rows, limit, lambda row: (row.person.name,))
        return PeopleAnswer(rows=[_person_answer(row, now) for row in rows], next_cursor=following)

    @router.post(
        path + "/{person_id}/revoke", tags=["people"], summary="Let somebody sign in no more, and sign them out"
    )
    async def revoke(campaign_id: PathId, person_id: UUID, body: RevokeRequest, principal: Admin) -> dict[str, str]:
        person = await db.in_transaction(
            lambda tx: usecases.revoke(
                tx, campaign_id, person_id, actor=principal.subject, reason=body.reason, now=wall_now()
            )
        )
        return {"person_id": str(person.person_id), "name": person.name, "state": "revoked"}


def _person_answer(row: Listed, now: datetime) -> PersonAnswer:
    person = row.person
    state: PersonState = "active"
    if person.revoked_at is not None:
        state = "revoked"
    elif person.passphrase is None:
        invited = domain.is_invited(person.invitation_until, person.revoked_at, now)
        state = "invited" if invited else "invitation_expired"
    return PersonAnswer(
        person_id=person.person_id,
        name=person.name,
        role=person.role,
        unit=person.unit_code,
        state=state,
        sessions=row.sessions,
        seen_at=row.seen_at,
    )
