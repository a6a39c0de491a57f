"""notification keeps names and phones of liaisons, shows one with a reason and a row about it, and forgets them."""

import json
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.checkin import CampaignDefinedV1
from shared.contracts.reporting import LiaisonNamedV1
from shared.failures import Poison
from shared.ids import new_event_id
from shared.people.sealing import seal
from shared.service.sessions import COOKIE
from tests.support.databases import DatabaseFactory
from tests.support.liaisons import NAME, PHONE
from tests.support.notification import CAMPAIGN, NOON, SEALING_PUBLIC_KEY, NotificationService, defined, headers, rules
from tests.support.service import session_cookie

UNIT, OTHER = "111", "222"
TREE = [
    {"unit_code": "1", "name": "市", "level": "city"},
    {"unit_code": "11", "name": "县", "level": "county", "parent_code": "1"},
    {"unit_code": UNIT, "name": "局", "level": "unit", "parent_code": "11"},
    {"unit_code": OTHER, "name": "别的局", "level": "unit", "parent_code": "1"},
]
SOMEBODY = {"liaison": {"name": NAME, "phone": PHONE}, "leader": {"name": "欧阳明", "phone": "03503021234"}}


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[NotificationService]:
    running = NotificationService((await database("notification")).url, tmp_path)
    await running.deliver(campaign())
    yield running
    await running.close()


def campaign() -> CampaignDefinedV1:
    return defined().model_copy(update={"units": TREE})


def named(
    unit: str = UNIT, revision: int = 1, people: Any = SOMEBODY, box: bytes | None = None, at: datetime = NOON
) -> LiaisonNamedV1:
    told = box or (None if people is None else json.dumps(people, ensure_ascii=False).encode())
    return LiaisonNamedV1(
        event_id=new_event_id(),
        occurred_at=at,
        campaign_id=CAMPAIGN,
        unit_codes=[unit],
        revisions=[revision],
        contacts=seal({"notification": SEALING_PUBLIC_KEY}, [told], [unit]),
    )


async def reveal(service: NotificationService, unit: str = UNIT, reason: str = "催报", **who: Any) -> Any:
    return await service.client.post(
        f"/v1/campaigns/{CAMPAIGN}/units/{unit}/liaison/reveal", json={"reason": reason}, headers=headers(**who)
    )


async def test_a_number_is_shown_with_a_reason_and_a_row_about_it(service: NotificationService) -> None:
    await service.deliver(named())
    [(contacts, row)] = await service.rows("SELECT contacts, (t.*)::text FROM liaison_contact t")
    for secret in (NAME, PHONE):
        assert secret.encode() not in contacts
        assert secret not in row
    assert b"@campaign:" in contacts  # under the campaign's own key
    answer = await reveal(service, reason="电话催报", unit=UNIT)
    assert answer.json() == {
        "unit_code": UNIT,
        "name": NAME,
        "phone": PHONE,
        "deputy": None,
        "leader": {"name": "欧阳明", "phone": "03503021234"},
    }
    assert answer.headers["cache-control"] == "no-store"
    rows = await service.rows("SELECT campaign_id, unit_code, revealed_at, actor, role, reason FROM liaison_reveal")
    assert rows == [(CAMPAIGN, UNIT, NOON, "tester", "office", "电话催报")]
    assert (await reveal(service, reason=" ")).status_code == 422
    for unit in (OTHER, "no-such-unit"):
        assert (await reveal(service, unit)).json()["type"] == "/problems/no-liaison"
    assert len(await service.rows("SELECT 1 FROM liaison_reveal")) == 1, "nothing was shown"


@pytest.mark.parametrize(("scope", "status"), [("111", 200), ("11", 200), ("1", 200), ("222", 403), ("nowhere", 403)])
async def test_a_number_is_shown_in_the_own_subtree_only(service: NotificationService, scope: str, status: int) -> None:
    await service.deliver(named())
    answer = await service.client.post(
        f"/v1/campaigns/{CAMPAIGN}/units/{UNIT}/liaison/reveal", json={"reason": "x"}, headers=headers(unit=scope)
    )
    assert answer.status_code == status
    assert len(await service.rows("SELECT 1 FROM liaison_reveal")) == (status == 200)
    assert (await reveal(service, role="auditor")).status_code == 403


async def test_the_highest_revision_wins_in_any_order_and_number(service: NotificationService) -> None:
    events = [named(), named(revision=2, people={"liaison": {"name": "王芳", "phone": "13987654321"}}), named(OTHER)]
    for event in (*reversed(events), *events):
        await service.deliver(event)
    assert (await reveal(service)).json()["name"] == "王芳"
    await service.deliver(named(revision=4, people=None), named(revision=3))
    assert (await reveal(service)).status_code == 404
    assert (await reveal(service, OTHER)).json()["name"] == NAME


@pytest.mark.parametrize("box", [b"{", b"[]", b'{"liaison": {"name": 1, "phone": "1"}}', b'{"deputy": {}}'])
async def test_what_cannot_be_read_is_parked_without_being_repeated(service: NotificationService, box: bytes) -> None:
    with pytest.raises(Poison) as poison:
        await service.deliver(named(box=box))
    assert "unit's contacts" in str(poison.value)


async def test_contacts_go_with_the_campaigns_people(service: NotificationService) -> None:
    until = rules().at(rules().last_day, "24:00") + timedelta(days=180)
    long_before = NOON - timedelta(days=60)  # the campaign keeps people's data longer than 180 days after the naming
    await service.deliver(named(at=long_before), named(OTHER, at=long_before))
    service.clock_is(until - timedelta(seconds=1))
    await service.do_due_work()
    assert (await reveal(service)).status_code == 200
    service.clock_is(until)
    await service.do_due_work()
    assert (await reveal(service)).status_code == 404
    await service.deliver(named())  # an older event that comes late
    assert (await reveal(service)).status_code == 404
    assert await service.rows("SELECT counts->>'liaison_contact' FROM erasure") == [("2",)]


async def test_the_office_sees_masks_until_it_says_why(service: NotificationService) -> None:
    await service.deliver(named())
    path, browser = f"/messages/contacts/{UNIT}", service.client

    async def asks(unit: str | None = None, **form: str) -> Any:
        cookie = session_cookie("office", campaign=CAMPAIGN, unit=unit, subject="王芳")
        headers = {"cookie": f"{COOKIE}={cookie}"}
        if not form:
            return await browser.get(path, headers=headers)
        shown = await browser.get(path, headers=headers)
        form["form_token"] = re.findall(r'name="form_token" value="([^"]+)"', shown.text)[0]
        headers["origin"] = str(browser.base_url).rstrip("/")
        return await browser.post(path, data=form, headers=headers)

    masked, unsaid = await asks(), await asks(reason=" ")
    assert (masked.status_code, unsaid.status_code) == (200, 422)
    for page in (masked.text, unsaid.text):
        assert ("138****5678" in page, NAME in page, PHONE in page) == (True, False, False)
    assert await service.rows("SELECT FROM liaison_reveal") == []
    shown = await asks(reason="电话催报")
    assert (NAME in shown.text, PHONE in shown.text, shown.headers["cache-control"]) == (True, True, "no-store")
    rows = await service.rows("SELECT actor, role, reason, unit_code FROM liaison_reveal")
    assert [tuple(row) for row in rows] == [("王芳", "office", "电话催报", UNIT)]
    assert PHONE not in (await asks()).text
    assert (await asks(unit=OTHER)).status_code == 403
