"""HTTP of liaisons' phones: one is bound by the code on a slip, and lets itself be forgotten (DESIGN §5.2).

The code comes in the request's body: the slip's address has it after `#`, which browsers send to nobody.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import RedirectResponse, Response

from services.reporting.definition import Definition
from services.reporting.liaisons import domain, usecases
from services.reporting.liaisons.keys import LiaisonKeys
from services.reporting.liaisons.metrics import CodeTries
from services.reporting.liaisons.usecases import COOKIE, Bound
from shared.database import Database
from shared.definitions import Definitions
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import OwnForms
from shared.service.refusals import Refused
from shared.service.tokens import wall_now

PAGE = "/r"
TYPED_MAX_CHARS = 100

OurPage = Annotated[None, Depends(OwnForms())]


class CodeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, StringConstraints(max_length=TYPED_MAX_CHARS)]


class BoundAnswer(BaseModel):
    campaign_id: str
    campaign_title: str
    unit_code: str
    unit_name: str = Field(description="to be shown, so that a wrong slip is noticed")


def build_device_api(db: Database, keys: LiaisonKeys, known: Definitions[Definition], tries: CodeTries) -> APIRouter:
    router = APIRouter(prefix=PAGE, tags=["devices"], route_class=GuardedRoute)

    @router.post("/devices", summary="Let this phone report for the unit of a slip's code", response_model=BoundAnswer)
    async def bind(body: CodeRequest, _: OurPage, request: Request, response: Response) -> BoundAnswer:
        """Sets a cookie for 180 days. Only our own page may ask (`Origin`). A mistyped code is told and not counted; 50 other
        wrong ones an hour are counted for an address, then 429."""
        bound = await _bound(request, body.code)
        async with db.transaction() as tx:
            definition = await known.in_force(tx, bound.unit.campaign_id)
        unit = definition.tree.unit(bound.unit.unit_code) if definition else None
        _set_cookie(response, bound)
        response.headers["cache-control"] = "no-store"
        return BoundAnswer(
            campaign_id=bound.unit.campaign_id,
            campaign_title=definition.title if definition else "",
            unit_code=bound.unit.unit_code,
            unit_name=unit.name if unit else "",
        )

    @router.post(
        "/devices/form",
        summary="The same, from a plain form; leads to the page",
        form_limits={"max_fields": 5, "max_files": 0},
    )
    async def bind_by_form(_: OurPage, request: Request) -> Response:
        typed = (await request.form()).get("code")
        bound = await _bound(request, typed[:TYPED_MAX_CHARS] if isinstance(typed, str) else "")
        response = RedirectResponse(PAGE, 303, {"cache-control": "no-store"})
        _set_cookie(response, bound)
        return response

    @router.post("/devices/forget", summary="This phone reports no more, for any unit", status_code=204)
    async def forget(_: OurPage, request: Request) -> Response:
        await db.in_transaction(lambda tx: usecases.forget_device(tx, request.cookies.get(COOKIE)))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return response

    async def _bound(request: Request, typed: str) -> Bound:
        code = domain.code_as_kept(typed)
        if code is None:
            raise Refused("code-mistyped")
        address = request.client.host if request.client else ""
        try:
            counted = await db.in_transaction(lambda tx: usecases.count_try(tx, keys, address, wall_now()))
            return await db.in_transaction(
                lambda tx: usecases.bind_device(tx, keys, code, request.cookies.get(COOKIE), counted, wall_now())
            )
        except Refused as refused:
            tries.add(refused.name)
            raise

    return router


def _set_cookie(response: Response, bound: Bound) -> None:
    """No script reads it, no other site's form sends it, and only this host gets it."""
    response.set_cookie(
        COOKIE,
        bound.secret,
        max_age=int(domain.DEVICE_VALID_FOR.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
