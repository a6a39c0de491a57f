"""Forgetting: after it nobody who reads any table of any service, or the stream, finds the person; every number is as before."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import erase_commands
from shared.bus.topology import LIVE_SUBJECT, NEXT, SERVICES
from shared.contracts.checkin import ViewerEnrolledV1
from shared.contracts.registry import BY_SUBJECT
from shared.database import Transaction
from shared.people import erasure
from shared.people.names import mask_name
from shared.service.tokens import create_token
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, checkin
from tests.support.databases import DatabaseFactory
from tests.support.deployment import VIEWERS, WholeDeployment, hold_campaign
from tests.support.deployment import stack as stack
from tests.support.office import accept, is_signed_in, sign_in
from tests.support.servers import RunningPostgres
from upkeep import dump, forget

PERSON = VIEWERS[0]  # enrolled with name and phone, completed, claimed
NAME = "观众01"
BYSTANDER = VIEWERS[2]
ACTOR = "王工，工单 12"
CAMPAIGN_PATH = f"/v1/campaigns/{CAMPAIGN}"


async def mentions(stack: WholeDeployment, needle: str) -> dict[str, int]:
    """How many rows of each table hold the text, in whatever column."""
    readable = {}
    for service in SERVICES:
        connection = await dump.connect(stack.databases[service].owner_url)
        for table, columns in await connection.fetch(dump.COLUMNS):
            text = " || ' ' || ".join(
                f"coalesce(encode({column}, 'escape'), '')" if column == "payload" else f"coalesce({column}::text, '')"
                for column in columns
            )
            number = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE strpos({text}, $1) > 0", needle)
            if number:
                readable[f"{service}.{table}"] = number
        await connection.close()
    return readable


async def totals(stack: WholeDeployment) -> list[Any]:
    return [
        await stack.get("reporting", f"/v1/campaigns/{CAMPAIGN}/totals", by=by) | {"as_of": None}
        for by in ("unit", "county", "group", "lesson", "mode")
    ]


async def sealed_boxes(stack: WholeDeployment) -> int:
    """What is sealed in checkin's and certificate's ledgers."""
    boxes = 0
    for service in ("checkin", "certificate"):
        for subject, payload in await stack.rows(service, "SELECT subject, payload FROM outbox"):
            columns = erasure.sealed_in(BY_SUBJECT[subject], payload)
            boxes += sum(box is not None for column in columns for box in column.boxes)
    return boxes


async def enrolments_in_ledger(stack: WholeDeployment) -> set[tuple[str, str]]:
    """(account, enrolment id) in what checkin has published."""
    rows = await stack.rows("checkin", "SELECT payload FROM outbox WHERE subject LIKE '%viewer_enrolled%'")
    events = [ViewerEnrolledV1.model_validate_json(payload) for (payload,) in rows]
    return {(row.viewer_id, row.enrolment_id) for event in events for row in event.rows()}


async def test_one_person_is_forgotten_everywhere_and_every_number_stays(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        before, boxes = await totals(stack), await sealed_boxes(stack)
        others = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{BYSTANDER}")
        certificate = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{PERSON}")
        claim = {"claim_code": certificate["claim_code"], "phone_tail": "0001"}
        assert (await stack.post("certificate", "/v1/claims", claim)).status_code == 200
        await stack.settle()
        before = await totals(stack)
        assert (await mentions(stack, PERSON))["checkin.certificate"] == 1

        planned = await forget.viewer(stack.deployment(), CAMPAIGN, PERSON, ACTOR, dry_run=True)
        assert len(await mentions(stack, PERSON)) > 8, "a dry run changes nothing"
        done = await forget.viewer(stack.deployment(), CAMPAIGN, PERSON, ACTOR, dry_run=False)
        done["certificate"].pop("rendered")
        assert done == planned
        assert done["certificate"] | {"ledger": 0} == {"certificate": 1, "completion": 1, "contact": 2, "ledger": 0}
        assert done["notification"]["contact"] == 1

        assert await mentions(stack, PERSON) == {}
        assert await totals(stack) == before
        assert await sealed_boxes(stack) == boxes - 2  # one contact, one claim code: nobody else's
        assert await enrolments_in_ledger(stack) == set(
            await stack.rows("checkin", "SELECT viewer_id, enrolment_id FROM enrolment")
        )
        verdict = await stack.post("certificate", "/v1/verify", {"serial": certificate["serial"]})
        assert (verdict.json()["genuine"], verdict.json()["status"]) == (True, "valid")
        assert others == await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{BYSTANDER}")

        # Published again, nothing comes back; and the services go on.
        await forget.rebuild_stream(stack.deployment())
        await stack.settle()
        assert await mentions(stack, PERSON) == {}
        assert await totals(stack) == before
        assert await stack.send(checkin(BYSTANDER, "2024-06-29T19:31:05+08:00", "again")) == {"duplicate": 1}
        assert await forget.viewer(stack.deployment(), CAMPAIGN, PERSON, ACTOR, dry_run=False) == {
            service: dict.fromkeys(counts, 0) for service, counts in planned.items()
        } | {"certificate": dict.fromkeys([*planned["certificate"], "rendered"], 0)}

    records = await forget.log(stack.deployment(), 10)
    assert {(record["service"], record["kind"], record["actor"]) for record in records} == {
        (service, "viewer", ACTOR) for service in SERVICES
    }
    assert PERSON not in json.dumps(records)


async def test_the_certificate_of_one_who_was_forgotten_is_signed_anew(stack: WholeDeployment) -> None:
    """Its file verifies and names nobody, what was drawn with the name is gone from the disk, and the lasting link shows none."""
    async with stack.running():
        await hold_campaign(stack)
        certificate = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{PERSON}")
        claim = {"claim_code": certificate["claim_code"], "phone_tail": "0001"}
        links = (await stack.post("certificate", "/v1/claims", claim)).json()
        preview = f"{links['page_url']}/preview.png"
        drawn = {}
        for url in (links["pdf_url"], links["picture_url"], preview):
            drawn[url] = (await stack.services["certificate"].client.get(url)).raise_for_status().content
        assert mask_name(NAME) in (await stack.services["certificate"].client.get(links["page_url"])).text
        kept = [path for path in stack.home.certificates.rglob("*") if path.is_file()]
        assert len(kept) == 3
        done = await forget.viewer(stack.deployment(), CAMPAIGN, PERSON, ACTOR, dry_run=False)
        assert done["certificate"]["rendered"] == 3
        assert not any(path.exists() for path in kept)
        for url, before in drawn.items():
            assert (await stack.services["certificate"].client.get(url)).raise_for_status().content != before, url
        assert mask_name(NAME) not in (await stack.services["certificate"].client.get(links["page_url"])).text
        document = (await stack.services["certificate"].client.get(links["json_url"])).json()
        assert (document["content"]["name"], PERSON in json.dumps(document)) == (None, False)
        verdict = await stack.post("certificate", "/v1/verify", document)
        assert verdict.json()["genuine"] is True


async def test_a_units_liaison_is_forgotten_everywhere_and_another_units_is_not(stack: WholeDeployment) -> None:
    """Also what is still under way to notification; and nothing comes back when the ledger is published again."""
    async with stack.running():
        await hold_campaign(stack)
        reporting, notification = stack.services["reporting"].client, stack.services["notification"].client
        path = f"/v1/campaigns/{CAMPAIGN}/units/{{}}/liaison"
        for unit, phone in (("111", "13812345678"), ("11", "13987654321")):
            body = {"name": "刘小亮", "phone": phone, "reason": "刘小亮新任"}
            (await reporting.put(path.format(unit), json=body)).raise_for_status()
        await stack.settle()
        shown = await notification.post(path.format("111") + "/reveal", json={"reason": "找刘小亮"})
        assert shown.json()["phone"] == "13812345678"
        assert set(await mentions(stack, "刘*亮")) == {"reporting.liaison"}
        assert await mentions(stack, "13812345678") == {}

        planned = await forget.liaison(stack.deployment(), CAMPAIGN, "111", ACTOR, dry_run=True)
        done = await forget.liaison(stack.deployment(), CAMPAIGN, "111", ACTOR, dry_run=False)
        assert done.pop("certificate") | planned.pop("certificate") == {"rendered": 0}
        assert done == planned
        assert (done["reporting"]["liaison"], done["reporting"]["ledger"]) == (1, 1)
        assert (done["notification"]["liaison_contact"], done["checkin"]) == (1, {})
        for again in (False, True):
            if again:
                await forget.rebuild_stream(stack.deployment())
            await stack.settle()
            assert (await reporting.get(path.format("111"))).json()["liaison"] is None
            assert (await notification.post(path.format("111") + "/reveal", json={"reason": "x"})).status_code == 404
            assert (await notification.post(path.format("11") + "/reveal", json={"reason": "x"})).status_code == 200
        assert set(await mentions(stack, "刘小亮")) == {
            "reporting.liaison",
            "reporting.liaison_change",
        }  # of the other one

        await forget.people(stack.deployment(), CAMPAIGN, ACTOR, dry_run=False)
        assert await mentions(stack, "刘小亮") == await mentions(stack, "刘*亮") == {}
        assert (await notification.post(path.format("11") + "/reveal", json={"reason": "x"})).status_code == 404


async def test_the_people_of_a_campaign_are_forgotten_and_their_accounts_stay(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        before = await totals(stack)
        assert await sealed_boxes(stack) > 0
        await forget.people(stack.deployment(), CAMPAIGN, ACTOR, dry_run=False)
        assert await sealed_boxes(stack) == 0
        await forget.rebuild_stream(stack.deployment())
        await stack.settle()
        assert await totals(stack) == before
        for service, sql in {
            "notification": "SELECT count(*) FROM contact WHERE phone IS NOT NULL",
            "certificate": "SELECT (SELECT count(*) FROM contact) + (SELECT count(*) FROM certificate WHERE name IS NOT NULL)",
        }.items():
            assert await stack.rows(service, sql) == [(0,)], service
        assert (await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{PERSON}"))["status"] == "valid"
        for (payload,) in await stack.rows(
            "checkin", "SELECT payload FROM outbox WHERE subject LIKE '%viewer_enrolled%'"
        ):
            assert ViewerEnrolledV1.model_validate_json(payload).contacts is None, "still what the contract promises"


async def test_what_a_newer_version_has_published_is_not_passed_over(database: DatabaseFactory) -> None:
    """Nobody here knows what is personal in it."""
    connection = await dump.connect((await database("checkin")).owner_url)
    sql = "INSERT INTO outbox VALUES (gen_random_uuid(), 'events.checkin.viewer_enrolled.v9', $1, now(), $2)"
    await connection.execute(sql, CAMPAIGN, json.dumps({"persons": [PERSON]}).encode())
    tx = Transaction(connection)
    assert await erasure.forget_in_ledger(tx, CAMPAIGN, BYSTANDER, erasure.new_name()) == 0
    with pytest.raises(erasure.CannotForget, match=r"viewer_enrolled\.v9"):
        await erasure.forget_in_ledger(tx, CAMPAIGN, PERSON, erasure.new_name())
    await connection.close()


OFFICIAL = "王芳"


async def test_somebody_of_the_office_is_forgotten_and_what_they_did_keeps_their_id(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        invited = await stack.post("reporting", f"{CAMPAIGN_PATH}/people", {"name": OFFICIAL, "role": "office"})
        reporting = stack.services["reporting"]
        await accept(browser := reporting.browser(), invited.json()["code"])
        token = create_token(
            stack.secrets.token_private_key,
            subject=OFFICIAL,
            role="admin",
            campaign=CAMPAIGN,
            unit=None,
            valid_for=timedelta(hours=1),
        )
        for service, method, path, body in (
            ("checkin", "PUT", "", campaign_content(title="改过名的活动")),
            ("checkin", "PUT", "/lessons/2024-06-29/platform-count", {"live": 40}),
            (
                "checkin",
                "POST",
                "/make-goods",
                {"lesson_date": "2024-06-29", "reason": "停电补记", "viewer_ids": ["x"]},
            ),
            ("certificate", "POST", f"/certificates/{PERSON}/revoke", {"reason": "重名，发错人"}),
        ):
            headers = {"authorization": f"Bearer {token}"}
            answer = await stack.services[service].client.request(
                method, CAMPAIGN_PATH + path, json=body, headers=headers
            )
            assert answer.is_success, answer.text
        await stack.settle()
        known = await mentions(stack, OFFICIAL)
        assert {
            "checkin.campaign_revision",
            "checkin.platform_count",
            "checkin.make_good",
            "certificate.certificate",
            "reporting.person",
            "reporting.person_change",
        } == known.keys()
        assert "将要删除（没有动）" in (await run(stack, "person", CAMPAIGN, OFFICIAL)).output
        assert await mentions(stack, OFFICIAL) == known
        done = await run(stack, "person", CAMPAIGN, OFFICIAL, "--yes", "--by", ACTOR)
        assert (done.exit_code, "办公人员 1" in done.output) == (0, True), done.output
        await stack.settle()
        assert await mentions(stack, OFFICIAL) == {}
        kept = await mentions(stack, invited.json()["person_id"])
        assert known.keys() - {"reporting.person"} <= kept.keys()
        assert not await is_signed_in(browser)
        assert (await sign_in(reporting.browser(), OFFICIAL)).status_code == 401
        assert "没有找到" in (await run(stack, "person", CAMPAIGN, OFFICIAL)).output
        assert "办公人员" in (await run(stack, "log")).output


@pytest.mark.parametrize("service", SERVICES)
async def test_every_column_that_says_who_did_something_is_known_to_the_erasure(
    database: DatabaseFactory, service: str
) -> None:
    """Those of the erasure itself are typed by an operator (`--by`) and stay."""
    connection = await dump.connect((await database(service)).owner_url)
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        r"AND (column_name = 'actor' OR column_name LIKE '%\_by') "
        "AND column_name NOT IN ('unit_by', 'group_by', 'announced_by') AND table_name <> 'erasure'"
    )
    await connection.close()
    assert {tuple(row) for row in rows} == set(forget.ERASURES[service].ACTORS.items())


async def test_other_campaigns_are_not_touched(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        boxes = await sealed_boxes(stack)
        for work in (
            forget.viewer(stack.deployment(), "other-2024", PERSON, ACTOR, dry_run=False),
            forget.people(stack.deployment(), "other-2024", ACTOR, dry_run=False),
        ):
            assert not any(number for counts in (await work).values() for number in counts.values())
        assert await sealed_boxes(stack) == boxes
    assert await forget.log(stack.deployment(), 10) == []


async def test_contacts_are_deleted_when_their_time_is_over_and_it_is_recorded(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        enrolled = datetime.fromisoformat("2024-06-29T19:28:00+08:00")
        over = enrolled + timedelta(days=180)
        assert await forget.due(stack.deployment(), over - timedelta(seconds=1)) == {
            "notification": 0,
            "certificate": 0,
        }
        (notified,) = (await stack.rows("notification", "SELECT count(*) FROM contact WHERE phone IS NOT NULL"))[0]
        stack.clock_is(over - timedelta(seconds=1))
        await stack.settle()
        assert await stack.rows("certificate", "SELECT count(*) FROM contact") == [(40,)]
        ended = datetime.fromisoformat("2024-07-01T00:00:00+08:00") + timedelta(days=180)
        assert (await forget.due(stack.deployment(), ended))["certificate"] == 20
        stack.clock_is(ended)
        await stack.settle()
        assert await stack.rows("certificate", "SELECT count(*) FROM contact") == [(0,)]
        assert await stack.rows("notification", "SELECT count(*) FROM contact WHERE phone IS NOT NULL") == [(0,)]
        assert await stack.rows("certificate", "SELECT count(*) FROM certificate WHERE name IS NOT NULL") != [(0,)]
    records = {record["service"]: record["counts"] for record in await forget.log(stack.deployment(), 10)}
    assert records["certificate"] == {"contact": 40}
    assert records["notification"]["contact"] >= notified


async def test_retention_is_one_record_a_day(stack: WholeDeployment) -> None:
    connection = await dump.connect(stack.databases["certificate"].url)
    day = datetime.fromisoformat("2024-12-26T00:00:00+00:00")
    for minutes, number in ((0, 3), (1, 4), (60 * 24, 5)):
        await erasure.record_retention(Transaction(connection), {"contact": number}, day + timedelta(minutes=minutes))
    rows = await erasure.recorded(Transaction(connection), 10)
    await connection.close()
    assert [row["counts"] for row in rows] == [{"contact": 5}, {"contact": 7}]


# ---- the command -----------------------------------------------------------------------------------------------------


async def run(stack: WholeDeployment, *arguments: str) -> Any:
    return await asyncio.to_thread(CliRunner(env=stack.shell()).invoke, erase_commands.app, arguments)


async def test_the_command_removes_what_the_platform_sent_over_the_bus_too(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
    for number in range(2):
        async with stack.nats.client("live") as platform:
            await platform.jetstream().publish(LIVE_SUBJECT, b"%d" % number)
    async with stack.nats.client("checkin") as reader:  # the first is read, and checkin ends before it removes it
        inbox = await reader.subscribe("_INBOX_checkin.raw")
        await reader.publish(f"{NEXT}.LIVE.checkin-live", b"", reply="_INBOX_checkin.raw")
        await (await inbox.next_msg(5)).ack_sync()
    shown = await run(stack, "viewer", CAMPAIGN, PERSON)
    assert "没有处理" not in shown.output
    done = await run(stack, "viewer", CAMPAIGN, PERSON, "--yes", "--by", ACTOR)
    assert (done.exit_code, "还有 1 条没有处理" in done.output) == (0, True), done.output
    async with stack.nats.client("topology") as client:
        assert (await client.jetstream().stream_info("LIVE")).state.messages == 1
    await stack.nats.stop()
    away = await run(stack, "viewer", CAMPAIGN, PERSON, "--yes", "--by", ACTOR)
    assert (away.exit_code, "再运行一次" in away.output) == (1, True), away.output


async def test_the_command_shows_first_and_wants_a_name_to_do_it(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
    shown = await run(stack, "viewer", CAMPAIGN, PERSON)
    assert shown.exit_code == 0, shown.output
    assert "将要删除（没有动）" in shown.output
    assert await mentions(stack, PERSON)
    refused = await run(stack, "viewer", CAMPAIGN, PERSON, "--yes")
    assert refused.exit_code == 1
    assert "--by" in refused.output
    done = await run(stack, "viewer", CAMPAIGN, PERSON, "--yes", "--by", ACTOR, "--json")
    assert json.loads(done.stdout)["done"] is True
    assert await mentions(stack, PERSON) == {}
    assert "没有找到" in (await run(stack, "viewer", CAMPAIGN, PERSON)).output
    told = await run(stack, "log")
    assert "一个人" in told.output
    assert (await run(stack, "due", "--at", "2030-01-01T00:00:00+08:00")).exit_code == 0
    assert (await run(stack, "due", "--at", "2030-01-01")).exit_code == 1
    now = await run(stack, "due", "--json")  # by the simulated clock; by the wall's, all of 2024 is over
    assert json.loads(now.stdout) == {"notification": 0, "certificate": 0}


async def test_a_database_that_lets_nobody_in_is_told_in_chinese(
    postgres: RunningPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in SERVICES:
        url = postgres.url(f"{service}_owner").replace(f":pw_{service}_owner@", ":wrong@")
        (tmp_path / f"{service}.env").write_text(f"DATABASE_URL={url}\n")
        (tmp_path / f"{service}_owner.env").write_text(f"MIGRATION_DATABASE_URL={url}\n")
    (tmp_path / "topology.env").write_text("NATS_URL=nats://nobody@127.0.0.1:1\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    told = await asyncio.to_thread(CliRunner().invoke, erase_commands.app, ["log"])
    assert told.stderr.startswith("没有查成，什么也没有改：数据库不让登录。fanzha doctor"), told.stderr
    assert "\n技术细节：InvalidPasswordError" in told.stderr
