"""A campaign without a course (DESIGN §5.2): enrolments and units, and nowhere a lesson, a window or a certificate."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.notification.plans.domain import RETAIN_FOR, forget_at
from tests.support.campaigns import WITHOUT_COURSE, campaign, campaign_content
from tests.support.certificate import CAMPAIGN as CERTIFYING
from tests.support.certificate import CLAIM_FROM, CertificateService, checked_in
from tests.support.certificate import defined as defined_to_certificate
from tests.support.checkin import CAMPAIGN, checkin, enrolment, running_checkin
from tests.support.databases import DatabaseFactory, FreshDatabase
from tests.support.reporting_events import defined as defined_to_reporting
from tests.support.reporting_service import ReportingService, by_key
from tests.support.service import token

PATH = f"/v1/campaigns/{CAMPAIGN}"
LATER = datetime.fromisoformat("2024-07-01T12:00:00+08:00")


async def test_checkin_takes_enrolments_and_knows_of_no_lesson(database: DatabaseFactory, tmp_path: Path) -> None:
    async with running_checkin(await database("checkin"), tmp_path, LATER) as service:
        assert (await service.define(campaign_content(**WITHOUT_COURSE))).status_code == 200
        shown = (await service.client.get(PATH)).json()
        assert (shown["starts_on"], shown["ends_on"], "lessons" in shown) == ("2024-06-29", "2024-07-02", False)
        assert await service.post(enrolment("a", channel="QR-1")) == [("recorded", None)]
        assert await service.post(checkin("a")) == [("rejected", "outside_window")]
        [defined] = await service.facts("campaign_defined")
        assert "lessons" not in defined["rules"]

        viewer = (await service.client.get(f"{PATH}/viewers/a")).json()
        assert (viewer["unit_code"], viewer["lessons"], viewer["credited_days"]) == ("111-EDU", [], 0)
        assert (viewer["required_days"], viewer["can_complete"]) == (0, False)
        page = await service.client.get((await service.client.post(f"{PATH}/viewers/a/link")).json()["url"])
        assert page.status_code == 200
        assert "您已报名" in page.text
        for word in ("结课", "证书", "每节课", "下一次签到", "None"):
            assert word not in page.text

        whatif = (await service.client.get(f"{PATH}/whatif", params={"credit": "live"})).json()
        assert (whatif["completing"], whatif["completing_now"], whatif["current_credit"]) == (0, 0, [])
        grant = {"lesson_date": "2024-06-29", "viewer_ids": ["a"], "reason": "平台故障"}
        for parameters in ({}, {"dry_run": "true"}):
            refused = await service.client.post(f"{PATH}/make-goods", json=grant, params=parameters)
            assert (refused.status_code, refused.json()["type"]) == (422, "/problems/no-such-lesson")
        metrics = (await service.client.get("/metrics")).text
        assert f'fanzha_campaign_info{{campaign="{CAMPAIGN}"' in metrics
        assert "fanzha_window_open{" not in metrics
        assert "fanzha_lesson_current{" not in metrics


async def boards(fresh: FreshDatabase, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(fresh.owner_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def test_reporting_has_every_unit_at_0_and_no_lesson(database: DatabaseFactory) -> None:
    fresh = await database("reporting")
    service = ReportingService(fresh)
    try:
        await service.deliver(*defined_to_reporting("c", **WITHOUT_COURSE))
        by_unit = await service.totals("c", by="unit")
        assert {(row["checkins"], row["credited"], row["viewers"]) for row in by_key(by_unit).values()} == {(0, 0, 0)}
        assert by_unit["sum"]["credited"] == 0
        assert (await service.totals("c", by="lesson"))["rows"] == []
        refused = await service.get("/v1/campaigns/c/totals", token(), by="unit", lesson="2024-06-29")
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/no-such-lesson")
        assert await boards(fresh, "SELECT count(*) FROM boards.lesson") == [(0,)]
        assert await boards(fresh, "SELECT campaign_id, latest_lesson FROM boards.campaign") == [("c", None)]
        metrics = (await service.get("/metrics")).text
        assert 'fanzha_county_info{campaign="c"' in metrics
    finally:
        await service.close()


async def test_certificate_issues_none_even_to_who_once_completed_a_course(
    database: DatabaseFactory, tmp_path: Path
) -> None:
    service = CertificateService((await database("certificate")).url, tmp_path)
    try:
        await service.deliver(*defined_to_certificate(**WITHOUT_COURSE), checked_in("anna"))
        assert await service.sweep(CLAIM_FROM + timedelta(days=400)) == 0
        assert (await service.get_certificate("anna")).json()["reason"] == "claim_time_not_come"
        metrics = await service.client.get("/metrics")
        assert f'fanzha_certificates_due{{campaign="{CERTIFYING}"' not in metrics.text
    finally:
        await service.close()


@pytest.mark.parametrize(
    ("changes", "ends"),
    [(WITHOUT_COURSE, "2024-07-03T00:00:00+08:00"), ({}, "2024-07-01T00:00:00+08:00")],
)
def test_phones_are_kept_from_the_campaigns_end_on(changes: dict[str, object], ends: str) -> None:
    assert forget_at(campaign(**changes)) == datetime.fromisoformat(ends) + RETAIN_FOR
