"""Events on their way in over HTTP: the live platform's posts, and the office's files."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from services.checkin.api.parameters import Office, PathId
from services.checkin.committer import Committer, Overloaded
from services.checkin.domain import Result
from services.checkin.live_events import BodyRefused, Item, read_body
from services.checkin.live_platform import Source, challenge_of
from services.checkin.sorting import Arrival
from shared.clock import Clock
from shared.contracts.base import Id
from shared.ids import new_import_id
from shared.service.direct_route import DirectRoute
from shared.service.problems import Problem, busy, not_found

EVENTS_MAX_BYTES = 1024 * 1024
WEBHOOK_PATHS = WEBHOOK_PATH, WEBHOOK_OF_SOURCE_PATH = "/v1/live/events", "/v1/live/events/{source}"


class Intake:
    """Events on their way in over HTTP: verified, read, committed and answered."""

    def __init__(self, sources: Mapping[str, Source], clock: Clock, committer: Committer) -> None:
        self._sources = sources
        self._clock = clock
        self._committer = committer

    async def from_source(self, name: str, request: Request) -> Response:
        """A post of the live platform, signed as this source signs."""
        source = self._sources.get(name)
        if source is None:
            raise not_found("该数据来源", f"没有配置数据来源 {name}")
        if not source.may_be_signed(request.headers):
            raise _not_signed()
        body = await request.body()
        if not source.signed(request.headers, body):
            raise _not_signed()
        if source.verifier == "douyin" and (challenge := challenge_of(body)) is not None:
            return JSONResponse({"challenge": challenge})
        return await self.record(_read(body), name)

    async def record(self, items: list[Item], source: str) -> Response:
        now = self._clock.now()
        return await self._submit([Arrival(item, source, now) for item in items])

    async def record_file(self, items: list[Item], source: str) -> Response:
        """As `record`, for the next rows of a file. Of enrolments with equal times those of this file count as later than those
        that came before."""
        now, file_id = self._clock.now(), new_import_id()
        return await self._submit([Arrival(item, source, now, f"{file_id}-{n:04}") for n, item in enumerate(items)])

    async def _submit(self, arrivals: list[Arrival]) -> Response:
        try:
            return _answer(await self._committer.submit(arrivals))
        except Overloaded as error:
            raise busy() from error


def build_webhook(intake: Intake) -> DirectRoute:
    """The hot path: where the live platform posts."""

    async def live_events(request: Request) -> Response:
        """One event object or an array of 1..1000, signed by Standard Webhooks. 2xx means committed (DESIGN §4.1)."""
        return await intake.from_source("standard", request)

    return DirectRoute(
        WEBHOOK_PATH,
        live_events,
        methods=["POST"],
        tags=["live platform"],
        summary="Events, signed, as source `standard`",
        max_body_size=EVENTS_MAX_BYTES,
    )


def add_event_routes(router: APIRouter, intake: Intake) -> None:
    @router.post(
        WEBHOOK_OF_SOURCE_PATH,
        tags=["live platform"],
        summary="Events, signed as this source signs",
        max_body_size=EVENTS_MAX_BYTES,
    )
    async def live_events_from(source: PathId, request: Request) -> Response:
        return await intake.from_source(source, request)

    @router.post(
        "/v1/campaigns/{campaign_id}/imports",
        tags=["office"],
        summary="Events from an export file",
        max_body_size=EVENTS_MAX_BYTES,
    )
    async def imports(
        campaign_id: PathId,
        request: Request,
        principal: Office,
        source: Annotated[Id, Query(description="whose file it is: its check-ins count under this name")] = "import",
    ) -> Response:
        """The same events as the live platform posts, sent by the office from a file (`fanzha import`); safe to repeat."""
        items = _read(await request.body())
        for item in items:
            if item.event is not None and item.event.campaign_id != campaign_id:
                raise Problem(422, "other-campaign", "文件中有其他活动的事件", f"每个事件都应属于活动 {campaign_id}")
        return await intake.record_file(items, source)


def _not_signed() -> Problem:
    detail = "签名与收到的内容不符，或者签名时间相差超过 5 分钟"
    return Problem(401, "signature", "签名无效或已过期", detail)


def _read(body: bytes) -> list[Item]:
    try:
        return read_body(body)
    except BodyRefused as error:
        if error.reason == "too_many":
            raise Problem(413, "too-many-items", "一次提交的事件过多", str(error)) from error
        raise Problem(400, "not-json", "请求内容不是有效的 JSON 事件", str(error)) from error


def _answer(results: list[Result]) -> Response:
    """Answers with the results in the order sent. msgspec writes them: the standard library takes as long as recording."""
    answer: dict[str, Any] = {"results": results, "counts": Counter(result.verdict.value for result in results)}
    if dropped := sum(result.dropped is not msgspec.UNSET for result in results):
        answer["contacts_dropped"] = dropped
    return Response(msgspec.json.encode(answer), media_type="application/json")
