"""HTTP of liaisons: the office names them, prints slips and revokes; a liaison's phone is bound by the code on a slip."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from services.reporting.definition import Definition
from services.reporting.liaisons import domain, pages, usecases
from services.reporting.liaisons.domain import Contact, Contacts, ContactUnusable, Post
from services.reporting.liaisons.keys import LiaisonKeys
from services.reporting.liaisons.store import Liaison, Reach
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN, Id
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.pages import wants_page
from shared.paging import LIMIT_MAX, Cursor, Limit, next_cursor, position_in
from shared.service.bodies import KIB
from shared.service.guarded_route import GuardedRoute
from shared.service.refusals import Refused
from shared.service.tokens import ROLES, Principal, requires, wall_now

SLIPS_MAX = 500  # units named in one request; without a list: all
SLIPS_MAX_BYTES = 40 * KIB
TYPED_NAME_MAX_CHARS, TYPED_PHONE_MAX_CHARS = 200, 40

UnitsThatFill = Callable[[Transaction, str], Awaitable[Collection[str]]]
"""The units that fill any form of the campaign; obligations know them."""
Named = Callable[[Transaction, Principal, str, str, datetime], Awaitable[None]]
"""What else follows, in the same transaction, when somebody (the principal) has named a liaison: campaign, unit, time."""

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Office = Annotated[Principal, Depends(requires("admin", "office", subtrees=True))]
Reader = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]
TypedReason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")
]


class Somebody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(max_length=TYPED_NAME_MAX_CHARS)]
    phone: Annotated[str, StringConstraints(max_length=TYPED_PHONE_MAX_CHARS)]


class NameRequest(Somebody):
    """The liaison, and whom else the unit names. They replace all who were named before."""

    deputy: Somebody | None = None
    leader: Somebody | None = Field(default=None, description="the leader in charge (分管领导)")
    reason: TypedReason | None = None

    def contacts(self) -> Contacts:
        """Raises `Refused`."""
        typed: dict[Post, Somebody | None] = {"liaison": self, "deputy": self.deputy, "leader": self.leader}
        try:
            return {post: _contact(post, who) for post, who in typed.items() if who is not None}
        except ContactUnusable as unusable:
            raise Refused("contact-unusable", str(unusable)) from None


class ReasonRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: TypedReason


class SlipsRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    units: Annotated[list[Id], Field(min_length=1, max_length=SLIPS_MAX)] | None = Field(
        default=None, description="none: all units that fill any form, of the token's subtree"
    )


class MaskAnswer(BaseModel):
    name: str = Field(description="masked, such as 刘*亮")
    phone: str = Field(description="masked, such as 138****5678")


class LiaisonAnswer(BaseModel):
    unit_code: str
    unit_name: str
    liaison: MaskAnswer | None
    deputy: MaskAnswer | None
    leader: MaskAnswer | None
    named_at: datetime | None
    named_by: str | None
    reason: str | None
    has_code: bool = Field(description="a slip has been printed whose code is live")
    devices: int = Field(description="phones that may report")


class LiaisonsAnswer(BaseModel):
    counts: dict[str, int] = Field(
        description="`units` that fill any form, and those of them that are `missing` a liaison"
    )
    rows: list[LiaisonAnswer]
    next_cursor: str | None


class SlipAnswer(BaseModel):
    unit_code: str
    name: str
    code: str = Field(description="shown this once")
    url: str = Field(description="what the slip's QR holds; the code comes after #, which no log sees")


class SlipsAnswer(BaseModel):
    rows: list[SlipAnswer]


@dataclass(frozen=True)
class Parts:
    """What the routes work with. `public_url`: how liaisons' phones reach reporting, without a trailing slash."""

    db: Database
    keys: LiaisonKeys
    known: Definitions[Definition]
    clock: Clock
    public_url: str
    units_that_fill: UnitsThatFill
    named: Named


def build_api(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}", tags=["liaisons"], route_class=GuardedRoute)
    _names(router, parts)
    _lists(router, parts)
    _slips(router, parts)
    return router


# ---- who reports -----------------------------------------------------------------------------------------------------


