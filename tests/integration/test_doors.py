"""Who may call what, and with how much: one table over every route of every service, taken from the services themselves.

A route that is added without a line here fails. No database: whoever is let in is told 503, or what is wrong with the request.
"""

import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from checks import contracts
from devstack.ports import free_port
from devstack.secrets import Secrets
from shared.bus.topology import SERVICES
from shared.clock import write_clock
from shared.service.bodies import Bodies
from shared.service.sessions import COOKIE, Session, SessionSigner, form_token, new_secret
from shared.service.tokens import ALL_CAMPAIGNS, ROLES, Principal, create_token, wall_now
from tests.support.certificate import CLAIM_FROM
from tests.support.checkin import signature

KIB = 1024
MIB = 1024 * KIB
CAMPAIGN, UNIT = "small-2024", "111"
SECRETS = Secrets()
SECRET = new_secret()  # of the sessions below


@dataclass(frozen=True)
class Door:
    """`roles`: who is let in; None: anybody. `subtrees`: whether tokens of a unit are let in. `body_max_bytes`: None: the route
    takes no body. `headers`: makes the other headers that are checked before the body, anew for each call because a signature
    is valid for five minutes only. `page`: people sign in on a page, and their token is a cookie."""

    roles: tuple[str, ...] | None
    subtrees: bool = False
    body_max_bytes: int | None = None
    headers: Callable[[], Mapping[str, str]] = dict
    page: bool = False
    form_token: bool = True  # where an Origin is checked, the form carries our page's token, too


