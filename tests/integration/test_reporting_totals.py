"""`GET …/totals` and `…/live-room`: what is counted, under which key, in which order (DESIGN §5.2)."""

import io
from collections.abc import AsyncIterator
from typing import Any, get_args

import openpyxl
import pytest

from services.reporting.totals.questions import By
from shared.failures import Poison
from shared.sheets import XLSX_TYPE
from tests.support.databases import DatabaseFactory
from tests.support.reporting_events import (
    CITY_RESIDENTS,
    COUNTY_RESIDENTS,
    DAY_1,
    DAY_2,
    TREE,
    checkins,
    claimed,
    defined,
    issued,
    live_room,
    made_good,
    moved,
    revoked,
)
from tests.support.reporting_service import ReportingService, by_key, column
from tests.support.servers import RunningPostgres
from tests.support.service import token

C = "small-2024"
EDU, FIN, DEP = ("140902-EDU", "student"), ("140921-FIN", "general"), ("1409-DEP", "general")
COUNTY, NOBODY, UNKNOWN = ("140902", "general"), ("unassigned", "unassigned"), ("9999", "general")


@pytest.fixture
async def service(database: DatabaseFactory) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"))
    yield running
    await running.close()


async def test_by_unit_keeps_the_code_as_sent_in_administrative_order(service: ReportingService) -> None:
    await service.deliver(*defined(C), checkins(C, [NOBODY, UNKNOWN, FIN, COUNTY, COUNTY, EDU, DEP]))
    answer = await service.totals(C, by="unit")
    assert column(answer, "checkins") == {
        "1409-DEP": 1,
        "140902": 2,
        "140902-EDU": 1,
        "140921-FIN": 1,
        "9999": 1,
        "unassigned": 1,
    }
    assert list(column(answer, "name").values()) == [
        "单位1409-DEP",
        "单位140902",
        "单位140902-EDU",
        "单位140921-FIN",
        None,
        "未归属",
    ]
    assert answer["campaign_id"] == C
    assert (answer["by"], answer["lesson"], answer["mode"]) == ("unit", None, None)
    assert answer["sum"]["checkins"] == 7
    assert answer["sum"]["attributed_share"] == round(5 / 7, 4)


async def test_by_county_rolls_units_up_and_keeps_what_hangs_above_under_its_own_code(
    service: ReportingService,
) -> None:
    places = [
        EDU,
        ("140902-EDU-1", "student"),
        COUNTY,
        FIN,
        DEP,
        ("1409", "general"),
        ("14", "general"),
        NOBODY,
        UNKNOWN,
    ]
    await service.deliver(*defined(C), checkins(C, places))
    answer = await service.totals(C, by="county")
    assert column(answer, "viewers") == {"14": 1, "1409": 2, "140902": 3, "140921": 1, "unassigned": 2}
    assert by_key(answer)["unassigned"]["name"] == "未归属"


async def test_by_city(service: ReportingService) -> None:
    await service.deliver(*defined(C), checkins(C, [EDU, FIN, DEP, ("140105", "general"), ("14", "general")]))
    assert column(await service.totals(C, by="city"), "viewers") == {"14": 1, "1409": 3, "1401": 1}


async def test_per_10k_divides_by_the_residents_of_the_row(service: ReportingService) -> None:
    await service.deliver(*defined(C), checkins(C, [EDU] * 7 + [FIN] * 3 + [DEP]))
    counties = by_key(await service.totals(C, by="county"))
    assert counties["140902"]["per_10k"] == 0.14
    assert counties["140902"]["residents"] == COUNTY_RESIDENTS
    assert counties["140921"]["per_10k"] is None  # no residents given: "—", not 0
    assert counties["1409"]["per_10k"] is None  # what hangs at the city is not the city's viewers
    assert counties["1409"]["residents"] is None
    city = by_key(await service.totals(C, by="city"))["1409"]
    assert (city["per_10k"], city["residents"]) == (0.06, CITY_RESIDENTS)
    assert by_key(await service.totals(C, by="group"))["student"]["per_10k"] is None