def _names(router: APIRouter, parts: Parts) -> None:
    path = "/units/{unit_code}/liaison"
    db, keys, clock = parts.db, parts.keys, parts.clock

    @router.put(path, summary="Name who reports for a unit")
    async def name_liaison(
        campaign_id: PathId, unit_code: PathId, body: NameRequest, principal: Office
    ) -> LiaisonAnswer:
        contacts, now = body.contacts(), clock.now()

        async def work(tx: Transaction) -> LiaisonAnswer:
            definition = await definition_for(tx, parts.known, principal, campaign_id, unit_code)
            await usecases.name_liaison(
                tx, keys, campaign_id, unit_code, contacts, actor=principal.subject, reason=body.reason, now=now
            )
            await parts.named(tx, principal, campaign_id, unit_code, now)
            return await _one(tx, definition, campaign_id, unit_code)

        return await db.in_transaction(work)

    @router.get(path, summary="Who reports for a unit, masked")
    async def liaison(campaign_id: PathId, unit_code: PathId, principal: Reader) -> LiaisonAnswer:
        async with db.transaction() as tx:
            definition = await definition_for(tx, parts.known, principal, campaign_id, unit_code)
            return await _one(tx, definition, campaign_id, unit_code)

    @router.delete(path, summary="The unit has nobody any more; its code and phones are void at once")
    async def remove_liaison(
        campaign_id: PathId, unit_code: PathId, body: ReasonRequest, principal: Office
    ) -> LiaisonAnswer:
        async def work(tx: Transaction) -> LiaisonAnswer:
            definition = await definition_for(tx, parts.known, principal, campaign_id, unit_code)
            await usecases.remove_liaison(
                tx, keys, campaign_id, unit_code, actor=principal.subject, reason=body.reason, now=clock.now()
            )
            return await _one(tx, definition, campaign_id, unit_code)

        return await db.in_transaction(work)

    @router.post(path + "/revoke", summary="Void a unit's code and phones at once; the liaison stays")
    async def revoke(
        campaign_id: PathId, unit_code: PathId, body: ReasonRequest, principal: Office
    ) -> dict[str, str | int]:
        async def work(tx: Transaction) -> int:
            await definition_for(tx, parts.known, principal, campaign_id, unit_code)
            return await usecases.revoke_devices(
                tx, campaign_id, unit_code, actor=principal.subject, reason=body.reason, now=wall_now()
            )

        return {"unit_code": unit_code, "devices_revoked": await db.in_transaction(work)}


async def _one(tx: Transaction, definition: Definition, campaign_id: str, unit_code: str) -> LiaisonAnswer:
    named = await usecases.liaisons(tx, campaign_id, [unit_code])
    reached = await usecases.reach(tx, campaign_id, [unit_code], wall_now())
    return _answer(definition, unit_code, named.get(unit_code), reached.get(unit_code, usecases.NO_REACH))


def _contact(post: Post, who: Somebody) -> Contact:
    return domain.contact(post, who.name, who.phone)


def _answer(definition: Definition, unit_code: str, liaison: Liaison | None, reach: Reach) -> LiaisonAnswer:
    unit = definition.tree.unit(unit_code)
    masks = (liaison.posts if liaison else None) or {}
    people = {post: MaskAnswer(**masks[post]._asdict()) if post in masks else None for post in domain.POSTS}
    return LiaisonAnswer(
        unit_code=unit_code,
        unit_name=unit.name if unit else "",
        **people,
        named_at=liaison.named_at if liaison else None,
        named_by=liaison.actor if liaison else None,
        reason=liaison.reason if liaison else None,
        has_code=reach.has_code,
        devices=reach.devices,
    )


# ---- who is missing --------------------------------------------------------------------------------------------------