PUBLIC, SIGNED = Door(None), Door(None, body_max_bytes=MIB, headers=partial(signature, b"anything"))
TYPED = Door(None, body_max_bytes=16 * KIB)
FORM = Door(None, body_max_bytes=16 * KIB, headers=lambda: {"content-type": "application/x-www-form-urlencoded"})
OUR_FORM = {"content-type": "application/x-www-form-urlencoded", "origin": "http://door.test"}
SIGN_IN_FORM = Door(None, body_max_bytes=16 * KIB, headers=OUR_FORM.copy)
# A phone that is bound has no session yet: the exact Origin alone says that our page asks.
OUR_ORIGIN = {"origin": "http://door.test"}
CODE = Door(None, body_max_bytes=16 * KIB, headers=OUR_ORIGIN.copy, form_token=False)
CODE_FORM = Door(None, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, form_token=False)
FORGET = Door(None, headers=OUR_ORIGIN.copy, form_token=False)
ANYBODYS_PAGE = Door(ROLES, subtrees=True, page=True)
ANYBODYS_BUTTON = Door(ROLES, subtrees=True, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True)
OFFICE, READERS = ("admin", "office"), ("admin", "office", "auditor")
DESK = Door(READERS, subtrees=True, page=True)
DESK_BUTTON = Door(OFFICE, subtrees=True, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True)
REPORTERS = ("admin", "office", "liaison")
DECISION = Door(REPORTERS, subtrees=True, body_max_bytes=16 * KIB)
READERS_PAGE = Door(READERS, subtrees=True, page=True)
EVERYWHERE = {
    f"{method} {path}": PUBLIC
    for method, path in (
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/swagger/swagger-ui-bundle.js"),
        ("GET", "/swagger/swagger-ui.css"),
        ("GET", "/swagger/favicon-32x32.png"),
        ("GET", "/favicon.ico"),
        ("GET", "/metrics"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("POST", "/health/settle"),  # takes no body, and is there only with a simulated clock
    )
}
C = "/v1/campaigns/{campaign_id}"
ON_DESK = "/desk/units/{unit_code}/reports/{form}/{period}"
REPORT = C + "/units/{unit_code}/reports/{form}/{period}"
DOORS = {
    "checkin": {
        "POST /v1/live/events": SIGNED,
        "POST /v1/live/events/{source}": SIGNED,
        f"POST {C}/imports": Door(OFFICE, body_max_bytes=MIB),
        f"PUT {C}": Door(("admin",), body_max_bytes=8 * MIB),
        "GET /v1/campaigns": Door(ROLES, subtrees=True),
        f"GET {C}": Door(ROLES, subtrees=True),
        f"GET {C}/whatif": Door(READERS),
        f"POST {C}/make-goods": Door(OFFICE, body_max_bytes=MIB),
        f"PUT {C}/lessons/{{lesson_date}}/platform-count": Door(OFFICE, body_max_bytes=16 * KIB),
        f"GET {C}/viewers/{{viewer_id}}": Door(READERS),
        f"POST {C}/viewers/{{viewer_id}}/link": Door(OFFICE, body_max_bytes=16 * KIB),
        f"POST {C}/viewer-links": Door(OFFICE, body_max_bytes=MIB),
        f"GET {C}/units/{{unit_code}}/viewers": Door(ROLES, subtrees=True),
        f"GET {C}/units/{{unit_code}}/viewers/{{viewer_id}}": Door(ROLES, subtrees=True),
        "GET /me/{token}": PUBLIC,
        "GET /campaigns": READERS_PAGE,
        "GET /campaigns/viewers": READERS_PAGE,
        "POST /campaigns/viewers": Door(
            READERS, subtrees=True, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True
        ),
        "GET /campaigns/viewers/{viewer_id}": READERS_PAGE,
        "POST /campaigns/viewers/{viewer_id}/link": Door(
            OFFICE, subtrees=True, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True
        ),
        "GET /campaigns/make-goods": Door(READERS, page=True),
        "POST /campaigns/make-goods/preview": Door(OFFICE, body_max_bytes=MIB, headers=OUR_FORM.copy, page=True),
        "POST /campaigns/make-goods": Door(OFFICE, body_max_bytes=MIB, headers=OUR_FORM.copy, page=True),
    },
    "reporting": {
        f"GET {C}/totals": Door(ROLES, subtrees=True),
        f"GET {C}/live-room": Door(ROLES, subtrees=True),
        f"POST {REPORT}": Door(REPORTERS, subtrees=True, body_max_bytes=2 * MIB),
        f"GET {REPORT}": Door(ROLES, subtrees=True),
        f"POST {REPORT}/return": DECISION,
        f"POST {REPORT}/excuse": DECISION,
        f"POST {REPORT}/approve": DECISION,
        f"POST {REPORT}/reopen": DECISION,
        f"GET {C}/forms/{{form}}/{{period}}/template.xlsx": Door(ROLES, subtrees=True),
        f"POST {C}/reports/{{form}}/{{period}}/upload": Door(
            REPORTERS, subtrees=True, body_max_bytes=8 * MIB + 64 * KIB, headers=FORM.headers
        ),
        f"GET {C}/obligations": Door(ROLES, subtrees=True),
        f"GET {C}/rates": Door(ROLES, subtrees=True),
        f"GET {C}/findings": Door(ROLES, subtrees=True),
        f"POST {C}/findings/{{finding_id}}/explain": DECISION,
        f"POST {C}/findings/{{finding_id}}/close": Door(OFFICE, subtrees=True, body_max_bytes=16 * KIB),
        f"GET {C}/indicators/{{indicator}}": Door(ROLES, subtrees=True),
        f"GET {C}/rankings/{{indicator}}": Door(ROLES, subtrees=True),
        "POST /v1/receipts/verify": TYPED,
        f"GET {C}/people": Door(("admin",)),
        f"POST {C}/people": Door(("admin",), body_max_bytes=16 * KIB),
        f"POST {C}/people/{{person_id}}/revoke": Door(("admin",), body_max_bytes=16 * KIB),
        f"PUT {C}/units/{{unit_code}}/liaison": Door(OFFICE, subtrees=True, body_max_bytes=16 * KIB),
        f"GET {C}/units/{{unit_code}}/liaison": Door(ROLES, subtrees=True),
        f"DELETE {C}/units/{{unit_code}}/liaison": Door(OFFICE, subtrees=True, body_max_bytes=16 * KIB),
        f"POST {C}/units/{{unit_code}}/liaison/revoke": Door(OFFICE, subtrees=True, body_max_bytes=16 * KIB),
        f"GET {C}/liaisons": Door(ROLES, subtrees=True),
        f"POST {C}/slips": Door(OFFICE, subtrees=True, body_max_bytes=40 * KIB),
        "GET /r": PUBLIC,  # a phone that is not bound is asked for a code
        "POST /r/reports": Door(None, body_max_bytes=256 * KIB, headers=OUR_FORM.copy),
        "POST /r/pictures": Door(None, body_max_bytes=8 * MIB + 256 * KIB, headers=OUR_FORM.copy),
        "GET /r/pictures/{picture_id}": PUBLIC,
        "GET /r/reports/{campaign_id}/{unit_code}/{form}/{period}": PUBLIC,
        "GET /r/receipts/{number}": PUBLIC,
        "GET /r/people": PUBLIC,
        "POST /r/people": SIGN_IN_FORM,
        "POST /r/people/leave": SIGN_IN_FORM,
        "GET /r/worker.js": PUBLIC,
        "POST /r/devices": CODE,
        "POST /r/devices/form": CODE_FORM,
        "POST /r/devices/forget": FORGET,
        f"POST {C}/units/{{unit_code}}/pictures": Door(
            ("liaison", "office", "admin"), subtrees=True, body_max_bytes=8 * MIB + 16 * KIB
        ),
        f"GET {C}/units/{{unit_code}}/pictures/{{picture_id}}": Door(ROLES, subtrees=True),
        "GET /sign-in": PUBLIC,
        "POST /sign-in": SIGN_IN_FORM,
        "POST /sign-in/second-step": SIGN_IN_FORM,
        "GET /sign-in/renew": PUBLIC,
        "GET /invitation": PUBLIC,
        "POST /invitation": SIGN_IN_FORM,
        "GET /account": ANYBODYS_PAGE,
        "POST /sign-out": ANYBODYS_BUTTON,
        "POST /account/sign-out-everywhere": ANYBODYS_BUTTON,
        "POST /account/passphrase": ANYBODYS_BUTTON,
        "POST /account/second-step": ANYBODYS_BUTTON,
        "POST /account/second-step/on": ANYBODYS_BUTTON,
        "POST /account/second-step/off": ANYBODYS_BUTTON,
        "GET /desk": DESK,
        "GET /desk/rates": DESK,
        "GET /desk/rates.{kind}": DESK,
        "GET /desk/obligations": DESK,
        "GET /desk/obligations.{kind}": DESK,
        "GET /desk/chase": DESK,
        "GET /desk/findings": DESK,
        "GET /desk/findings.{kind}": DESK,
        "GET /desk/without-liaison": DESK,
        "GET /desk/without-liaison.{kind}": DESK,
        "GET /desk/units/{unit_code}": DESK,
        "GET /desk/units/{unit_code}/lessons.{kind}": DESK,
        "GET /desk/units/{unit_code}/pictures/{picture_id}": DESK,
        f"GET {ON_DESK}": DESK,
        f"GET {ON_DESK}/fill": Door(OFFICE, subtrees=True, page=True),
        f"POST {ON_DESK}/fill": Door(OFFICE, True, 256 * KIB, OUR_FORM.copy, page=True),
        f"POST {ON_DESK}/return": DESK_BUTTON,
        f"POST {ON_DESK}/excuse": DESK_BUTTON,
        f"POST {ON_DESK}/owe-again": DESK_BUTTON,
        f"POST {ON_DESK}/approve": DESK_BUTTON,
        f"POST {ON_DESK}/reopen": DESK_BUTTON,
        f"POST {ON_DESK}/findings/{{finding_id}}/explain": DESK_BUTTON,
        f"POST {ON_DESK}/findings/{{finding_id}}/close": DESK_BUTTON,
    },
    "notification": {
        f"GET {C}/notifications": Door(READERS),
        f"POST {C}/units/{{unit_code}}/liaison/reveal": Door(OFFICE, subtrees=True, body_max_bytes=16 * KIB),
        "GET /messages/contacts/{unit_code}": Door(OFFICE, subtrees=True, page=True),
        "POST /messages/contacts/{unit_code}": DESK_BUTTON,
    },
    "certificate": {
        "POST /v1/claims": TYPED,
        "GET /": PUBLIC,
        "GET /claim": PUBLIC,
        "POST /claim": FORM,
        "GET /v/{code}": PUBLIC,
        "GET /v/{code}/preview.png": PUBLIC,
        "GET /v/": PUBLIC,
        "POST /v/": FORM,
        "POST /v1/verify": TYPED,
        "GET /files/{token}/certificate.pdf": PUBLIC,
        "GET /files/{token}/certificate.png": PUBLIC,
        "GET /files/{token}/certificate.json": PUBLIC,
        "GET /certificates": Door(READERS, page=True),
        "POST /certificates": Door(READERS, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True),
        "GET /certificates/{serial}": Door(READERS, page=True),
        "POST /certificates/{serial}/revoke": Door(OFFICE, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True),
        "POST /certificates/{serial}/reissue": Door(OFFICE, body_max_bytes=16 * KIB, headers=OUR_FORM.copy, page=True),
        f"GET {C}/certificates/{{viewer_id}}": Door(READERS),
        f"POST {C}/certificates/{{viewer_id}}/revoke": Door(OFFICE, body_max_bytes=16 * KIB),
        f"POST {C}/certificates/{{viewer_id}}/reissue": Door(OFFICE, body_max_bytes=16 * KIB),
    },
}
IN_PATHS = {
    "kind": "csv",
    "campaign_id": CAMPAIGN,
    "source": "standard",
    "lesson_date": "2024-06-29",
    "viewer_id": "v",
    "unit_code": UNIT,
    "token": "x",
    "code": "x",
    "form": "daily",
    "indicator": "rate",
    "period": "2024-06-29",
    "number": "7K3M-9QXV-2HDN",
    "finding_id": "1",
    "serial": "7K3M-9QXV-2HDN",
    "person_id": "0190649b-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
    "picture_id": "0190649b-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
}
EVERY_DOOR = [(service, route, door) for service in DOORS for route, door in DOORS[service].items()]
LOCKED = [door for door in EVERY_DOOR if door[2].roles is not None and not door[2].page]
PAGES = [door for door in EVERY_DOOR if door[2].page]
WITH_BODY = [door for door in EVERY_DOOR if door[2].body_max_bytes is not None]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FastAPI]:
    folder = tmp_path_factory.mktemp("doors")
    write_clock(folder / "clock", CLAIM_FROM)
    changes = {
        "ENVIRONMENT": "test",
        "CLOCK_FILE": str(folder / "clock"),
        "DATABASE_URL": f"postgresql://nobody:x@127.0.0.1:{free_port()}/nowhere",
        "NATS_URL": f"nats://nobody@127.0.0.1:{free_port()}",
        "PDF_DIR": str(folder / "pdf"),
        "FILE_CHANNEL_DIR": str(folder / "messages"),
    }
    return {service: contracts.build_service(service, changes, SECRETS) for service in SERVICES}


