"""Every query of every board, on the real Prometheus and Postgres after a small campaign: it parses, has data, and adds up."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.ops import board_looks
from tests.ops.boards import Panel, boards, known_metrics, panels, rules
from tests.ops.watched_campaign import CAMPAIGN, WatchedCampaign, missing_tools, wait_until, watched_campaign
from tests.support.servers import public_folder

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

MAY_BE_EMPTY = {"operations: 放回重试的消息": "nothing failed in this campaign"}
WITHIN_S = 120
OF_CAMPAIGN = f"campaign_id = '{CAMPAIGN}'"


@pytest.fixture(scope="module")
def watched() -> Iterator[WatchedCampaign]:
    if missing := missing_tools():
        pytest.skip(f"missing: {', '.join(missing)}; the packages of .ci/run have them")
    with public_folder() as folder, watched_campaign(folder) as campaign:
        tonight(campaign)
        yield campaign


def tonight(campaign: WatchedCampaign) -> None:
    """The present evening, while Prometheus looks on."""
    campaign.clock_is(campaign.now)
    campaign.check_in(range(30))
    campaign.forge(3)
    future = campaign.now + timedelta(hours=3)
    refused = campaign.post([campaign.event("viewer.checked_in", 1, future, "future"), {"event_id": "x"}])
    assert refused["counts"] == {"rejected": 2}
    campaign.put(f"/v1/campaigns/{CAMPAIGN}/lessons/{campaign.lesson(0)}/platform-count", {"live": 80})
    campaign.claim_one()
    # What grows after it was first seen has a rate; what is first seen grown has none.
    seen = f'sum(fanzha_live_events_total{{lesson="{campaign.lesson(0)}", verdict="recorded"}}) == 30'
    forged = 'sum(fanzha_http_request_duration_seconds_count{job="checkin", status="401"}) == 3'
    for expr in (seen, forged):
        wait_until(partial(campaign.query, expr), WITHIN_S)
    campaign.check_in(range(30, 60))  # so that rates are seen rising
    campaign.forge(20)
    campaign.play_another(5)


def chosen(campaign: WatchedCampaign, board: str, query: str) -> str:
    """`query` with the first choice of each variable filled in, as Grafana does when a board is opened."""
    values: dict[str, str] = {}
    for variable in boards()[board]["templating"]["list"]:
        choices = campaign.as_reader(_filled(variable["query"], values))
        values[variable["name"]] = str(choices[0]["__value"])
    return _filled(query, values)


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return text


def answers(campaign: WatchedCampaign, board: str, target: dict[str, Any]) -> list[Any]:
    if "rawSql" in target:
        return list(campaign.as_reader(chosen(campaign, board, target["rawSql"])))
    return campaign.query(chosen(campaign, board, target["expr"]), minutes=0 if target.get("instant") else 10)


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel.name)
def test_every_query_of_a_panel_parses_and_has_data(watched: WatchedCampaign, panel: Panel) -> None:
    for target in panel.targets:
        if panel.name in MAY_BE_EMPTY:
            answers(watched, panel.board, target)
        else:
            wait_until(partial(answers, watched, panel.board, target), WITHIN_S)


def test_every_known_metric_is_scraped(watched: WatchedCampaign) -> None:
    """With a value, or at least announced: nothing failed here, so nothing was counted as failed."""
    announced = set(watched.get(watched.prometheus + "/api/v1/metadata")["data"])

    def is_known(name: str) -> bool:
        families = {name, name.removesuffix("_total"), re.sub(r"_(bucket|count|sum)$", "", name)}
        return bool(families & announced) or bool(watched.query(f"count({name})"))

    missing = {name for name in known_metrics() - {"ALERTS"} if not is_known(name)}
    assert missing == set()


def test_every_rule_can_be_evaluated(watched: WatchedCampaign) -> None:
    for rule in rules():
        watched.query(rule["expr"])
    groups = watched.get(watched.prometheus + "/api/v1/rules")["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


def query_of(campaign: WatchedCampaign, board: str, title: str, ref: str = "A") -> str:
    (panel,) = [panel for panel in panels() if panel.name == f"{board}: {title}"]
    (target,) = [target for target in panel.targets if target["refId"] == ref]
    return chosen(campaign, board, str(target.get("expr") or target["rawSql"]))


def one(campaign: WatchedCampaign, sql: str, service: str = "reporting") -> Any:
    """The single value of a query asked as the superuser: what is truly in the tables."""
    (row,) = campaign.sql(sql, database=f"fanzha_{service}")
    return next(iter(row.values()))


def shows(campaign: WatchedCampaign, expr: str, number: float) -> None:
    wait_until(lambda: campaign.value(expr) == pytest.approx(number, rel=1e-12), WITHIN_S)


def test_the_office_boards_figures_are_those_of_the_tables(watched: WatchedCampaign) -> None:
    today = watched.lesson(0)
    tonight = one(watched, f"SELECT sum(checkins) FROM total WHERE {OF_CAMPAIGN} AND lesson_date = '{today}'")
    assert tonight == 60
    shows(watched, query_of(watched, "office", "本课签到"), tonight)
    yesterday = one(
        watched,
        f"SELECT sum(checkins) FROM total WHERE {OF_CAMPAIGN} AND lesson_date = '{watched.lesson(1)}' AND mode = 'live'",
    )
    shows(watched, query_of(watched, "office", "比昨天此时"), tonight / yesterday - 1)
    people = one(watched, f"SELECT sum(first_for_campaign) FROM total WHERE {OF_CAMPAIGN}")
    shows(watched, query_of(watched, "office", "累计参与人数"), people)
    claimed = one(watched, "SELECT count(*) FROM certificate WHERE claimed_at IS NOT NULL", "certificate")
    assert claimed == 1
    shows(watched, query_of(watched, "office", "已领取证书"), claimed)
    assert 0 <= watched.value(query_of(watched, "office", "最近一条事件")) < 600


def test_the_curves_of_earlier_days_are_what_was_sent_by_that_time(watched: WatchedCampaign) -> None:
    for ref, days_ago in (("B", 1), ("C", 2), ("D", 3), ("E", 7)):
        sent = watched.sent[watched.lesson(days_ago)]["live"]  # the replay of that day came later
        shows(watched, query_of(watched, "office", "本课与前几课同一时刻的签到", ref), sent)


def test_bars_of_lessons_are_what_was_sent(watched: WatchedCampaign) -> None:
    bars = watched.as_reader(query_of(watched, "office", "各课签到人次"))
    days = [watched.sent[lesson] for lesson in sorted(watched.sent)]
    assert [(bar["live"], bar["replay"]) for bar in bars] == [(day["live"], day["replay"]) for day in days]


def test_counties_add_up_to_the_lesson(watched: WatchedCampaign) -> None:
    today = watched.lesson(0)
    rows = watched.sql(
        "SELECT split_part(unit_code, '-', 1) AS county, sum(first_for_lesson) AS viewers "
        f"FROM total WHERE {OF_CAMPAIGN} AND lesson_date = '{today}' GROUP BY 1"
    )
    names = {"140902": "单位140902", "140921": "单位140921", "unassigned": "未归属"}
    wanted = {names[row["county"]]: row["viewers"] for row in rows if row["viewers"]}

    def found() -> dict[str, float]:
        series = watched.query(query_of(watched, "office", "各县（区）本课人数"))
        return {sample["metric"]["name"]: float(sample["value"][1]) for sample in series if float(sample["value"][1])}

    wait_until(lambda: found() == wanted, WITHIN_S)
    per_10k = watched.query(query_of(watched, "office", "各县（区）每万人参与"))
    people = one(watched, f"SELECT sum(first_for_campaign) FROM total WHERE {OF_CAMPAIGN} AND unit_code LIKE '140902%'")
    shown = {sample["metric"]["name"]: float(sample["value"][1]) for sample in per_10k}
    assert shown["单位140902"] == pytest.approx(people / 50)


def test_the_units_board_adds_up(watched: WatchedCampaign) -> None:
    units = watched.as_reader(query_of(watched, "units", "各单位记录数"))
    assert [row["unit_code"] for row in units][:3] == ["14", "1409", "140902"]  # administrative order
    today = watched.lesson(0)
    (unassigned,) = watched.sql(
        f"SELECT coalesce(sum(checkins), 0) AS n FROM total WHERE {OF_CAMPAIGN} AND lesson_date = '{today}' "
        "AND unit_code = 'unassigned'"
    )
    assert sum(row["checkins"] for row in units) + unassigned["n"] == 60
    assert {row["unit_code"]: row["state"] for row in units}["140921-IDLE"] == "从未签到"
    held = one(watched, "SELECT sum(issued) FROM certificate_total WHERE unit_code <> 'unassigned'")
    assert sum(row["issued"] or 0 for row in units) == held
    (shown,) = watched.as_reader(query_of(watched, "units", "本课签到人次"))
    assert shown["checkins"] == 60


def test_checkin_and_reporting_agree_and_the_feed_is_held_against_the_platform(watched: WatchedCampaign) -> None:
    shows(watched, query_of(watched, "operations", "签到与统计之差"), 0)
    completeness = query_of(watched, "operations", "与平台统计数对照")
    shows(watched, f"sum({completeness})", 60 / 80)  # only the live count was stated


def test_messages_are_those_of_the_table(watched: WatchedCampaign) -> None:
    sent = one(watched, "SELECT count(*) FROM notification WHERE status IN ('accepted', 'delivered')", "notification")
    assert sent > 0
    shows(watched, query_of(watched, "messages", "已发出"), sent)


@pytest.fixture(scope="module")
def parts() -> None:
    if missing := board_looks.missing_tools():
        pytest.skip(f"missing: {', '.join(missing)}")
    board_looks.install()


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("board", boards())
def test_a_board_is_drawn_with_grafanas_own_parts(watched: WatchedCampaign, board: str) -> None:
    """The pictures are build/boards/*.png, to be looked at."""
    given = {
        panel.content["id"]: {target["refId"]: answers(watched, board, target) for target in panel.targets}
        for panel in panels()
        if panel.board == board
    }
    assert board_looks.draw(board, given, {"campaign": watched.definition()["title"]}, time.time()) == []


def test_an_alert_reaches_alertmanager(watched: WatchedCampaign) -> None:
    """Posts with a wrong signature: the one alert that need not wait."""
    wait_until(lambda: watched.query('ALERTS{alertname="FeedSignatureRefused", alertstate="firing"}'), WITHIN_S)
    groups = watched.get(watched.prometheus + "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    (manager,) = groups
    url = str(manager["url"]).replace("/api/v2/alerts", "/api/v2/alerts?filter=alertname%3DFeedSignatureRefused")
    (alert,) = wait_until(lambda: watched.get(url), WITHIN_S)
    assert [receiver["name"] for receiver in alert["receivers"]] == ["page"]
    assert alert["annotations"]["runbook_url"] == "https://boards.example/d/runbook-FeedSignatureRefused"
    assert "boards" not in alert["labels"]
