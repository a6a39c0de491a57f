"""Nothing is read or written outside of somebody's campaign and subtree: every route of every service, as the services themselves
list them, with every role and scope, by token and by cookie, asked about what is theirs and what is not.

A new route is asked without anybody listing it: what stands in its path, query and body is filled in by name, from the place that
is asked about, or by its schema. Each place has marks, which no request says and no answer may show to those of another place.
"""

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from services.reporting.people.browser import FORM_COOKIE
from shared.bus.topology import SERVICES
from shared.people import sessions
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import PageGate
from shared.service.sessions import COOKIE, Session, SessionSigner, SessionVerifier, form_token, new_secret
from shared.service.tokens import ROLES, Gate, Principal, Role, create_token, wall_now
from tests.support.campaigns import campaign_content, unit
from tests.support.checkin import checkin, enrolment
from tests.support.deployment import BOTH_OVER, LESSONS, WholeDeployment, whole_deployment
from tests.support.forms import form
from tests.support.nats_support import eventually
from tests.support.office import accept, is_signed_in, submit
from tests.support.servers import RunningPostgres
from tests.support.service import OFFICE
from upkeep import dump

HERE, THERE = "here-2024", "there-2024"
WITHIN_S = 20  # the promise is a minute
REFUSED = (303, 401, 403, 404, 405, 409, 410, 415, 422, 429)


@dataclass
class Place:
    """A county of a campaign. `marks`: what only those of the county, or of the whole campaign, may be shown."""

    campaign: str
    county: str
    mark: str
    known: dict[str, Any] = field(default_factory=dict)  # parameters by name
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    campaign: str
    unit: str | None

    def covers(self, place: Place) -> bool:
        return place.campaign == self.campaign and self.unit in (None, place.county)


WRITTEN_LATER = {"checkin.feed_heard"}  # tables that a loop writes some seconds after events came, whoever asks
WITHIN = ("viewer_id", "serial", "person_id")  # what a path names within a campaign or unit
PLACES = (Place(HERE, "jiaxian", "甲标记"), Place(HERE, "yixian", "乙标记"), Place(THERE, "bingxian", "丙标记"))
SCOPES = (Scope(HERE, None), Scope(HERE, "jiaxian"), Scope(THERE, None))


async def plant(stack: WholeDeployment) -> None:
    """Two campaigns on; certificates issued, a report in from each county, somebody invited for each."""
    for campaign in (HERE, THERE):
        places = [place for place in PLACES if place.campaign == campaign]
        units = [unit(f"{campaign}-1", None, "province"), unit(f"{campaign}-11", f"{campaign}-1", "city")]
        for place in places:
            units.append(unit(place.county, f"{campaign}-11", "county", name=f"{place.mark}县"))
            units.append(unit(f"{place.county}-EDU", place.county, "unit", name=f"{place.mark}局"))
        content = campaign_content(
            campaign_id=campaign, title=f"{campaign} 活动", units=units, channels={}, forms=[form()]
        )
        await stack.put("checkin", f"/v1/campaigns/{campaign}", content)
    stack.clock_is(BOTH_OVER)
    for place in PLACES:
        more = {"campaign_id": place.campaign}
        for viewer in (f"{place.county}-v1", f"{place.county}-v2"):
            told = enrolment(viewer, unit_code=f"{place.county}-EDU", group="student", name=f"{place.mark}人", **more)
            came = [checkin(viewer, f"{lesson}T19:31:05+08:00", **more) for lesson in LESSONS]
            assert await stack.send(told, *came) == {"recorded": 3}
    await stack.settle()
    for place in PLACES:
        path = f"/v1/campaigns/{place.campaign}"
        asked, kept = [
            await stack.get("certificate", f"{path}/certificates/{place.county}-v{number}") for number in (1, 2)
        ]
        report = await stack.post(
            "reporting",
            f"{path}/units/{place.county}/reports/daily/2024-06-29",
            {"submission_id": str(uuid4()), "values": {"viewers": 3, "sites": []}},
        )
        invited = await stack.post(
            "reporting", f"{path}/people", {"name": f"{place.mark}员", "role": "office", "unit": place.county}
        )
        assert (report.status_code, invited.status_code) == (200, 200), report.text + invited.text
        place.known = {
            "campaign_id": place.campaign,
            "unit_code": place.county,
            "unit": place.county,
            "viewer_id": f"{place.county}-v1",
            "viewer_ids": [f"{place.county}-v1"],
            "serial": asked["serial"],
            "person_id": invited.json()["person_id"],
            "form": "daily",
            "period": "2024-06-29",
            "lesson_date": "2024-06-29",
            "source": "standard",
        }
        place.marks = [place.mark, f"{place.county}-v2", kept["serial"], kept["claim_code"]]
    await stack.settle()