def routes_of(app: FastAPI) -> Iterator[str]:
    for context in iter_route_contexts(app.routes):
        for method in sorted(context.methods or ()):
            if method != "HEAD":
                yield f"{method} {context.path_format or context.path}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_stands_in_the_table(apps: dict[str, FastAPI], service: str) -> None:
    assert sorted(routes_of(apps[service])) == sorted(DOORS[service] | EVERYWHERE)


# ---- asking ----------------------------------------------------------------------------------------------------------


async def unread() -> AsyncIterator[bytes]:
    raise AssertionError("the body was read")
    yield b""


async def ask(
    app: FastAPI, route: str, headers: Mapping[str, str], content: bytes | AsyncIterator[bytes]
) -> httpx.Response:
    method, path = route.split(" ")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://door.test") as client:
        known = {"content-type": "application/json"} | dict(headers)
        return await client.request(method, path.format(**IN_PATHS), headers=known, content=content)


def bearer(role: str, campaign: str = CAMPAIGN, unit: str | None = None) -> dict[str, str]:
    token = create_token(
        SECRETS.token_private_key,
        subject="tester",
        role=role,  # type: ignore[arg-type]
        campaign=campaign,
        unit=unit,
        valid_for=timedelta(minutes=5),
    )
    return {"authorization": f"Bearer {token}"}


