"""Files beside files and beside what the platform sent: a corrected file corrects, and nothing counts twice."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from services.checkin.erasure import Erasure
from shared.contracts.checkin import LiveRoomActionsRecordedV1, ViewerEnrolledV1
from shared.database import Transaction
from shared.database.migrate import alembic_config, migrate
from shared.people import sealing
from shared.people.enrolments import latest_enrolments
from shared.people.erasure import new_name
from tests.support.campaigns import campaign_content
from tests.support.checkin import (
    CAMPAIGN,
    DURING,
    LIVE,
    RECIPIENTS,
    CheckinUnderTest,
    checkin,
    enrolment,
    running_checkin,
)
from tests.support.databases import DatabaseFactory
from tests.support.files import import_rows
from tests.support.servers import RunningPostgres

VIEWERS = [f"ks{number}" for number in range(10)]
AT = "2024/6/29 19:28:00"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path) as running:
        await running.define(campaign_content())
        yield running


async def units(service: CheckinUnderTest) -> set[str]:
    return {row[0] for row in await service.rows("SELECT DISTINCT unit_code FROM viewer")}


def enrolled(unit: str, more: str = "") -> list[str]:
    return [f"{viewer},{AT},{unit}{more}" for viewer in VIEWERS]


def verdicts(**numbers: int) -> dict[str, Any]:
    return {"rows": sum(numbers.values()), "verdicts": numbers, "reasons": {}}


async def contacts(service: CheckinUnderTest) -> dict[str, Any]:
    """Each viewer's latest name and phone, as certificate finds them."""
    told = []
    for fact in [ViewerEnrolledV1.model_validate(fact) for fact in await service.facts("viewer_enrolled")]:
        key = base64.b64encode(bytes(RECIPIENTS["certificate"])).decode()
        boxes = sealing.unseal(fact.contacts, "certificate", key, fact.viewer_ids) if fact.contacts else []
        told += [(row, json.loads(box)) for row, box in zip(fact.rows(), boxes, strict=bool(boxes)) if box]
    latest = latest_enrolments([row for row, _ in told], key=lambda row: row.viewer_id)
    return {row.viewer_id: contact for row, contact in told if latest[row.viewer_id] is row}


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.xlsx"])
@pytest.mark.parametrize("header", ["账号,报名时间,单位代码", "账号,报名时间,单位代码,事件ID"])
async def test_a_corrected_file_corrects_and_no_repeat_takes_it_back(
    service: CheckinUnderTest, tmp_path: Path, header: str, name: str
) -> None:
    id_cell = ",e-1" if "事件ID" in header else ""
    wrong, right = enrolled("111", id_cell), enrolled("111-EDU", id_cell)
    for rows, answer, unit in (
        (wrong, verdicts(recorded=10), "111"),
        (wrong, verdicts(duplicate=10), "111"),
        (right, verdicts(recorded=10), "111-EDU"),
        (right, verdicts(duplicate=10), "111-EDU"),
        (wrong, verdicts(duplicate=10) | {"reasons": {"duplicate": {"superseded": 10}}}, "111-EDU"),
        (enrolled("11", id_cell), verdicts(recorded=10), "11"),
    ):
        assert await import_rows(service, tmp_path, header, *rows, name=name) == answer
        assert await units(service) == {unit}


async def test_a_corrected_file_corrects_what_the_platform_sent_in_that_second(
    service: CheckinUnderTest, tmp_path: Path
) -> None:
    await service.post(*(enrolment(viewer, event_id=f"x-{viewer}", unit_code="111") for viewer in VIEWERS))
    header = "账号,报名时间,单位代码"
    assert await import_rows(service, tmp_path, header, *enrolled("111-EDU")) == verdicts(recorded=10)
    assert await units(service) == {"111-EDU"}


async def test_of_rows_of_one_second_in_a_file_the_last_one_counts(service: CheckinUnderTest, tmp_path: Path) -> None:
    rows = [f"ks1,{AT},{unit}" for unit in ("111", "1", "111-EDU", "11")]
    assert await import_rows(service, tmp_path, "账号,报名时间,单位代码", *rows) == verdicts(recorded=4)
    assert await units(service) == {"11"}


@pytest.mark.parametrize(
    ("field", "wrong", "right"), [("name", "李氏", "李四"), ("phone", "13800001111", "13900001111")]
)
async def test_a_row_that_corrects_only_a_contact_is_not_lost(
    service: CheckinUnderTest, tmp_path: Path, field: str, wrong: str, right: str
) -> None:
    header = f"账号,报名时间,单位代码,{field}"
    for value, answer in ((wrong, "recorded"), (right, "recorded"), (right, "duplicate"), (wrong, "duplicate")):
        done = await import_rows(service, tmp_path, header, f"ks1,{AT},111,{value}")
        assert done["verdicts"] == {answer: 1}
    assert (await contacts(service))["ks1"][field] == right