def _lists(router: APIRouter, parts: Parts) -> None:
    @router.get("/liaisons", summary="Units that fill any form, and who reports for them, masked")
    async def liaisons(
        campaign_id: PathId,
        principal: Reader,
        missing: bool = False,
        limit: Limit = LIMIT_MAX,
        cursor: Cursor = None,
    ) -> LiaisonsAnswer:
        """`missing`: only units without a liaison. In the order of the campaign's units."""
        after = position_in(cursor, tuple[str])
        async with parts.db.transaction() as tx:
            definition = await definition_for(tx, parts.known, principal, campaign_id)
            filling = set(await parts.units_that_fill(tx, campaign_id))
            named = await usecases.liaisons(tx, campaign_id)
            units = [unit for unit in definition.tree.codes(principal.unit) if unit in filling or unit in named]
            listed = [unit for unit in units if not missing or unit not in named]
            page = _from(listed, after[0] if after else None)[:limit]
            reached = await usecases.reach(tx, campaign_id, page, wall_now())
        rows = [_answer(definition, unit, named.get(unit), reached.get(unit, usecases.NO_REACH)) for unit in page]
        return LiaisonsAnswer(
            counts={"units": len(units), "missing": sum(unit not in named for unit in units)},
            rows=rows,
            next_cursor=next_cursor(rows, limit, lambda row: (row.unit_code,)),
        )


def _from(units: list[str], after: str | None) -> list[str]:
    """The units that follow `after`; all of them where it is not among them any more."""
    return units[units.index(after) + 1 :] if after in units else units


# ---- slips -----------------------------------------------------------------------------------------------------------


def _slips(router: APIRouter, parts: Parts) -> None:
    @router.post(
        "/slips",
        summary="New codes for liaisons; former ones are void",
        response_model=SlipsAnswer,
        responses={200: {"content": {"text/html": {}}}},
        max_body_size=SLIPS_MAX_BYTES,
    )
    async def slips(
        campaign_id: PathId, body: SlipsRequest, principal: Office, request: Request
    ) -> SlipsAnswer | Response:
        """Phones that were bound with a former code stay. `Accept: text/html`: a page to print, eight slips to a sheet of A4."""

        async def work(tx: Transaction) -> tuple[Definition, dict[str, str]]:
            definition = await definition_for(tx, parts.known, principal, campaign_id, *(body.units or ()))
            units = body.units or await parts.units_that_fill(tx, campaign_id)
            within = definition.tree.subtree(principal.unit) if principal.unit else None
            asked = [unit for unit in dict.fromkeys(units) if within is None or unit in within]
            codes = await usecases.make_codes(
                tx, parts.keys, campaign_id, asked, actor=principal.subject, now=wall_now()
            )
            return definition, codes

        definition, codes = await parts.db.in_transaction(work)
        rows = [
            SlipAnswer(unit_code=unit, name=_name(definition, unit), code=code, url=f"{parts.public_url}/r#{code}")
            for unit, code in sorted(codes.items(), key=lambda item: definition.tree.order(item[0]))
        ]
        if wants_page(request):
            cards = [pages.Slip(row.unit_code, row.name, row.code, row.url) for row in rows]
            page = pages.SlipsPage(definition.title, f"{parts.public_url}/r", cards)
            return pages.PAGES.answer(pages.slips_html(page))
        return SlipsAnswer(rows=rows)


def _name(definition: Definition, unit_code: str) -> str:
    unit = definition.tree.unit(unit_code)
    return unit.name if unit else unit_code


# ---- scope -----------------------------------------------------------------------------------------------------------


async def definition_for(
    tx: Transaction, known: Definitions[Definition], principal: Principal, campaign_id: str, *unit_codes: str
) -> Definition:
    """The campaign's definition. Raises `Refused` where the principal may not touch one of the units: whoever has a subtree is
    told nothing of what lies outside of it, not even whether it exists."""
    definition = await known.in_force(tx, campaign_id)
    if definition is None:
        raise Refused("no-such-campaign")
    tree = definition.tree
    if principal.unit is not None:
        if principal.unit not in tree:
            raise Refused("unit-not-in-campaign")
        if not tree.subtree(principal.unit).issuperset(unit_codes):
            raise Refused("other-unit")
    for unit_code in unit_codes:
        if unit_code not in tree:
            raise Refused("unit-unknown", subject=unit_code)
    return definition