@pytest.fixture(scope="module")
async def planted(postgres: RunningPostgres) -> AsyncIterator[WholeDeployment]:
    async with whole_deployment(postgres) as stack, stack.running():
        await plant(stack)
        yield stack


# ---- every route -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    service: str
    method: str
    path: str
    is_page: bool
    is_public: bool
    operation: Mapping[str, Any]  # of the service's OpenAPI document
    schemas: Mapping[str, Any]

    @property
    def names_counties(self) -> bool:
        """The boards' figures are by county; neither names nor accounts nor serials stand in them."""
        return self.path == "/metrics"

    def is_about(self, place: Place, scope: Scope) -> bool:
        """Whether the path names what is in this place and not in this scope."""
        named = {name for name in place.known if f"{{{name}}}" in self.path}
        return (
            ("campaign_id" in named and place.campaign != scope.campaign)
            or (bool(named & {"unit_code", "serial", "person_id"}) and not scope.covers(place))
            or ("viewer_id" in named and not scope.covers(place))
        )

    @property
    def names_more(self) -> bool:
        """Whether the path names something within a campaign or unit."""
        return any(f"{{{name}}}" in self.path for name in WITHIN)

    def request(self, place: Place, within: Mapping[str, Any]) -> tuple[str, str, bytes]:
        """Address, media type and body. `within`: what the path says in place of the place's own campaign and unit."""
        path = self.path
        for name in [part.strip("{}") for part in self.path.split("/") if part.startswith("{")]:
            path = path.replace(f"{{{name}}}", str({**place.known, **within}.get(name, "x")))
        parameters = [known for known in self.operation.get("parameters", []) if known["in"] == "query"]
        query = {
            known["name"]: place.known.get(known["name"], "") or self.value("", known["schema"], place)
            for known in parameters
            if known.get("required") or known["name"] in ("unit", "unit_code", "viewer_id")
        }
        media, body = "application/json", b""
        for media, content in self.operation.get("requestBody", {}).get("content", {}).items():
            if "schema" not in content:  # a picture, as it is
                media, body = "image/jpeg", b"no picture"
                break
            value = self.value("", content["schema"], place)
            body = urlencode(value).encode() if "form" in media else httpx.Request("POST", "x:", json=value).content
        media = "application/x-www-form-urlencoded" if self.is_page else media
        return f"{path}?{urlencode(query)}" if query else path, media, body

    def value(self, name: str, schema: Mapping[str, Any], place: Place) -> Any:
        """Something of this schema; where its name is one that the place knows, the place's."""
        if name in place.known:
            return place.known[name]
        if "$ref" in schema:
            return self.value(name, self.schemas[schema["$ref"].rpartition("/")[2]], place)
        for alternatives in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
            if alternatives:
                return self.value(name, alternatives[0], place)
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        match schema.get("type"):
            case "object":
                told = schema.get("properties", {}).keys()
                wanted = told if self.is_page else {*schema.get("required", []), *(place.known.keys() & told)}
                return {key: self.value(key, schema["properties"][key], place) for key in sorted(wanted)}
            case "array":
                return [self.value(name, schema.get("items", {}), place)]
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return False
        formats = {"uuid": str(uuid4()), "date": "2024-06-29", "date-time": "2030-01-01T00:00:00+08:00"}
        return formats.get(schema.get("format", ""), "abcdef-1")


def routes_of(service: str, app: FastAPI) -> Iterator[Route]:
    document = app.openapi()
    for context in iter_route_contexts(app.routes):
        path = str(context.path_format or context.path)
        gates = context.route.gates if isinstance(context.route, GuardedRoute) else ()
        for method in sorted((context.methods or set()) - {"HEAD"}):
            operation = document["paths"].get(path, {}).get(method.lower(), {})
            is_page = any(isinstance(gate, PageGate) for gate in gates)
            is_public = not any(isinstance(gate, Gate | PageGate) for gate in gates)
            schemas = document.get("components", {}).get("schemas", {})
            yield Route(service, method, path, is_page, is_public, operation, schemas)