async def test_by_group_lesson_and_mode_are_named_and_ordered(service: ReportingService) -> None:
    await service.deliver(
        *defined(C),
        checkins(C, [FIN, EDU, ("140902", "unlisted"), NOBODY], lesson=DAY_2, mode="replay"),
        checkins(C, [FIN], lesson=DAY_1),
        made_good(C, [EDU]),
    )
    groups = await service.totals(C, by="group")
    assert column(groups, "name") == {
        "student": "学生",
        "general": "其他群众",
        "unlisted": None,
        "unassigned": "未归属",
    }
    assert list(column(groups, "name")) == ["student", "general", "unlisted", "unassigned"]
    lessons = await service.totals(C, by="lesson")
    assert list(column(lessons, "name").items()) == [("2024-06-29", "第一课"), ("2024-06-30", "第二课")]
    modes = await service.totals(C, by="mode")
    assert list(column(modes, "name").items()) == [("live", "首播"), ("replay", "重播"), ("made_good", "补记")]
    assert column(modes, "checkins") == {"live": 1, "replay": 4, "made_good": 0}


async def test_by_platform_counts_check_ins_under_who_sent_them(service: ReportingService) -> None:
    platforms = [{"source": "kuaishou", "title": "快手"}, {"source": "bus", "title": "自建"}]
    platforms.append({"source": "tv", "title": "电视"})  # sends nothing
    await service.deliver(
        *defined(C, platforms=platforms),
        checkins(C, [EDU, FIN, FIN], source="kuaishou"),
        checkins(C, [EDU], lesson=DAY_2, first_for_campaign=False, source="kuaishou"),
        checkins(C, [FIN], lesson=DAY_2, first_for_campaign=False, source="bus", late=True),
        checkins(C, [DEP]),
        moved(C, "v1", FIN, EDU),
    )
    answer = await service.totals(C, by="platform")
    assert [(row["key"], row["name"]) for row in answer["rows"]] == [
        ("kuaishou", "快手"),
        ("bus", "自建"),
        ("tv", "电视"),
        ("unassigned", "未归属"),
    ]
    assert column(answer, "checkins") == {"bus": 1, "kuaishou": 4, "unassigned": 1}
    assert column(answer, "viewers") == {"bus": 0, "kuaishou": 3, "unassigned": 1}
    assert column(answer, "credited") == {"bus": 0, "kuaishou": 4, "unassigned": 1}
    assert column(answer, "certificates_issued") == dict.fromkeys(("bus", "kuaishou", "unassigned"))
    assert answer["sum"]["checkins"] == 6
    assert column(await service.totals(C, by="platform", lesson=DAY_2), "viewers") == {"bus": 1, "kuaishou": 1}
    refused = await service.get(f"/v1/campaigns/{C}/totals", token(unit="140902"), by="platform")
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/whole-campaign-only")


async def test_viewers_are_people_of_the_lesson_the_campaign_or_the_mode(service: ReportingService) -> None:
    """One viewer in both modes of day 1 and live on day 2."""
    await service.deliver(
        *defined(C),
        checkins(C, [EDU]),
        checkins(C, [EDU], mode="replay", first_for_lesson=False, first_for_campaign=False),
        checkins(C, [EDU], lesson=DAY_2, first_for_campaign=False),
    )

    async def viewers(**asked: Any) -> tuple[dict[str, int], int]:
        answer = await service.totals(C, **asked)
        return column(answer, "viewers"), answer["sum"]["viewers"]

    assert await viewers(by="unit") == ({"140902-EDU": 1}, 1)
    assert await viewers(by="lesson") == ({"2024-06-29": 1, "2024-06-30": 1}, 1)
    assert await viewers(by="unit", lesson=DAY_1) == ({"140902-EDU": 1}, 1)
    assert await viewers(by="unit", lesson=DAY_2) == ({"140902-EDU": 1}, 1)
    assert await viewers(by="mode") == ({"live": 2, "replay": 1}, 1)
    assert await viewers(by="unit", mode="live") == ({"140902-EDU": 2}, 2)
    assert await viewers(by="group", lesson=DAY_1, mode="replay") == ({"student": 1}, 1)
    assert await viewers(by="lesson", mode="replay") == ({"2024-06-29": 1}, 1)