def cookie(role: str, unit: str | None = None, key: str = SECRETS.session_signing_key) -> dict[str, str]:
    principal = Principal("tester", role, CAMPAIGN, unit)  # type: ignore[arg-type]
    session = Session(SECRET, uuid4(), 1, principal, wall_now(), wall_now() + timedelta(hours=1))
    return {"cookie": f"{COOKIE}={SessionSigner(key).sign(session)}"}


def type_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "route", "door"), LOCKED)
async def test_role_campaign_and_unit_decide_before_the_body_is_read(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    assert door.roles is not None
    places = [(CAMPAIGN, None), (ALL_CAMPAIGNS, None), (CAMPAIGN, UNIT), (ALL_CAMPAIGNS, UNIT), ("other-2025", None)]
    for role, (campaign, unit) in itertools.product(ROLES, places):
        elsewhere = (
            campaign == "other-2025" and "{campaign_id}" in route
        )  # else the answer keeps to the token's campaign
        may = role in door.roles and not elsewhere and (unit is None or door.subtrees)
        answer = await ask(apps[service], route, bearer(role, campaign, unit), b"?" if may else unread())
        seen = (route, role, campaign, unit, answer.status_code, answer.text)
        assert (answer.status_code not in (401, 403)) == may, seen
        assert answer.status_code in (403, 200, 400, 404, 422, 503), seen


@pytest.mark.parametrize(("service", "route", "door"), LOCKED)
async def test_without_a_token_nothing_is_read(apps: dict[str, FastAPI], service: str, route: str, door: Door) -> None:
    for headers in ({}, {"authorization": "Bearer x.y.z"}, {"authorization": "Basic eDp5"}):
        answer = await ask(apps[service], route, headers, unread())
        assert answer.status_code == 401, (route, headers, answer.text)


ODD: list[Any] = [[], ["111"], {}, {"a": 1}, 7, 1.5, True, False, "a\x00b", "\x7f", "x" * 201]
ODD_TIMES: list[Any] = [[], {}, "", "soon", "\x00", float("inf"), float("nan"), None, "9" * 400, "4102444800"]


@pytest.mark.parametrize(
    "claims",
    [
        *({claim: odd} for claim in ("sub", "role", "campaign", "unit") for odd in ODD),
        *({claim: odd} for claim in ("exp", "iat", "nbf") for odd in ODD_TIMES),
        *({claim: None} for claim in ("sub", "role", "campaign")),
        {"aud": ["x"]},
        {"iss": 5, "exp": "x"},
    ],
)
async def test_a_claim_of_another_kind_is_no_token(apps: dict[str, FastAPI], claims: dict[str, Any]) -> None:
    """The token is signed with the deployment's key, but a claim is of the wrong type: that must give neither a 500 nor
    rights."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(SECRETS.token_private_key))
    whole = {"sub": "t", "role": "admin", "campaign": CAMPAIGN, "unit": UNIT, "exp": 4102444800}
    token = jwt.api_jws.encode(json.dumps(whole | claims).encode(), key, algorithm="EdDSA")
    answer = await ask(apps["reporting"], f"GET {C}/totals", {"authorization": f"Bearer {token}"}, b"")
    assert type_of(answer) == (401, "token-invalid")


# ---- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "route", "door"), PAGES)
async def test_role_and_unit_decide_who_sees_a_page_and_whose_form_is_read(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    assert door.roles is not None
    form = f"form_token={form_token(SECRET)}".encode()
    for role, unit in itertools.product(ROLES, (None, UNIT)):
        may = role in door.roles and (unit is None or door.subtrees)
        headers = cookie(role, unit) | dict(door.headers())
        answer = await ask(apps[service], route, headers, form if may else unread())
        assert (answer.status_code != 403) == may, (route, role, unit, answer.text)
        assert answer.status_code in (200, 403, 303, 404, 422, 503), (route, role, unit, answer.text)


@pytest.mark.parametrize(("service", "route", "door"), PAGES)
async def test_who_is_not_signed_in_is_led_there_and_a_token_opens_no_page(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    other = Secrets().session_signing_key
    for headers in ({}, cookie("admin", key=other), {"cookie": f"{COOKIE}=x.y.z"}, bearer("admin")):
        answer = await ask(apps[service], route, headers | dict(door.headers()), unread())
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), (route, headers)


@pytest.mark.parametrize(("service", "route", "door"), [door for door in EVERY_DOOR if "origin" in door[2].headers()])
async def test_a_form_of_another_origin_is_not_read(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    form = f"form_token={form_token(SECRET)}".encode()
    for origin in ("http://door.test:8445", "https://door.test", "http://door.test.evil", "null", ""):
        headers = cookie("admin") | dict(door.headers()) | {"origin": origin}
        assert type_of(await ask(apps[service], route, headers, unread())) == (403, "other-origin")
    if not door.form_token:
        return
    without_token = cookie("admin") | dict(door.headers())
    for body in (b"", b"form_token=", form.replace(b"=", b"=0")):
        assert type_of(await ask(apps[service], route, without_token, body)) == (403, "form-expired")


# ---- signatures ------------------------------------------------------------------------------------------------------

SIGNED_BY = ("webhook-id", "webhook-timestamp", "webhook-signature")


@pytest.mark.parametrize("route", ["POST /v1/live/events", "POST /v1/live/events/{source}"])
@pytest.mark.parametrize(
    "change",
    [
        dict.fromkeys(SIGNED_BY),
        *({name: None} for name in SIGNED_BY),
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "NaN"},
    ],
)
async def test_a_post_that_cannot_be_signed_is_not_read(
    apps: dict[str, FastAPI], route: str, change: dict[str, str | None]
) -> None:
    """`change`: changes to the headers of a valid signature; None leaves a header out."""
    headers = {name: value for name, value in (signature(b"") | change).items() if value is not None}
    assert type_of(await ask(apps["checkin"], route, headers, unread())) == (401, "signature")


# ---- bodies ----------------------------------------------------------------------------------------------------------


def let_in(door: Door) -> dict[str, str]:
    key = {} if door.roles is None else cookie("admin") if door.page else bearer("admin")
    return {**key, **door.headers()}


async def pieces(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield b" " * min(size, 64 * KIB)
        size -= 64 * KIB


@pytest.mark.parametrize(("service", "route", "door"), WITH_BODY)
async def test_a_body_is_as_large_as_the_route_says(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    assert door.body_max_bytes is not None
    app, headers = apps[service], let_in(door)
    declared = headers | {"content-length": str(door.body_max_bytes + 1)}
    assert type_of(await ask(app, route, declared, unread())) == (413, "too-large")
    assert (await ask(app, route, headers, pieces(door.body_max_bytes))).status_code != 413
    if not route.endswith(
        ("/link", "/upload", "/r/pictures")
    ):  # the first reads none, the others stop early at what is no file
        assert type_of(await ask(app, route, headers, pieces(door.body_max_bytes + 1))) == (413, "too-large")
    assert app.state.bodies.held_bytes == 0


@pytest.mark.parametrize(("service", "route", "door"), WITH_BODY)
async def test_a_compressed_body_is_refused_unread(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    answer = await ask(apps[service], route, let_in(door) | {"content-encoding": "gzip"}, unread())
    assert type_of(answer) == (400, "compressed")


@pytest.mark.parametrize(("service", "route", "door"), WITH_BODY)
async def test_a_body_is_not_read_where_too_much_waits(
    apps: dict[str, FastAPI], service: str, route: str, door: Door
) -> None:
    app = apps[service]
    before, app.state.bodies = app.state.bodies, Bodies(held_max_bytes=0)
    try:
        answer = await ask(app, route, let_in(door), unread())
    finally:
        app.state.bodies = before
    assert type_of(answer) == (429, "busy")
    assert int(answer.headers["retry-after"]) >= 1
