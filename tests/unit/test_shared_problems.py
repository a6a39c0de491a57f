"""Whatever goes wrong in a request, the answer is a problem (RFC 9457) and shows nothing of the inside."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

import httpx
import pytest
from fastapi import FastAPI, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.types import Message

from shared.database import DatabaseAway
from shared.service import problems
from shared.service.problems import Problem, not_found
from shared.service.refusals import Answer, Refused


def _refuses_no(text: str) -> str:
    if text == "no":
        raise ValueError("不可以是 no")
    return text


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    day: date
    at: AwareDatetime
    kind: Literal["a", "b"]
    words: Annotated[list[Annotated[str, Field(max_length=2)]], Field(max_length=1)]
    checked: Annotated[str, AfterValidator(_refuses_no)] = "x"


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app, {"late": Answer(409, "too-late", "{} 已经结束")})

    @app.get("/conflict")
    async def conflict() -> None:
        raise Problem(409, "campaign-frozen", "活动已有签到", "see reasons", reasons=["a"])

    @app.get("/late")
    async def late() -> None:
        raise Refused("late", "see when", subject="第一课", retry_after_s=60, ended=["a"])

    @app.get("/unforeseen")
    async def unforeseen() -> None:
        raise Refused("nobody-said-how-to-answer-this")

    @app.get("/missing")
    async def missing() -> None:
        raise not_found("该活动")

    @app.get("/away")
    async def away() -> None:
        raise DatabaseAway("connection to 10.0.0.5 refused")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("Key (phone)=(13912345678)")

    @app.get("/number")
    async def number(n: Annotated[int, Query(ge=1)]) -> int:
        return n

    @app.post("/order")
    async def order(body: Order) -> None: ...

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://x")


@pytest.mark.parametrize(
    ("method", "path", "status", "type"),
    [
        ("GET", "/conflict", 409, "campaign-frozen"),
        ("GET", "/late", 409, "too-late"),
        ("GET", "/unforeseen", 500, "internal"),
        ("GET", "/missing", 404, "not-found"),
        ("GET", "/away", 503, "database-away"),
        ("GET", "/broken", 500, "internal"),
        ("GET", "/number?n=0", 422, "invalid-request"),
        ("GET", "/number?n=x", 422, "invalid-request"),
        ("GET", "/no-such-path", 404, "not-found"),
        ("POST", "/missing", 405, "method-not-allowed"),
    ],
)
async def test_every_failure_is_a_problem_with_a_stable_type(
    client: httpx.AsyncClient, method: str, path: str, status: int, type: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"/problems/{type}", status)
    assert body["title"]


async def test_extra_members_and_detail_are_part_of_the_answer(client: httpx.AsyncClient) -> None:
    body = (await client.get("/conflict")).json()
    assert (body["title"], body["detail"], body["reasons"]) == ("活动已有签到", "see reasons", ["a"])
    assert "detail" not in (await client.get("/missing")).json()


async def test_a_refusal_is_answered_as_its_service_says(client: httpx.AsyncClient) -> None:
    answer = await client.get("/late")
    assert answer.json() == {
        "type": "/problems/too-late",
        "title": "第一课 已经结束",
        "status": 409,
        "detail": "see when",
        "ended": ["a"],
    }
    assert answer.headers["retry-after"] == "60"


async def test_an_invalid_request_is_told_where(client: httpx.AsyncClient) -> None:
    (error,) = (await client.get("/number?n=0")).json()["errors"]
    assert error == {"at": "query.n", "message": "n：不能小于 1"}


SOUND = {"day": "2024-06-29", "at": "2024-06-29T19:30:00+08:00", "kind": "a", "words": ["字"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SOUND | {"day": "29 June"}, "day：不是日期，请写成 2024-06-29"),
        (SOUND | {"at": "2024-06-29T19:30:00"}, "at：没有写时区，请写成 2024-06-29T19:30:00+08:00"),
        (SOUND | {"at": "soon"}, "at：不是时间，请写成 2024-06-29T19:30:00+08:00"),
        (SOUND | {"kind": "c"}, "kind：只能是 'a'、'b' 之一"),
        (SOUND | {"words": ["a", "b"]}, "words：最多 1 项"),
        (SOUND | {"words": ["abc"]}, "words.0：最多 2 个字符"),
        (SOUND | {"words": "abc"}, "words：应为列表"),
        (SOUND | {"checked": "no"}, "checked：不可以是 no"),
        (SOUND | {"dya": 1}, "dya：不是这里能用的名称，请核对拼写或去掉"),
        ({key: value for key, value in SOUND.items() if key != "day"}, "day：没有写，请补上"),
        ("{", "请求：不是有效的 JSON"),
    ],
)
async def test_an_invalid_field_is_told_in_chinese(client: httpx.AsyncClient, body: object, message: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = (await client.post("/order", content=content, headers={"content-type": "application/json"})).json()
    assert [error["message"] for error in answer["errors"]] == [message]


@pytest.mark.parametrize(("method", "path"), [("GET", "/no-such-path"), ("POST", "/missing")])
async def test_what_the_framework_refuses_is_told_in_chinese(client: httpx.AsyncClient, method: str, path: str) -> None:
    body = (await client.request(method, path)).json()
    assert "地址" in body["title"]
    assert "detail" not in body


async def test_an_absent_database_asks_to_come_back(client: httpx.AsyncClient) -> None:
    answer = await client.get("/away")
    assert answer.headers["retry-after"] == str(problems.RETRY_AFTER_S)
    assert "10.0.0.5" not in answer.text


async def test_an_unexpected_error_shows_nothing_of_itself(client: httpx.AsyncClient) -> None:
    assert "phone" not in (await client.get("/broken")).text


async def test_headers_of_framework_errors_are_kept(client: httpx.AsyncClient) -> None:
    assert (await client.post("/missing")).headers["allow"] == "GET"


async def test_a_caller_who_hangs_up_is_no_error_of_ours() -> None:
    """Otherwise anybody could fill the log and set off the alert on server errors."""
    app = FastAPI()
    problems.install(app)

    @app.post("/events")
    async def events(request: Request) -> int:
        return len(await request.body())

    sent: list[Message] = []
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/events", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert sent[0]["status"] == 400


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nothing-here", 404, "没有这个页面"),
        ("/late", 409, "第一课 已经结束"),
        ("/away", 503, "数据库暂时不可用"),
        ("/broken", 500, "服务内部错误"),
        ("/number?n=0", 422, "请求内容不符合要求"),
    ],
)
async def test_a_browser_gets_a_page_in_chinese(client: httpx.AsyncClient, path: str, status: int, says: str) -> None:
    answer = await client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, says in answer.text, "tel:96110" in answer.text) == (status, True, True)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert ("retry-after" in answer.headers) == (path in ("/late", "/away"))