async def test_credited_follows_the_policy_in_force(service: ReportingService) -> None:
    await service.deliver(
        *defined(C),
        checkins(C, [EDU] * 5),
        checkins(C, [EDU] * 2, late=True),
        checkins(C, [EDU] * 3, mode="replay", first_for_lesson=False, first_for_campaign=False),
        made_good(C, [EDU]),
    )
    row = by_key(await service.totals(C, by="unit"))["140902-EDU"]
    assert (row["checkins"], row["late"], row["made_good"], row["credited"], row["viewers"]) == (10, 2, 1, 6, 7)
    assert column(await service.totals(C, by="mode"), "credited") == {"live": 5, "replay": 0, "made_good": 1}
    assert (await service.totals(C, by="unit", mode="live"))["sum"]["credited"] == 5

    await service.deliver(*defined(C, revision=2, credit=["live", "replay"]))
    assert column(await service.totals(C, by="unit"), "credited") == {"140902-EDU": 9}


async def test_certificates_follow_their_holder_and_forget_the_revoked(service: ReportingService) -> None:
    await service.deliver(
        *defined(C),
        claimed(C, 0, 1, 2),
        moved(C, "v1", FIN, EDU),
        issued(C, [EDU, FIN, FIN, FIN]),
        revoked(C, 2),
        checkins(C, [EDU, FIN, FIN, FIN]),
    )
    answer = await service.totals(C, by="unit")
    assert column(answer, "certificates_issued") == {"140902-EDU": 2, "140921-FIN": 1}
    assert column(answer, "certificates_claimed") == {"140902-EDU": 2, "140921-FIN": 0}
    assert column(answer, "viewers") == {"140902-EDU": 2, "140921-FIN": 2}
    assert (answer["sum"]["certificates_issued"], answer["sum"]["certificates_claimed"]) == (3, 2)
    assert column(await service.totals(C, by="county"), "certificates_issued") == {"140902": 2, "140921": 1}
    assert column(await service.totals(C, by="group"), "certificates_claimed") == {"student": 2, "general": 0}


@pytest.mark.parametrize("first", [0, 1])
async def test_a_certificate_leaves_no_unit_when_the_channel_of_the_same_enrolment_becomes_known(
    service: ReportingService, first: int
) -> None:
    nowhere = ("unassigned", FIN[1])
    moves = [moved(C, "v0", EDU, nowhere), moved(C, "v0", nowhere, FIN)]
    await service.deliver(*defined(C), checkins(C, [EDU]), issued(C, [EDU]), moves[first], moves[1 - first])
    answer = await service.totals(C, by="unit")
    assert {key: n for key, n in column(answer, "certificates_issued").items() if n} == {FIN[0]: 1}
    assert {key: n for key, n in column(answer, "checkins").items() if n} == {FIN[0]: 1}


async def test_certificates_have_no_lesson_and_no_mode(service: ReportingService) -> None:
    await service.deliver(*defined(C), checkins(C, [EDU]), issued(C, [EDU]))
    for asked in ({"by": "lesson"}, {"by": "mode"}, {"by": "unit", "lesson": DAY_1}, {"by": "unit", "mode": "live"}):
        answer = await service.totals(C, **asked)
        assert {row["certificates_issued"] for row in answer["rows"]} == {None}
        assert {row["certificates_claimed"] for row in answer["rows"]} == {None}
    assert (await service.totals(C, by="lesson"))["sum"]["certificates_issued"] == 1
    assert (await service.totals(C, by="unit", mode="live"))["sum"]["certificates_issued"] is None


async def test_facts_before_the_definition_are_kept_and_answered_without_names(service: ReportingService) -> None:
    await service.deliver(checkins(C, [EDU, NOBODY]))
    early = await service.totals(C, by="unit")
    assert column(early, "name") == {"140902-EDU": None, "unassigned": "未归属"}
    assert column(early, "credited") == {"140902-EDU": None, "unassigned": None}
    assert early["sum"]["attributed_share"] == 0.5
    first_page, second_page = defined(C)
    await service.deliver(second_page)
    assert column(await service.totals(C, by="unit"), "credited") == {"140902-EDU": None, "unassigned": None}
    await service.deliver(first_page)
    assert column(await service.totals(C, by="unit"), "credited") == {"140902-EDU": 1, "unassigned": 1}