@dataclass
class Asker:
    """Asks as one role with one scope, or as nobody (`scope` None)."""

    stack: WholeDeployment
    client: httpx.AsyncClient

    async def ask(
        self, route: Route, place: Place, role: Role, scope: Scope | None, *, cookie: bool, within: Mapping[str, Any]
    ) -> httpx.Response:
        address, media, body = route.request(place, within)
        accepted = "text/html" if route.is_page else "application/json"
        headers = {"content-type": media, "origin": OFFICE, "accept": accepted}
        if scope is not None and cookie:
            secret, value = self._cookie(role, scope)
            headers["cookie"] = f"{COOKIE}={value}"
            if route.is_page and route.method != "GET":
                body += b"&form_token=" + form_token(secret).encode()
        elif scope is not None:
            headers["authorization"] = f"Bearer {self._token(role, scope)}"
        return await self.client.request(route.method, address, headers=headers, content=body)

    def _token(self, role: Role, scope: Scope) -> str:
        key, hour = self.stack.secrets.token_private_key, timedelta(hours=1)
        return create_token(
            key,
            subject="asker",
            role=role,
            campaign=scope.campaign,
            unit=scope.unit,
            valid_for=hour,
        )

    def _cookie(self, role: Role, scope: Scope) -> tuple[str, str]:
        now, secret = wall_now(), new_secret()
        principal = Principal("asker", role, scope.campaign, scope.unit)
        session = Session(secret, uuid4(), 1, principal, now, now + timedelta(hours=1))
        return secret, SessionSigner(self.stack.secrets.session_signing_key).sign(session)


async def kept(stack: WholeDeployment, places: list[Place]) -> dict[str, list[str]]:
    """Every row of every table that names one of these places."""
    rows: dict[str, list[str]] = {}
    names = [name for place in places for name in (place.county, place.mark)]
    names += [campaign for campaign in {place.campaign for place in places} if campaign not in (HERE,)]
    for service in SERVICES:
        connection = await dump.connect(stack.databases[service].owner_url)
        for table, columns in await connection.fetch(dump.COLUMNS):
            text = " || ' ' || ".join(
                f"coalesce(encode({column}, 'escape'), '')" if column == "payload" else f"coalesce({column}::text, '')"
                for column in columns
            )
            sql = f"SELECT {text} AS row FROM {table} WHERE {text} LIKE ANY($1) ORDER BY 1"
            rows[f"{service}.{table}"] = [
                row["row"] for row in await connection.fetch(sql, [f"%{name}%" for name in names])
            ]
        await connection.close()
    return rows


@pytest.mark.timeout(400)
async def test_nothing_is_read_or_written_outside_of_campaign_and_subtree(planted: WholeDeployment) -> None:
    routes = [route for service in SERVICES for route in routes_of(service, planted.services[service].app)]
    askers = {service: Asker(planted, planted.services[service].browser()) for service in SERVICES}
    assert sum(bool(route.operation) for route in routes) > 40
    faults: list[Any] = []
    for scope in (None, *SCOPES):
        outside = [place for place in PLACES if scope is None or not scope.covers(place)]
        before, shown = await kept(planted, outside), ""
        for route, place in itertools.product(routes, PLACES):
            forbidden = [
                mark for other in outside for mark in other.marks if not route.names_counties or mark != other.mark
            ]
            asked: list[Mapping[str, Any]] = [{}]
            if scope is not None and place in outside and route.names_more:
                asked.append(of_home(scope))  # what is theirs, asked for as if it were ours
            for within, (role, cookie) in itertools.product(asked, ways_in(route, scope)):
                answer = await askers[route.service].ask(route, place, role, scope, cookie=cookie, within=within)
                status = answer.status_code
                seen = (
                    route.service,
                    route.method,
                    route.path,
                    place.county,
                    role,
                    scope,
                    cookie,
                    bool(within),
                    status,
                )
                if status >= 500 and status != 503:
                    faults.append(("fails", seen, answer.text[:300]))
                if told := [mark for mark in forbidden if mark in answer.text]:
                    faults.append(("tells", told, seen))
                if scope is not None and not within and route.is_about(place, scope) and status not in REFUSED:
                    faults.append(("lets in", seen, answer.text[:300]))
                shown += answer.text if "{campaign_id}" in route.path else ""
        after = await kept(planted, outside)
        faults += [
            ("changes", scope, table)
            for table in before
            if after[table] != before[table] and table not in WRITTEN_LATER
        ]
        inside = {place.mark for place in PLACES if place not in outside}
        faults += [("does not show what is theirs", scope, mark) for mark in inside if mark not in shown]
    assert not faults, "\n".join(map(str, faults[:50]))


