"""Errors that callers see: RFC 9457 problem details with a stable `type`."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from shared.database import DatabaseAway
from shared.pages import Pages, wants_page
from shared.service import validation
from shared.service.refusals import Answers, Refused

log = structlog.get_logger()

RETRY_AFTER_S = 2
ERRORS_TOLD_MAX = 50
FRAMEWORK_TITLES = {  # of what no route of ours has refused
    400: "请求不完整或无法读取",
    404: "没有这个地址，请核对网址",
    405: "这个地址不接受这种请求方法",
    413: "请求内容过大",
}


class Problem(HTTPException):
    """Raise it anywhere in a request. `type` is a stable slug, `title` is for people (zh-Hans), `more` are extra members."""

    def __init__(
        self,
        status: int,
        type: str,
        title: str,
        detail: str | None = None,
        *,
        retry_after_s: int | None = None,
        **more: Any,
    ) -> None:
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else None
        super().__init__(status_code=status, detail=detail or title, headers=headers)
        self.body: dict[str, Any] = {"type": f"/problems/{type}", "title": title, "status": status}
        if detail:
            self.body["detail"] = detail
        self.body |= more

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status_code, self.headers, "application/problem+json")


def database_away() -> Problem:
    return Problem(503, "database-away", "数据库暂时不可用，请稍后重试", retry_after_s=RETRY_AFTER_S)


def busy() -> Problem:
    return Problem(429, "busy", "请求过多，请稍后重试", retry_after_s=RETRY_AFTER_S)


def not_found(what: str, detail: str | None = None) -> Problem:
    return Problem(404, "not-found", f"没有找到{what}", detail)


# What a browser shows below the title; where a status is not listed the title says it all.
ADVICE = {
    404: "请核对网址是否完整，或从短信、活动页面重新进入。",
    405: "请从短信、活动页面重新进入。",
    429: "请稍等一会儿再试。",
    500: "这不是您的问题，我们已经记录，请稍后再试。",
    503: "这不是您的问题，请稍后再试。",
}
PAGES = Pages()


def answer(request: Request, problem: Problem) -> Response:
    """As JSON, or to a browser as a page in Chinese: a person who gets there has nothing else to read."""
    if not wants_page(request):
        return problem.response()
    title, status = problem.body["title"], problem.status_code
    if title == FRAMEWORK_TITLES.get(status) and status in (404, 405):
        title = "没有这个页面"
    return PAGES.answer(PAGES.notice(title, ADVICE.get(status, "")), status, headers=problem.headers)


def problem_of(refused: Refused, answers: Answers) -> Problem:
    status, type, title = answers[refused.name]
    more = refused.members | {"retry_after_s": refused.retry_after_s}
    return Problem(status, type, title.format(refused.subject), refused.detail, **more)


def install(app: FastAPI, answers: Answers | None = None) -> None:
    """Turns every failure of a request into a problem. `answers` says how refusals of the service's use cases are answered."""

    @app.exception_handler(Refused)
    async def _refused(request: Request, refused: Refused) -> Response:
        if answers is None or refused.name not in answers:
            return await _unexpected(request, refused)
        return answer(request, problem_of(refused, answers))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if isinstance(error, Problem):
            return answer(request, error)
        phrase = HTTPStatus(error.status_code).phrase
        title = FRAMEWORK_TITLES.get(error.status_code, f"请求被拒绝（{error.status_code}）")
        problem = Problem(error.status_code, phrase.lower().replace(" ", "-"), title)
        problem.headers = error.headers
        return answer(request, problem)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = validation.errors_of(error.errors()[:ERRORS_TOLD_MAX])
        return answer(request, Problem(422, "invalid-request", "请求内容不符合要求", errors=errors))

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        """The caller is gone and reads no answer. It is no error of ours: nothing is logged, and no alert on 5xx rings."""
        return Problem(400, "disconnected", "请求没有发完").response()

    @app.exception_handler(DatabaseAway)
    async def _away(request: Request, error: DatabaseAway) -> Response:
        log.warning("request refused: database away", error=str(error))
        return answer(request, database_away())

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("request failed", method=request.method, route=_route(request), exc_info=error)
        return answer(request, Problem(500, "internal", "服务内部错误，已记录"))


def _route(request: Request) -> str:
    return getattr(request.scope.get("route"), "path", "")