async def test_before_the_first_checkin_every_unit_group_and_lesson_is_listed_with_0(service: ReportingService) -> None:
    await service.deliver(*defined(C))
    codes = [unit["unit_code"] for unit in TREE]
    for by, keys in (
        ("unit", codes),
        ("subtree", codes),
        ("county", ["140902", "140921", "140105"]),
        ("city", ["1409", "1401"]),
        ("group", ["student", "general"]),
        ("lesson", [str(DAY_1), str(DAY_2)]),
    ):
        answer = await service.totals(C, by=by)
        assert list(by_key(answer)) == keys
        assert {(row["checkins"], row["credited"], row["viewers"]) for row in answer["rows"]} == {(0, 0, 0)}
    assert by_key(await service.totals(C, by="county"))["140902"]["per_10k"] == 0
    assert list(by_key(await service.totals(C, by="lesson", lesson=DAY_2))) == [str(DAY_2)]
    assert list(by_key(await service.totals(C, token(unit="140902"), by="unit"))) == codes[3:6]
    assert (await service.totals(C, token("liaison"), by="group"))["rows"] == []  # a missing group is empty or small


async def test_a_place_that_everybody_left_is_listed_with_0_where_the_definition_names_it(
    service: ReportingService,
) -> None:
    await service.deliver(
        *defined(C), checkins(C, [EDU, UNKNOWN]), moved(C, "v0", EDU, FIN), moved(C, "v1", UNKNOWN, FIN)
    )
    rows = by_key(await service.totals(C, by="unit"))
    assert (rows["140902-EDU"]["checkins"], rows["140921-FIN"]["checkins"], rows.get("9999")) == (0, 2, None)


async def test_by_subtree_a_unit_has_all_below_it(service: ReportingService) -> None:
    places = [EDU, ("140902-EDU-1", "student"), COUNTY, FIN, DEP, NOBODY, UNKNOWN]
    await service.deliver(*defined(C), checkins(C, places), issued(C, [EDU]))
    answer = await service.totals(C, by="subtree")
    assert column(answer, "viewers") == {
        "14": 5,
        "1409": 5,
        "1409-DEP": 1,
        "140902": 3,
        "140902-EDU": 2,
        "140902-EDU-1": 1,
        "140921": 1,
        "140921-FIN": 1,
        "9999": 1,
        "unassigned": 1,
    }
    assert by_key(answer)["1409"]["certificates_issued"] == 1
    assert by_key(answer)["1409"]["per_10k"] == 0.03  # all of the city, unlike by county
    assert answer["sum"]["viewers"] == 7
    county = await service.totals(C, token(unit="140902"), by="subtree")
    assert column(county, "viewers") == {"140902": 3, "140902-EDU": 2, "140902-EDU-1": 1}


async def test_live_room_actions_are_counted_by_lesson_unit_and_item(service: ReportingService) -> None:
    await service.deliver(
        *defined(C),
        live_room(C, [EDU, EDU, NOBODY], "prize_won", "保温杯"),
        live_room(C, [EDU], "prize_won", "警察小熊", lesson=DAY_2),
        live_room(C, [EDU], "quiz_answered"),
        live_room(C, [FIN], "account_followed", "国家反诈中心"),
    )
    lessons = by_key(await service.live_room(C, by="lesson"))
    assert lessons["2024-06-29"] == {
        "key": "2024-06-29",
        "name": "第一课",
        "quiz_answered": 1,
        "prize_won": 3,
        "account_followed": 1,
    }
    assert column(await service.live_room(C, by="county"), "prize_won") == {"140902": 3, "140921": 0, "unassigned": 1}
    assert column(await service.live_room(C, by="item", lesson=DAY_1), "prize_won") == {
        "": 0,
        "保温杯": 3,
        "国家反诈中心": 0,
    }


