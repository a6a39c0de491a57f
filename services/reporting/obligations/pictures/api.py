"""HTTP of pictures: a unit's are uploaded one by one, and shown as they are kept (DESIGN §5.2)."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile as Uploaded
from starlette.responses import Response

from services.reporting.definition import Definition
from services.reporting.obligations.pictures import usecases
from services.reporting.obligations.pictures.domain import UPLOAD_MAX_BYTES
from services.reporting.obligations.pictures.usecases import Intake
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.service.guarded_route import GuardedRoute
from shared.service.refusals import Refused
from shared.service.tokens import ROLES, Principal, requires

FORM_MAX_BYTES = 16 * 1024  # what a form has besides the picture
FORM_FIELDS_MAX = 10

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
Sender = Annotated[Principal, Depends(requires("liaison", "office", "admin", subtrees=True))]
Reader = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]

# What is sent is a JPEG that we have made; a browser is told nevertheless to take it for nothing else, and to run nothing in it.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
JPEG_TYPE = "image/jpeg"


class PictureAnswer(BaseModel):
    picture_id: UUID


def build_api(db: Database, definitions: Definitions[Definition], clock: Clock, intake: Intake) -> APIRouter:
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}/units/{unit_code}/pictures", route_class=GuardedRoute)

    @router.post(
        "",
        tags=["reports"],
        summary="Upload one picture",
        max_body_size=UPLOAD_MAX_BYTES + FORM_MAX_BYTES,
        openapi_extra={"requestBody": {"required": True, "content": {"image/*": {}, "multipart/form-data": {}}}},
    )
    async def upload(campaign_id: PathId, unit_code: PathId, request: Request, principal: Sender) -> PictureAnswer:
        """The body is the picture itself, or a form with one file: JPEG, PNG, WebP or HEIC of at most 8 MiB and 40 megapixels.
        It is kept upright, as JPEG of at most 1600 pixels, without place, time, camera and everything else beside the pixels.
        The same bytes again for the unit answer with the same id. A picture that no report uses is deleted after 7 days."""
        content = await sent_in(request)
        async with db.transaction() as tx:
            await require_reach(tx, definitions, principal, campaign_id, unit_code)
        return PictureAnswer(picture_id=await intake.take(campaign_id, unit_code, content, clock.now()))

    @router.get(
        "/{picture_id}",
        tags=["reports"],
        summary="A picture of a unit",
        response_class=Response,
        responses={200: {"content": {JPEG_TYPE: {}}}},
    )
    async def picture(
        campaign_id: PathId,
        unit_code: PathId,
        picture_id: UUID,
        principal: Reader,
        size: Annotated[Literal["full", "thumbnail"], Query(description="thumbnail: at most 240 pixels")] = "full",
    ) -> Response:
        async with db.transaction() as tx:
            await require_reach(tx, definitions, principal, campaign_id, unit_code)
            content = await usecases.jpeg(tx, campaign_id, unit_code, picture_id, thumbnail=size == "thumbnail")
        return shown(picture_id, content)

    return router


async def require_reach(
    tx: Transaction, definitions: Definitions[Definition], principal: Principal, campaign_id: str, unit_code: str
) -> None:
    """Refused: `no-such-unit` for a unit outside of the token's subtree as for one that does not exist."""
    definition = await definitions.in_force(tx, campaign_id)
    if definition is None:
        raise Refused("no-such-campaign")
    if principal.unit is not None and principal.unit not in definition.tree:
        raise Refused("unit-not-in-campaign")
    if unit_code not in definition.tree.codes(principal.unit):
        raise Refused("no-such-unit", subject=unit_code)


async def sent_in(request: Request) -> bytes:
    """The picture in a request: the only file of a form, else the body. The file's name and type are not looked at."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=FORM_FIELDS_MAX) as form:
        for value in form.values():
            if isinstance(value, Uploaded):
                return await value.read()
    return b""


def shown(picture_id: UUID, content: bytes) -> Response:
    """The answer with a picture as it is kept."""
    name = {"content-disposition": f'inline; filename="{picture_id}.jpg"'}
    return Response(content, media_type=JPEG_TYPE, headers=HEADERS | name)
