"""Forms of a campaign: applied with its definition in one transaction, told from when they change, kept in reporting."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cli.campaign_file import load
from shared.contracts.checkin import FormsDefinedV1
from shared.failures import Poison
from shared.ids import new_event_id
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, CheckinUnderTest, running_checkin
from tests.support.databases import DatabaseFactory
from tests.support.forms import form, indicator, number
from tests.support.reporting_service import ReportingService
from tests.unit.test_campaign_hash import HASH, JINSHAN

PATH = f"/v1/campaigns/{CAMPAIGN}"
BEFORE = datetime.fromisoformat("2024-06-30T12:00:00+08:00")  # the first lesson has opened, the second has not


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path, BEFORE) as running:
        yield running


async def forms_told(service: CheckinUnderTest) -> list[tuple[int, list[dict[str, Any]], list[dict[str, Any]]]]:
    return [(event["revision"], event["forms"], event["indicators"]) for event in await service.facts("forms_defined")]


async def test_forms_are_told_with_the_revision_and_once_more_when_there_are_none_left(
    service: CheckinUnderTest,
) -> None:
    rate = indicator("daily.viewers / headcount")
    steps: list[dict[str, Any]] = [
        {},
        {"forms": [form()], "indicators": [rate]},
        {"forms": [form()], "indicators": [rate]},  # the same again: the same revision
        {"forms": [form()], "indicators": [rate], "organiser": "新主办方"},
        {},
        {"organiser": "又一个"},
    ]
    answers = [(await service.define(campaign_content(**step))).json() for step in steps]
    assert [answer["revision"] for answer in answers] == [1, 2, 2, 3, 4, 5]
    assert await forms_told(service) == [(2, [form()], [rate]), (3, [form()], [rate]), (4, [], [])]
    defined = await service.facts("campaign_defined")
    assert [event["revision"] for event in defined] == [1, 2, 3, 4, 5]
    assert all("forms" not in event["rules"] and "indicators" not in event["rules"] for event in defined)


async def test_a_dry_run_answers_as_the_change_would_and_keeps_nothing(service: CheckinUnderTest) -> None:
    await service.define(campaign_content(forms=[form()]))
    later = campaign_content(forms=[form(deadline={"at": "20:00"})])
    told = (await service.client.put(f"{PATH}?dry_run=true", json=later)).json()
    change = {
        "form": "daily",
        "title": "每日学习情况",
        "change": "changed",
        "keys": ["deadline"],
        "period": "2024-06-30",
        "opens_at": "2024-06-30T11:30:00+00:00",
        "due_at": "2024-07-01T12:00:00+00:00",
    }
    expected = {"revision": 2, "changed": True, "attributed": 0, "forms": [change]}
    assert told == expected | {"dry_run": True}
    assert (await service.client.get(PATH)).headers["x-revision"] == "1"
    assert len(await forms_told(service)) == 1
    assert (await service.client.put(PATH, json=later)).json() == expected
    assert len(await forms_told(service)) == 2


async def test_a_field_never_changes_its_meaning_even_after_it_was_left_out(service: CheckinUnderTest) -> None:
    await service.define(campaign_content(forms=[form()]))
    left_out = form(fields=[number("other")])
    assert (await service.define(campaign_content(forms=[left_out]))).status_code == 200
    other = form(fields=[number("other"), number("viewers", kind="level")])
    for path in (PATH, f"{PATH}?dry_run=true"):
        refused = await service.client.put(path, json=campaign_content(forms=[other]))
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/campaign-frozen")
        [reason] = refused.json()["reasons"]
        assert (
            "daily.viewers：原为 type integer、unit 人次、kind increment，改为 type integer、unit 人次、kind level"
            in reason
        )
    assert (await service.define(campaign_content(forms=[form()]))).json()["revision"] == 3


async def test_units_that_may_owe_reports_do_not_vanish(service: CheckinUnderTest) -> None:
    await service.define(campaign_content(forms=[form()]))
    fewer = campaign_content(forms=[form()], units=campaign_content()["units"][:-1], channels={})
    refused = await service.define(fewer)
    assert (refused.status_code, "leaves_on" in refused.json()["reasons"][0]) == (409, True)


async def test_a_definition_that_an_older_version_holds_is_not_changed_by_the_upgrade(
    service: CheckinUnderTest,
) -> None:
    """The golden file, as the version that had no forms stored it: its own revision is answered, and nothing is published."""
    definition = load(JINSHAN)
    stored = definition.model_dump_json()
    assert not {"forms", "indicators", "starts_on", "ends_on"} & json.loads(stored).keys()
    for sql, more in (
        (
            "INSERT INTO campaign (campaign_id, revision, content_hash, definition) VALUES ($1, 7, $2, $3) RETURNING 1",
            (HASH,),
        ),
        (
            "INSERT INTO campaign_revision (campaign_id, revision, definition, actor, applied_at) "
            "VALUES ($1, 7, $2, 't', now()) RETURNING 1",
            (),
        ),
    ):
        await service.rows(sql, definition.campaign_id, *more, stored)
    answer = await service.client.put(f"/v1/campaigns/{definition.campaign_id}", content=stored)
    assert answer.json() == {"revision": 7, "changed": False, "attributed": 0}
    assert await service.rows("SELECT subject FROM outbox") == []
    with_forms = definition.model_dump(mode="json") | {"forms": [form()]}
    assert (await service.define(with_forms)).json()["revision"] == 8
    assert [revision for revision, _, _ in await forms_told(service)] == [8]


# --- reporting ------------------------------------------------------------------------------------------------------


def told(revision: int, *forms: dict[str, Any]) -> FormsDefinedV1:
    return FormsDefinedV1(
        event_id=new_event_id(), occurred_at=BEFORE, campaign_id="c", revision=revision, forms=[*forms], indicators=[]
    )


async def test_reporting_keeps_every_revision_and_counts_what_it_does_not_know(database: DatabaseFactory) -> None:
    running = ReportingService(await database("reporting"))
    try:
        newer = form(fields=[number("viewers"), {"id": "place", "title": "位置", "type": "map"}])
        await running.deliver(told(3, newer), told(2, form()))
        async with running.db.transaction() as tx:
            kept = await tx.fetch("SELECT revision, forms FROM forms_revision ORDER BY 1")
        assert [(row[0], json.loads(row[1])) for row in kept] == [(2, [form()]), (3, [newer])]
        assert 'fanzha_forms_unknown{campaign="c"} 1.0' in (await running.get("/metrics")).text
        with pytest.raises(Poison, match="forms cannot be read"):
            await running.deliver(told(4, form(title="")))
        await running.deliver(told(5))
        assert 'fanzha_forms_unknown{campaign="c"} 0.0' in (await running.get("/metrics")).text
    finally:
        await running.close()