async def test_totals_as_csv_and_xlsx(service: ReportingService) -> None:
    await service.deliver(*defined(C), checkins(C, [EDU, NOBODY]), issued(C, [EDU]))
    plain = await service.sheet(f"{C}/totals", "text/csv", by="county")
    assert (plain.status_code, plain.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert plain.content.startswith(b"\xef\xbb\xbf")  # without it Excel garbles Chinese
    lines = plain.content.decode("utf-8-sig").split("\r\n")
    assert lines == [
        "代码,县（市、区）,签到人次,逾期,补记,计入,人数,已发证书,已领证书,每万人,常住人口,人口年份,人口来源",
        "140902,单位140902,1,0,0,1,1,1,0,0.02,500000,2016,年鉴",
        "140921,单位140921,0,0,0,0,0,0,0,,,,",
        "140105,单位140105,0,0,0,0,0,0,0,,,,",
        "unassigned,未归属,1,0,0,1,1,0,0,,,,",
        "合计,,2,0,0,2,2,1,0,,,,",
        "",
    ]
    answer = await service.sheet(f"{C}/totals", XLSX_TYPE, by="county", lesson=str(DAY_1))
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert [cell.value for cell in book["汇总"][2]][:5] == ["140902", "单位140902", 1, 0, 0]
    about = dict(book["说明"].iter_rows(min_row=2, values_only=True))
    assert (about["活动"], about["汇总方式"], about["课程"]) == (C, "县（市、区）", str(DAY_1))
    assert str(about["数据截至"]).endswith("+08:00")  # the campaign's zone
    refused = await service.sheet(f"{C}/totals", "text/csv", by="unit", lesson="2024-12-29")
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/no-such-lesson")


@pytest.mark.parametrize("by", get_args(By))
async def test_totals_as_csv_by_everything(service: ReportingService, by: str) -> None:
    await service.deliver(*defined(C), checkins(C, [EDU]))
    answer = await service.sheet(f"{C}/totals", "text/csv", by=by)
    assert answer.status_code == 200
    assert answer.content.decode("utf-8-sig").splitlines()[-1].startswith("合计,,1,")


async def test_the_live_room_as_csv(service: ReportingService) -> None:
    await service.deliver(*defined(C), live_room(C, [EDU, EDU], "prize_won", "=HYPERLINK(0)"))
    plain = await service.sheet(f"{C}/live-room", "text/csv", by="item")
    assert plain.content.decode("utf-8-sig").split("\r\n") == [
        "代码,项目,答题次数,中奖次数,关注次数",
        "'=HYPERLINK(0),'=HYPERLINK(0),0,2,0",
        "",
    ]


async def test_a_definition_that_cannot_be_read_is_poison(service: ReportingService) -> None:
    page, _ = defined(C)
    spoilt = page.model_copy(update={"units": [{"unit_code": "14"}]})
    with pytest.raises(Poison, match="name"):
        await service.deliver(spoilt)


async def test_the_scrape_has_the_exact_totals_by_county(service: ReportingService) -> None:
    await service.deliver(
        *defined(C),
        checkins(C, [EDU, EDU, DEP, NOBODY]),
        made_good(C, [FIN]),
        issued(C, [EDU, EDU]),
        claimed(C, 0),
        live_room(C, [EDU], "prize_won", "保温杯"),
    )
    page = (await service.get("/metrics")).text
    lesson = f'campaign="{C}",lesson="2024-06-29"'
    for line in (
        f'fanzha_checkins_recorded_total{{{lesson},mode="live"}} 4.0',
        f"fanzha_lessons_made_good_total{{{lesson}}} 1.0",
        f'fanzha_checkins{{campaign="{C}",county="140902",lesson="2024-06-29",mode="live"}} 2.0',
        f'fanzha_checkins_credited{{campaign="{C}",county="140921",lesson="2024-06-29",mode="made_good"}} 1.0',
        f'fanzha_lesson_viewers{{campaign="{C}",county="1409",lesson="2024-06-29"}} 1.0',
        f'fanzha_viewers{{campaign="{C}",county="unassigned"}} 1.0',
        f'fanzha_certificates{{campaign="{C}",county="140902",state="issued"}} 2.0',
        f'fanzha_certificates{{campaign="{C}",county="140902",state="claimed"}} 1.0',
        f'fanzha_live_room_actions_total{{action="prize_won",{lesson}}} 1.0',
        f'fanzha_county_residents{{campaign="{C}",county="140902"}} 500000.0',
        f'fanzha_county_info{{campaign="{C}",county="140902",name="单位140902"}} 1.0',
    ):
        assert any(line_matches(given, line) for given in page.splitlines()), f"{line}\n{page}"


def line_matches(given: str, wanted: str) -> bool:
    """The same series and value, whatever the order of labels."""
    return sorted(given.replace("{", ",").replace("}", ",").split(",")) == sorted(
        wanted.replace("{", ",").replace("}", ",").split(",")
    )


async def test_without_its_tables_the_exact_totals_are_left_out_of_the_scrape(
    service: ReportingService, postgres: RunningPostgres
) -> None:
    await service.deliver(*defined(C), checkins(C, [EDU]))
    async with service.db.transaction() as tx:
        name = await tx.fetchval("SELECT current_database()")
    await postgres.execute("ALTER TABLE total RENAME TO gone", role="reporting_owner", database=name)
    answer = await service.get("/metrics")
    assert answer.status_code == 200
    assert "fanzha_checkins" not in answer.text


class TestRequests:
    """What is refused, and with which problem."""

    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"by": "province"},
            {"by": "unit", "lesson": "29 June"},
            {"by": "unit", "lesson": "2024-13-01"},
            {"by": "unit", "mode": "made_good"},
            {"by": "unit", "leson": "2024-06-29"},
        ],
    )
    async def test_a_bad_parameter_is_a_422(self, service: ReportingService, asked: dict[str, str]) -> None:
        await service.deliver(*defined(C))
        answer = await service.get(f"/v1/campaigns/{C}/totals", token(), **asked)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/invalid-request"

    async def test_an_unknown_campaign_is_a_404(self, service: ReportingService) -> None:
        for path in ("totals", "live-room"):
            answer = await service.get(f"/v1/campaigns/nowhere/{path}", token(), by="unit")
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")

    async def test_an_id_that_is_none_is_a_422(self, service: ReportingService) -> None:
        assert (await service.get("/v1/campaigns/a%00b/totals", token(), by="unit")).status_code == 422

    @pytest.mark.parametrize("day", ["2024-12-29", "0001-01-01", "9999-12-31"])
    async def test_a_date_without_a_lesson_is_a_422(self, service: ReportingService, day: str) -> None:
        await service.deliver(checkins(C, [EDU]))
        assert (await service.totals(C, by="unit", lesson=day))["rows"] == []  # lessons are not known yet
        await service.deliver(*defined(C))
        for path in ("totals", "live-room"):
            answer = await service.get(f"/v1/campaigns/{C}/{path}", token(), by="unit", lesson=day)
            problem = answer.json()
            assert (answer.status_code, problem["type"]) == (422, "/problems/no-such-lesson")
            assert (problem["title"], problem["detail"]) == (
                f"该活动在 {day} 没有课",
                "课程从 2024-06-29 到 2024-06-30",
            )

    async def test_a_token_is_needed_and_is_for_one_campaign(self, service: ReportingService) -> None:
        await service.deliver(*defined(C))
        path = f"/v1/campaigns/{C}/totals"
        assert (await service.get(path, by="unit")).status_code == 401
        assert (await service.get(path, "nonsense", by="unit")).status_code == 401
        assert (await service.get(path, token(campaign="other"), by="unit")).status_code == 403
        assert (await service.get(path, token(campaign=C), by="unit")).status_code == 200

    async def test_a_tree_without_the_level_has_only_what_is_there(self, service: ReportingService) -> None:
        flat = [unit | {"parent_code": None} for unit in TREE if unit["level"] == "province"]
        await service.deliver(*defined(C, units=flat), checkins(C, [("14", "general")]))
        assert list(by_key(await service.totals(C, by="county"))) == ["14"]