async def test_the_digest_of_what_was_said_needs_a_key_and_is_forgotten_with_people(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    header, row = "账号,报名时间,单位代码,姓名,手机号", f"ks1,{AT},111,李四,13800001111"
    fresh, digests = await database("checkin"), []
    for link_key in ("a key of this deployment " * 2, "another key of another one" * 2):
        async with running_checkin(fresh, tmp_path, link_key=link_key) as service:
            await service.define(campaign_content())
            assert await import_rows(service, tmp_path, header, row) == verdicts(recorded=1)
            digests = [said for (said,) in await service.rows("SELECT said FROM enrolment")]
    assert len(set(digests)) == 2
    owner = await asyncpg.connect(fresh.owner_url)
    tx, erasure = Transaction(owner), Erasure({})
    for forget in (
        lambda: erasure.forget_people(tx, CAMPAIGN),
        lambda: erasure.destroy_keys(tx, CAMPAIGN, DURING),
        lambda: erasure.forget_viewer(tx, CAMPAIGN, "ks1", new_name()),
    ):
        await owner.execute("UPDATE enrolment SET said = decode(md5(enrolment_id), 'hex')")
        async with owner.transaction():
            await forget()
        assert await owner.fetchval("SELECT count(said) FROM enrolment") == 0
    await owner.close()


@pytest.fixture
async def old_database(postgres: RunningPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A database of checkin at the schema of the version before, in which one action could be stored under two ids. Connected
    as the owner."""
    await postgres.execute('CREATE DATABASE "done_twice" OWNER checkin_owner')
    await postgres.execute("ALTER SCHEMA public OWNER TO checkin_owner", database="done_twice")
    url = postgres.url("checkin_owner", "done_twice")
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))

    def upgrade(connection: Connection) -> None:
        config = alembic_config("checkin")
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()
    owner = await asyncpg.connect(url)
    yield owner
    await owner.close()
    await postgres.drop("done_twice")


async def test_an_upgrade_keeps_each_action_once(postgres: RunningPostgres, old_database: asyncpg.Connection) -> None:
    rows = [
        ("e-1", "第1题", "19:31:05.1"),
        ("e-2", "第1题", "19:31:05.7"),
        ("e-3", None, "19:31:05"),
        ("e-4", None, "19:31:05.9"),
        ("e-5", "第1题", "19:31:06"),
    ]
    await old_database.executemany(
        "INSERT INTO live_room_action VALUES (1, 'ks1', $1, '2024-06-29', 'quiz_answered', $2, $3)",
        [(event_id, item, datetime.fromisoformat(f"2024-06-29T{at}+08:00")) for event_id, item, at in rows],
    )
    await migrate("checkin", postgres.url("checkin_owner", "done_twice"))
    kept = await old_database.fetch("SELECT event_id FROM live_room_action ORDER BY 1")
    assert [row[0] for row in kept] == ["e-1", "e-3", "e-5"]


ACTIONS = {"quiz.answered": "题目", "prize.won": "奖品", "account.followed": "关注账号"}
FIELDS = {"quiz.answered": "quiz", "prize.won": "prize", "account.followed": "account"}


@pytest.mark.parametrize("item", ["第1题", ""])
@pytest.mark.parametrize("file_first", [False, True])
@pytest.mark.parametrize("type", ACTIONS)
async def test_an_action_by_two_ways_counts_once(
    service: CheckinUnderTest, tmp_path: Path, type: str, file_first: bool, item: str
) -> None:
    sent = checkin("ks1", "2024-06-29T19:31:05.700+08:00", "e-1", type=type, **({FIELDS[type]: item} if item else {}))

    async def by_file() -> None:
        header, row = f"账号,时间,{ACTIONS[type]},单位代码", f"ks1,2024/6/29 19:31:05,{item},111"
        assert (await import_rows(service, tmp_path, header, row, type=type))["rows"] == 1

    if file_first:
        await by_file()
    await service.post(sent, sent)
    await by_file()
    facts = [
        LiveRoomActionsRecordedV1.model_validate(fact) for fact in await service.facts("live_room_actions_recorded")
    ]
    assert [row.item for fact in facts for row in fact.rows()] == [item or None]


@pytest.mark.parametrize("file_first", [False, True])
async def test_an_enrolment_by_two_ways_counts_once(
    service: CheckinUnderTest, tmp_path: Path, file_first: bool
) -> None:
    sent = enrolment("ks1", "2024-06-29T19:28:00.250+08:00", unit_code="111", channel="QR-1", name="李四")
    header, row = "账号,报名时间,单位代码,渠道码,姓名", f"ks1,{AT},111,QR-1,李四"
    if file_first:
        await import_rows(service, tmp_path, header, row)
        assert await service.post(sent) == [("duplicate", None)]
    else:
        await service.post(sent)
    assert await import_rows(service, tmp_path, header, row) == verdicts(duplicate=1)


async def test_what_differs_in_viewer_second_or_item_is_another_action(service: CheckinUnderTest) -> None:
    won = checkin("ks1", LIVE, "e-1", type="prize.won", prize="小熊", quiz="第1题")
    others = [
        won | {"event_id": "e-2", "prize": "杯子"},  # a field that is no use to it does not make them one
        won | {"event_id": "e-3", "occurred_at": "2024-06-29T19:31:06+08:00"},
        won | {"event_id": "e-4", "viewer_id": "ks2"},
        won | {"event_id": "e-5", "type": "quiz.answered"},
    ]
    assert {verdict for verdict, _ in await service.post(won, *others)} == {"recorded"}
    assert await service.post(won | {"event_id": "e-6"}, *others) == [("duplicate", None)] * 5
