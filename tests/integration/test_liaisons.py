"""Liaisons on a real database: named and masked, slips printed, phones bound and let go; a wrong request changes nothing."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import nacl.public
import pytest

from services.reporting.definition import Definition
from services.reporting.liaisons import domain, usecases
from services.reporting.liaisons.usecases import COOKIE
from shared.contracts.notification import NotificationKeyMadeV1
from shared.contracts.reporting import LiaisonNamedV1
from shared.definitions import Definitions
from shared.people.sealing import unseal
from shared.service.tokens import wall_now
from tests.support.databases import FreshDatabase, fresh_database
from tests.support.liaisons import MASKS, NAME, PHONE, bind, cookie_of, forms_of_units, name, slips
from tests.support.notification import SEALING_PRIVATE_KEY
from tests.support.reporting_events import defined, meta
from tests.support.reporting_service import ReportingService
from tests.support.servers import RunningPostgres
from tests.support.service import OFFICE, bearer, text_of, token

C, OTHER = "small-2024", "other-2024"
UNIT, SIBLING, ELSEWHERE = "140902-EDU", "140902-EDU-1", "140921-FIN"
COUNTY = token("office", unit="140902")
PATH = f"/v1/campaigns/{C}/units/{UNIT}/liaison"
TABLES = ("liaison", "liaison_change", "liaison_code", "device", "outbox", "wrong_try")


@pytest.fixture
async def fresh(postgres: RunningPostgres) -> AsyncIterator[FreshDatabase]:
    made = await fresh_database(postgres, "reporting")
    yield made
    await postgres.drop(made.name)


@pytest.fixture
async def service(fresh: FreshDatabase) -> AsyncIterator[ReportingService]:
    running = ReportingService(fresh)
    await running.deliver(*defined(C), *defined(OTHER), forms_of_units(C), forms_of_units(OTHER))
    yield running
    await running.close()


async def whole(service: ReportingService) -> str:
    """All that reporting keeps of liaisons, and all that it has published."""
    rows = [await service.rows(f"SELECT t::text, t.* FROM {table} t") for table in TABLES]
    payloads = await service.rows("SELECT convert_from(payload, 'UTF8') FROM outbox")
    return str(rows) + str(payloads)


async def units(service: ReportingService, cookie: str | None) -> list[tuple[str, str]]:
    async with service.db.transaction() as tx:
        found = await usecases.units_of_device(tx, cookie, wall_now())
    return [(unit.campaign_id, unit.unit_code) for unit in found]


async def changes(service: ReportingService, unit: str = UNIT) -> list[str]:
    return [
        what for (what,) in await service.rows("SELECT what FROM liaison_change WHERE unit_code = $1 ORDER BY id", unit)
    ]


async def count(service: ReportingService, table: str) -> int:
    return int((await service.rows(f"SELECT count(*) FROM {table}"))[0][0])


# ---- who reports -----------------------------------------------------------------------------------------------------


async def test_a_name_and_a_phone_are_sealed_to_notification_and_reporting_keeps_masks(
    service: ReportingService,
) -> None:
    people: dict[str, Any] = {
        "deputy": {"name": "王芳", "phone": "139 8765 4321"},
        "leader": {"name": "欧阳明", "phone": "0350-3021234"},
    }
    answer = await name(service, C, UNIT, name=" 刘　小亮 ", phone="+86 138-1234-5678", reason="新任", **people)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told == (await service.get(PATH, token("auditor"))).json()
    assert told["liaison"] == MASKS
    assert told["deputy"] == {"name": "王*", "phone": "139****4321"}
    assert told["leader"] == {"name": "欧阳*", "phone": "035****1234"}
    assert (told["unit_name"], told["named_by"], told["reason"]) == ("单位140902-EDU", "tester", "新任")
    kept = await whole(service)
    for secret in (NAME, PHONE, "王芳", "13987654321", "欧阳明", "03503021234"):
        assert secret not in kept
    (event,) = await service.published(LiaisonNamedV1)
    assert (event.unit_codes, event.revisions) == ([UNIT], [1])
    (opened,) = unseal(event.contacts, "notification", SEALING_PRIVATE_KEY, event.unit_codes)
    assert json.loads(opened or b"")["liaison"] == {"name": NAME, "phone": PHONE}
    assert json.loads(opened or b"")["leader"] == {"name": "欧阳明", "phone": "03503021234"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone": "12345"},
        {"phone": "微信联系"},
        {"name": "　"},
        {"name": "刘\x00亮"},
        {"name": "王" * 51},
        {"deputy": {"name": "王芳", "phone": "?"}},
    ],
)
async def test_what_is_no_name_or_no_phone_is_refused_without_being_repeated(
    service: ReportingService, wrong: dict[str, Any]
) -> None:
    answer = await name(service, C, UNIT, **wrong)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/contact-unusable")
    assert "联络员" in answer.json()["detail"]
    assert NAME not in answer.text
    assert await service.published(LiaisonNamedV1) == []


async def test_nobody_names_or_sees_outside_of_the_own_subtree(service: ReportingService) -> None:
    assert (await name(service, C, SIBLING, bearer_token=COUNTY)).status_code == 200
    for unit in (ELSEWHERE, "no-such-unit", "1409"):
        refused = await name(service, C, unit, bearer_token=COUNTY)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/other-unit")
        path = f"/v1/campaigns/{C}/units/{unit}/liaison"
        assert (await service.get(path, COUNTY)).status_code == 403
        for answer in (
            await service.post(path + "/revoke", {"reason": "x"}, COUNTY),
            await service.post(f"/v1/campaigns/{C}/slips", {"units": [UNIT, unit]}, COUNTY),
        ):
            assert answer.status_code == 403
    assert (await name(service, C, "no-such-unit")).status_code == 404
    assert (await name(service, "no-such-campaign", UNIT)).status_code == 404
    listed = (await service.get(f"/v1/campaigns/{C}/liaisons", COUNTY)).json()
    assert [row["unit_code"] for row in listed["rows"]] == [UNIT, SIBLING]
    codes = (await service.post(f"/v1/campaigns/{C}/slips", {}, COUNTY)).json()["rows"]
    assert [row["unit_code"] for row in codes] == [UNIT, SIBLING]
    assert await count(service, "liaison") == 1


async def test_units_that_fill_a_form_and_have_nobody_are_listed(service: ReportingService) -> None:
    await name(service, C, UNIT)
    path = f"/v1/campaigns/{C}/liaisons"
    every = (await service.get(path, token())).json()
    assert [row["unit_code"] for row in every["rows"]] == ["1409-DEP", UNIT, SIBLING, ELSEWHERE]
    assert every["counts"] == {"units": 4, "missing": 3}
    missing = (await service.get(path, token(), missing=True)).json()["rows"]
    assert [row["unit_code"] for row in missing] == ["1409-DEP", SIBLING, ELSEWHERE]
    first = (await service.get(path, token(), missing=True, limit=2)).json()
    second = (await service.get(path, token(), missing=True, limit=2, cursor=first["next_cursor"])).json()
    assert [row["unit_code"] for row in first["rows"] + second["rows"]] == ["1409-DEP", SIBLING, ELSEWHERE]
    await service.deliver(forms_of_units(C, revision=2, filled_by={"units": [ELSEWHERE]}))
    assert (await service.get(path, token())).json()["counts"] == {"units": 2, "missing": 1}


async def test_another_liaison_voids_code_and_phones_and_the_same_one_does_not(service: ReportingService) -> None:
    await name(service, C, UNIT)
    code = (await slips(service, C, UNIT))[UNIT]
    phone = service.browser()
    await bind(phone, code)
    await name(service, C, UNIT, deputy={"name": "王芳", "phone": "13987654321"})  # only a deputy more
    assert await units(service, cookie_of(phone)) == [(C, UNIT)]
    await name(service, C, UNIT, name="王芳", phone="13987654321", reason="换人")
    assert await units(service, cookie_of(phone)) == []
    assert (await bind(service.browser(), code)).status_code == 404
    assert [event.revisions for event in await service.published(LiaisonNamedV1)] == [[1], [2], [3]]
    assert await changes(service) == ["named", "code_made", "device_bound", "named", "replaced"]


async def test_a_removed_liaison_leaves_nobody_and_no_phone(service: ReportingService) -> None:
    refused = await service.client.request("DELETE", PATH, json={"reason": "调离"}, headers=bearer(token("admin")))
    assert (refused.status_code, refused.json()["type"]) == (404, "/problems/no-liaison")
    await name(service, C, UNIT)
    phone = service.browser()
    await bind(phone, (await slips(service, C, UNIT))[UNIT])
    removed = await service.client.request("DELETE", PATH, json={"reason": "调离"}, headers=bearer(token("admin")))
    assert (removed.status_code, removed.json()["liaison"], removed.json()["devices"]) == (200, None, 0)
    assert await units(service, cookie_of(phone)) == []
    event = (await service.published(LiaisonNamedV1))[-1]
    assert (event.revisions, [box for box in event.contacts.boxes if box]) == ([2], [])


async def test_two_replicas_name_at_once_and_the_revisions_stay_in_order(
    service: ReportingService, fresh: FreshDatabase
) -> None:
    replica = ReportingService(fresh)
    answers = await asyncio.gather(*(name(running, C, UNIT) for running in (service, replica) * 5))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(event.revisions[0] for event in await service.published(LiaisonNamedV1)) == list(range(1, 11))
    await replica.close()


async def test_it_is_sealed_to_the_campaigns_own_key_and_to_nobody_once_that_is_destroyed(
    service: ReportingService, fresh: FreshDatabase
) -> None:
    private = bytes([7]) * 32

    public = text_of(nacl.public.PrivateKey(private).public_key)
    await service.deliver(NotificationKeyMadeV1(**meta(C), public_key=public))
    await name(service, C, UNIT)
    (event,) = await service.published(LiaisonNamedV1)
    assert unseal(event.contacts, "notification", text_of(private), event.unit_codes) != [None]
    async with service.db.transaction() as tx:
        await tx.execute("UPDATE campaign_key SET destroyed_at = now()")
    refused = await name(service, C, UNIT)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/campaign-erased")


async def test_a_deployment_without_the_key_says_what_to_do(fresh: FreshDatabase) -> None:
    older = ReportingService(fresh, liaison_key=None, sealing_public_keys={})
    await older.deliver(*defined(C), forms_of_units(C))
    for answer in (await name(older, C, UNIT), await older.post(f"/v1/campaigns/{C}/slips", {})):
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/no-liaison-key")
        assert "fanzha init --add-missing" in answer.json()["title"]
    await older.close()


# ---- slips -----------------------------------------------------------------------------------------------------------


async def test_a_slip_has_a_code_without_look_alikes_that_is_shown_once(service: ReportingService) -> None:
    answer = (await service.post(f"/v1/campaigns/{C}/slips", {"units": [UNIT]})).json()
    (row,) = answer["rows"]
    assert (row["unit_code"], row["name"]) == (UNIT, "单位140902-EDU")
    assert row["url"] == f"http://reporting.test/r#{row['code']}"
    symbols = row["code"].replace("-", "")
    assert (len(symbols), domain.code_as_kept(row["code"])) == (12, symbols)
    kept = await whole(service)
    assert symbols not in kept
    assert row["code"] not in kept
    again = (await slips(service, C, UNIT))[UNIT]
    assert (await bind(service.browser(), row["code"])).status_code == 404, "a new code voids the former one"
    assert (await bind(service.browser(), again)).status_code == 200


async def test_slips_are_printed_eight_to_a_sheet(service: ReportingService) -> None:
    answer = await service.client.post(
        f"/v1/campaigns/{C}/slips", json={}, headers=bearer(token("admin")) | {"accept": "text/html"}
    )
    assert answer.headers["content-type"].startswith("text/html")
    assert (answer.text.count("<svg"), answer.text.count('class="slip"')) == (4, 4)
    assert "size: A4" in answer.text
    assert ":nth-child(8n)" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


# ---- phones ----------------------------------------------------------------------------------------------------------


async def test_a_phone_is_bound_for_180_days_by_a_cookie_that_no_script_reads(service: ReportingService) -> None:
    code = (await slips(service, C, UNIT))[UNIT]
    phone = service.browser()
    answer = await bind(phone, code.lower().replace("-", " "))
    assert answer.json() == {
        "campaign_id": C,
        "campaign_title": "小活动",
        "unit_code": UNIT,
        "unit_name": "单位140902-EDU",
    }
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{COOKIE}="))
    assert cookie.startswith("__Host-")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts >= {"path=/", "secure", "httponly", "samesite=lax", "max-age=15552000"}
    assert cookie_of(phone) not in await whole(service)
    assert await units(service, cookie_of(phone)) == [(C, UNIT)]
    async with service.db.transaction() as tx:
        for after, expected in ((179, 1), (181, 0)):
            found = await usecases.units_of_device(tx, cookie_of(phone), wall_now() + timedelta(days=after))
            assert len(found) == expected
    assert await units(service, None) == await units(service, "made-up") == []


async def test_a_phone_reports_for_several_units_and_a_unit_from_several_phones(service: ReportingService) -> None:
    codes = await slips(service, C, UNIT, SIBLING)
    other = (await slips(service, OTHER, UNIT))[UNIT]
    phone, second = service.browser(), service.browser()
    for code in (codes[UNIT], codes[SIBLING], other, codes[UNIT]):
        assert (await bind(phone, code)).status_code == 200
    await bind(second, codes[UNIT])
    assert await units(service, cookie_of(phone)) == [(OTHER, UNIT), (C, UNIT), (C, SIBLING)]
    assert await units(service, cookie_of(second)) == [(C, UNIT)]
    answer = await service.post(PATH + "/revoke", {"reason": "手机丢失"})
    assert answer.json()["devices_revoked"] >= 2
    assert await units(service, cookie_of(phone)) == [(OTHER, UNIT), (C, SIBLING)]
    assert await units(service, cookie_of(second)) == []
    assert (await bind(second, codes[UNIT])).status_code == 404
    forgotten = await phone.post("/r/devices/forget", headers={"origin": OFFICE})
    assert (forgotten.status_code, COOKIE in phone.cookies) == (204, False)


async def test_each_binding_gives_a_new_secret_so_that_a_planted_one_is_worth_nothing(
    service: ReportingService,
) -> None:
    codes = await slips(service, C, UNIT, SIBLING)
    phone = service.browser()
    await bind(phone, codes[UNIT])
    planted = cookie_of(phone)
    await bind(phone, codes[SIBLING])
    assert cookie_of(phone) != planted
    assert await units(service, planted) == [(C, UNIT)]  # for another minute, for what is under way with it
    assert await units(service, cookie_of(phone)) == [(C, UNIT), (C, SIBLING)]
    async with service.db.transaction() as tx:
        assert await usecases.units_of_device(tx, planted, wall_now() + timedelta(minutes=1)) == []


async def test_two_replicas_bind_at_once_and_no_unit_is_lost(service: ReportingService, fresh: FreshDatabase) -> None:
    replica = ReportingService(fresh)
    await replica.deliver()
    codes = await slips(service, C, UNIT, SIBLING, ELSEWHERE)
    phone = service.browser()
    await bind(phone, codes[UNIT])
    twins = [running.browser() for running in (service, replica) * 2]
    for twin in twins:
        twin.cookies.set(COOKIE, cookie_of(phone), domain="office.test")
    answers = await asyncio.gather(*(bind(twin, codes[SIBLING]) for twin in twins))
    assert {answer.status_code for answer in answers} == {200}
    for twin in twins:
        assert await units(service, [cookie.value or "" for cookie in twin.cookies.jar][-1]) == [
            (C, UNIT),
            (C, SIBLING),
        ]
    await replica.close()


async def test_a_phone_that_is_being_bound_while_it_is_revoked_is_not_bound_afterwards(
    service: ReportingService, fresh: FreshDatabase
) -> None:
    replica = ReportingService(fresh)
    for _ in range(5):
        codes = await slips(service, C, UNIT, SIBLING)
        phones = [running.browser() for running in (service, replica) * 3]
        for phone in phones:
            await bind(phone, codes[UNIT])
        await asyncio.gather(
            service.post(PATH + "/revoke", {"reason": "手机丢失"}),
            *(bind(phone, codes[code]) for phone in phones for code in (UNIT, SIBLING)),
        )
        left = await service.rows("SELECT 1 FROM device WHERE unit_code = $1", UNIT)
        assert left == []
    await replica.close()


async def test_a_unit_keeps_the_phones_that_were_bound_last(service: ReportingService) -> None:
    code = (await slips(service, C, UNIT))[UNIT]
    phones = [service.browser() for _ in range(domain.DEVICES_PER_UNIT_MAX + 1)]
    for phone in phones:
        assert (await bind(phone, code)).status_code == 200
    assert await units(service, cookie_of(phones[0])) == []
    assert await units(service, cookie_of(phones[1])) == [(C, UNIT)]
    assert (await service.get(PATH, token())).json()["devices"] == domain.DEVICES_PER_UNIT_MAX


async def test_only_our_own_page_binds_and_a_plain_form_does(service: ReportingService) -> None:
    code = (await slips(service, C, UNIT))[UNIT]
    phone = service.browser()
    for origin in ("https://evil.test", "http://office.test", "null"):
        answer = await phone.post("/r/devices", json={"code": code}, headers={"origin": origin})
        assert answer.status_code == 403
    assert await count(service, "device") == 0
    answer = await phone.post("/r/devices/form", data={"code": code}, headers={"origin": OFFICE})
    assert (answer.status_code, answer.headers["location"]) == (303, "/r")
    assert await units(service, cookie_of(phone)) == [(C, UNIT)]
    wrong = await phone.post("/r/devices/form", data={"code": code[:-1]}, headers={"origin": OFFICE})
    assert (wrong.status_code, "码输错了" in wrong.text) == (422, True)


# ---- wrong codes -----------------------------------------------------------------------------------------------------


async def test_a_mistyped_code_is_told_and_not_counted(service: ReportingService) -> None:
    code = (await slips(service, C, UNIT))[UNIT]
    wrong = ("A" if code[0] != "A" else "B") + code[1:]
    for typed in (wrong, code[:-1], code + "2", "", "０" * 12, "刘小亮", code.replace(code[0], "O", 1)):
        answer = await bind(service.browser(), typed)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/code-mistyped")
    assert await count(service, "wrong_try") == 0


async def test_fifty_wrong_codes_an_hour_and_address_over_all_replicas(
    service: ReportingService, fresh: FreshDatabase
) -> None:
    replica = ReportingService(fresh)
    right = (await slips(service, C, UNIT))[UNIT]
    guesses = [domain.new_code(secrets.randbelow) for _ in range(60)]
    phones = [running.browser("203.0.113.9") for running in (service, replica)]
    await bind(phones[0], right)  # a right one does not count
    answers = [await bind(phones[n % 2], guess) for n, guess in enumerate(guesses)]
    assert [answer.status_code for answer in answers] == [404] * 50 + [429] * 10
    refused = answers[-1]
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert "以后再试" in refused.json()["detail"]
    assert (await bind(phones[1], right)).status_code == 429
    assert (await bind(service.browser("203.0.113.10"), right)).status_code == 200
    for running, wrong in ((service, 25), (replica, 25)):
        metrics = (await running.client.get("/metrics")).text
        assert f'fanzha_liaison_code_tries_total{{outcome="wrong"}} {wrong}.0' in metrics
    async with service.db.transaction() as tx:
        await tx.execute(
            "UPDATE wrong_try SET tried_at = ARRAY(SELECT t - interval '1 hour' FROM unnest(tried_at) AS t)"
        )
    assert (await bind(phones[1], right)).status_code == 200
    assert "203.0.113" not in str(await service.rows("SELECT t::text FROM wrong_try t"))
    await replica.close()


# ---- the end ---------------------------------------------------------------------------------------------------------


async def test_devices_and_masks_go_when_their_time_is_over(fresh: FreshDatabase, service: ReportingService) -> None:
    await name(service, C, UNIT)
    await bind(service.browser(), (await slips(service, C, UNIT))[UNIT])
    async with service.db.transaction() as tx:
        assert await usecases.forget_ended(tx, wall_now()) == 0
        known = Definitions(Definition.of, with_units=True)
        in_force = await known.in_force(tx, C)
        assert in_force is not None
        assert in_force.keeps_people_until is not None
        last_day = in_force.keeps_people_until
        assert await usecases.forget(tx, known, last_day - timedelta(seconds=1)) == 0
        assert await usecases.forget(tx, known, last_day) == 1
    assert (await service.get(PATH, token())).json()["liaison"] is None
    assert await count(service, "device") == await count(service, "liaison_code") == 0
    assert (await service.rows("SELECT counts->>'liaison' FROM erasure")) == [("1",)]