def of_home(scope: Scope) -> Mapping[str, Any]:
    """Campaign and unit of a place that the scope covers."""
    home = next(place for place in PLACES if scope.covers(place))
    return {"campaign_id": home.campaign, "unit_code": home.county}


def ways_in(route: Route, scope: Scope | None) -> list[tuple[Role, bool]]:
    """Roles, and whether by cookie. The key that does not fit a route is tried with one role; who needs no key is nobody."""
    if scope is None:
        return [("admin", False)]
    if route.is_public:
        return []
    return [*((role, route.is_page) for role in ROLES), ("admin", not route.is_page)]


# ---- signing in and out ----------------------------------------------------------------------------------------------


async def test_nothing_that_was_planted_in_a_browser_is_good_after_signing_in(planted: WholeDeployment) -> None:
    """Session fixation: whoever put a session or a form's secret into a browser cannot use it once somebody signs in there."""
    reporting = planted.services["reporting"]
    codes = []
    for name in ("攻击者", "本人"):
        invited = await planted.post("reporting", f"/v1/campaigns/{HERE}/people", {"name": name, "role": "office"})
        codes.append(invited.json()["code"])
    attacker, victim = reporting.browser(), reporting.browser()
    await accept(attacker, codes[0])
    secret = new_secret()
    for name, value in ((COOKIE, attacker.cookies[COOKIE]), (FORM_COOKIE, secret)):
        victim.cookies.set(name, value, "office.test", "/")
    assert (await accept(victim, codes[1])).status_code == 303
    mine, theirs = (SessionVerifier(session_key(planted)).verify(at.cookies[COOKIE]) for at in (victim, attacker))
    assert mine is not None
    assert theirs is not None
    assert mine.secret not in (theirs.secret, secret)
    assert mine.form_token != form_token(secret)
    assert not await is_signed_in(attacker)
    assert await is_signed_in(victim)


async def test_signing_out_and_revoking_are_known_to_every_service(planted: WholeDeployment) -> None:
    """Within a minute; each service is asked itself, and each of its pages."""
    reporting = planted.services["reporting"]
    people = []
    for name in ("离开的人", "调离的人"):
        invited = await planted.post("reporting", f"/v1/campaigns/{HERE}/people", {"name": name, "role": "admin"})
        await accept(browser := reporting.browser(), invited.json()["code"])
        session = SessionVerifier(session_key(planted)).verify(browser.cookies[COOKIE])
        assert session is not None
        people.append((browser, session, invited.json()["person_id"]))
    cookies = [browser.cookies[COOKIE] for browser, _, _ in people]

    async def open_at() -> list[str]:
        """Where one of the sessions is still open."""
        found = []
        for service, running in planted.services.items():
            async with running.db.transaction() as tx:
                over = [await sessions.is_over(tx, s.hash, s.person_id, s.generation) for _, s, _ in people]
            found += [service] * over.count(False)
            for route in routes_of(service, running.app):
                if route.is_page and route.method == "GET" and "{" not in route.path:
                    answers = [
                        await running.browser().get(route.path, headers={"cookie": f"{COOKIE}={cookie}"})
                        for cookie in cookies
                    ]
                    found += [route.path for answer in answers if answer.status_code == 200]
        return found

    before = await open_at()
    assert set(SERVICES) | {"/account", "/certificates"} <= set(before)
    await submit(people[0][0], "/account", "/sign-out")
    await planted.post("reporting", f"/v1/campaigns/{HERE}/people/{people[1][2]}/revoke", {"reason": "调离"})

    async def is_out() -> bool:
        return await open_at() == []

    await eventually(is_out, within_s=WITHIN_S, what="every service knows that both are out")


def session_key(stack: WholeDeployment) -> str:
    return stack.environment("certificate")["SESSION_PUBLIC_KEY"]
