"""No name or phone of a minor is kept without a guardian's consent, by whichever way it comes (FACTS, "Viewers and the law")."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from cli.import_events import Reading
from tests.support.campaigns import campaign, campaign_content
from tests.support.certificate import CLAIM_FROM, CertificateService, certificate_rules, checked_in, defined
from tests.support.checkin import CAMPAIGN, checkin, enrolment, running_checkin, signature
from tests.support.databases import DatabaseFactory
from tests.support.deployment import BOTH_OVER, LESSONS, WholeDeployment
from tests.support.deployment import stack as stack
from tests.support.opening import Intruder

GROUPS: list[dict[str, Any]] = [
    {"code": "pupil", "name": "小学生", "minors": True},
    {"code": "general", "name": "其他群众"},
]
PATH = f"/v1/campaigns/{CAMPAIGN}"
TIMES = [f"2024-06-29T19:2{minute}:00+08:00" for minute in range(10)]


def child(viewer: str, name: str, phone: str, **more: Any) -> dict[str, Any]:
    return enrolment(viewer, group="pupil", name=name, phone=phone, **more)


async def kept(stack: WholeDeployment) -> set[str]:
    """Names and phones that somebody with all keys finds in the databases, ledgers included."""
    await stack.settle()
    texts = {text for _, text in await Intruder(stack).databases()}
    return {text for text in texts if text.startswith("孩子") or text.startswith("138")}


async def imported(stack: WholeDeployment, *rows: dict[str, str]) -> dict[str, Any]:
    """As `fanzha import` sends them."""
    reading = Reading.of(campaign(groups=GROUPS), "viewer.enrolled")
    outcomes = [reading.event(row) for row in rows]
    answer = await stack.post("checkin", f"{PATH}/imports", [outcome.event for outcome in outcomes])
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def defined_everywhere(stack: WholeDeployment, groups: list[dict[str, Any]] = GROUPS) -> None:
    await stack.put("checkin", PATH, campaign_content(groups=groups))
    stack.clock_is(BOTH_OVER)
    await stack.settle()


async def test_every_way_in_keeps_a_minors_name_and_phone_only_with_consent(stack: WholeDeployment) -> None:
    async with stack.running():
        await defined_everywhere(stack)
        body = json.dumps(
            [
                child("w1", "孩子甲", "13800000001"),
                child("w2", "孩子乙", "13800000002", guardian_consent=True),
                child("w3", "孩子丙", "13800000003", guardian_consent="yes"),
                enrolment("w4", TIMES[1], group="pupil"),
                enrolment("w4", TIMES[2], name="孩子丁", phone="13800000004"),  # names no group
            ]
        ).encode()
        headers = signature(body, stack.secrets.webhook_secret)
        webhook = (await stack.services["checkin"].client.post("/v1/live/events", content=body, headers=headers)).json()
        assert [(result["verdict"], result.get("dropped")) for result in webhook["results"]] == [
            ("recorded", ["name", "phone"]),
            ("recorded", None),
            ("rejected", None),
            ("recorded", None),
            ("recorded", ["name", "phone"]),
        ]
        assert webhook["results"][2]["field"] == "guardian_consent"
        assert webhook["contacts_dropped"] == 2
        row = {
            "viewer_id": "i1",
            "occurred_at": "2024/6/29 19:28",
            "group": "小学生",
            "name": "孩子戊",
            "phone": "13800000005",
        }
        assert (await imported(stack, row))["contacts_dropped"] == 1
        assert await kept(stack) == {"孩子乙", "13800000002"}

        with_consent = await imported(stack, row | {"guardian_consent": "是"})
        assert (with_consent["counts"], "contacts_dropped" in with_consent) == ({"recorded": 1}, False)
        assert {"孩子戊", "13800000005"} <= await kept(stack)

        await stack.services["checkin"].deliver_bodies(
            "checkin-live", json.dumps([child("b1", "孩子己", "13800000006", guardian_consent=True)]).encode()
        )
        listed = {"lesson_date": LESSONS[0], "reason": "平台中断", "viewer_ids": ["m1"]}
        assert (await stack.post("checkin", f"{PATH}/make-goods", listed)).status_code == 200
        refused = await stack.post("checkin", f"{PATH}/make-goods", listed | {"names": ["孩子庚"]})
        assert refused.status_code == 422
        assert not {"孩子己", "13800000006", "孩子庚"} & await kept(stack)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_what_was_told_before_the_group_is_known_goes_in_every_order(
    stack: WholeDeployment, order: tuple[int, ...]
) -> None:
    """A name comes first, the group of minors later, then an enrolment without a name: every service that may have got the name
    forgets it."""
    events = [
        enrolment("v1", TIMES[1], name="孩子甲", phone="13800000001"),
        enrolment("v1", TIMES[2], group="pupil"),
        enrolment("v1", TIMES[3], unit_code="111-EDU"),
    ]
    async with stack.running():
        await defined_everywhere(stack)
        for index in order:
            await stack.send(events[index])
            await stack.settle()
        assert await contacts(stack) == []


async def contacts(stack: WholeDeployment) -> list[Any]:
    await stack.settle()
    names = await stack.rows(
        "certificate", "SELECT viewer_id, field FROM contact WHERE value IS NOT NULL ORDER BY 1, 2"
    )
    return names + await stack.rows("notification", "SELECT viewer_id FROM contact WHERE phone IS NOT NULL")


async def test_a_group_that_is_one_of_minors_from_now_on_loses_what_was_kept(stack: WholeDeployment) -> None:
    """Names are withdrawn from certificates too, claimed or not. Applying the definition again changes nothing more. Names
    given with consent later are kept."""
    before = [group | {"minors": False} for group in GROUPS]
    async with stack.running():
        await defined_everywhere(stack, before)
        finished = [checkin("v1", f"{LESSONS[0]}T19:31:05+08:00"), checkin("v1", f"{LESSONS[1]}T19:45:00+08:00")]
        adult = enrolment("v2", group="general", name="大人甲", phone="13900000002")
        await stack.send(child("v1", "孩子甲", "13800000001"), adult, *finished)
        await stack.settle()
        certificate = await stack.get("certificate", f"{PATH}/certificates/v1")
        claim = {"claim_code": certificate["claim_code"], "phone_tail": "0001"}
        assert (await stack.post("certificate", "/v1/claims", claim)).status_code == 200

        content = campaign_content(groups=GROUPS)
        assert (await stack.put("checkin", PATH, content))["contacts_withdrawn"] == 1
        assert "contacts_withdrawn" not in await stack.put("checkin", PATH, content)
        assert await contacts(stack) == [("v2", "name"), ("v2", "phone_tail"), ("v2",)]
        assert await stack.rows("certificate", "SELECT count(*) FROM certificate WHERE name IS NOT NULL") == [(0,)]
        assert (await stack.post("certificate", "/v1/claims", claim | {"phone_tail": None})).status_code == 200

        await stack.send(child("v1", "孩子甲", "13800000001", at="2024-06-30T20:00:00+08:00", guardian_consent=True))
        assert len(await contacts(stack)) == 6


async def test_the_office_names_a_minor_only_with_consent(database: DatabaseFactory, tmp_path: Path) -> None:
    service = CertificateService((await database("certificate")).url, tmp_path)
    groups = [{"code": "student", "name": "小学生", "minors": True}]
    await service.deliver(*defined(certificate=certificate_rules(), groups=groups), checked_in("v1"))
    await service.sweep(CLAIM_FROM)
    path = f"{PATH}/certificates/v1/reissue"
    body = {"name": "孩子甲", "reason": "姓名更正"}
    refused = await service.client.post(path, json=body)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/guardian-consent-needed")
    assert await service.names() == {"v1": None}
    assert (await service.client.post(path, json=body | {"guardian_consent": True})).status_code == 200
    assert await service.names() == {"v1": "孩子甲"}
    await service.close()


async def test_what_is_dropped_is_counted(database: DatabaseFactory, tmp_path: Path) -> None:
    async with running_checkin(await database("checkin"), tmp_path) as service:
        await service.define(campaign_content(groups=GROUPS))
        await service.post(child("v1", "孩子甲", "13800000001"), child("v1", "孩子甲", "13800000001"), enrolment("v2"))
        measured = (await service.client.get("/metrics")).text
    counted = 'fanzha_live_events_total{campaign="small-2024",lesson="",mode="",reason="no_guardian_consent",'
    assert f'{counted}type="viewer.enrolled",verdict="recorded"}} 1.0' in measured
