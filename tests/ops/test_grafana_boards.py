"""The rules that boards are held to, and that the committed JSON is what the code builds."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from deploy.grafana.boards.__main__ import differences
from deploy.grafana.boards.parts import SCREEN_ROWS
from tests.ops.boards import DEPLOY, NO_DATA, Panel, boards, known_metrics, metrics_in, panels, rules

CHINESE = re.compile(r"[\u4e00-\u9fff]")
ROW_PX, FRAME_PX = 38, 50  # a row of the grid; a panel's title and padding
PLAIN_UNITS = {"locale", "percentunit", "s", "bytes", "reqps", "none"}
EVERY_BOARD = pytest.mark.parametrize("board", boards().values(), ids=boards().keys())
EVERY_PANEL = pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel.name)


def test_the_committed_boards_are_what_the_code_builds() -> None:
    assert differences() == []


@EVERY_BOARD
def test_a_board_is_chinese_in_chinese_time_and_not_edited_in_grafana(board: dict[str, Any]) -> None:
    assert CHINESE.search(board["title"])
    assert CHINESE.search(board["description"])
    assert (board["timezone"], board["editable"]) == ("Asia/Shanghai", False)
    assert board["uid"].startswith("fanzha-")


def test_boards_are_told_apart() -> None:
    all_boards = boards().values()
    assert (
        len({board["uid"] for board in all_boards})
        == len({board["title"] for board in all_boards})
        == len(all_boards)
        == 4
    )


@EVERY_BOARD
def test_no_two_panels_overlap_and_none_hangs_out(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_the_office_board_fills_one_screen() -> None:
    office = boards()["office"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in office["panels"]) <= SCREEN_ROWS


def test_the_office_board_shows_one_campaign_and_never_the_sum_of_two() -> None:
    assert [choice["name"] for choice in boards()["office"]["templating"]["list"]] == ["campaign"]
    for panel in (panel for panel in panels() if panel.board == "office"):
        for target in panel.targets:
            asked = target.get("expr") or target["rawSql"]
            figures = (
                re.findall(r"\b(?:campaign|fanzha)[\w:]*[_:]\w+(?!\w*\()", asked) if "expr" in target else ["table"]
            )
            named = asked.count('campaign="$campaign"') or asked.count("campaign_id = '$campaign'")
            assert named == len(figures), asked


def test_every_board_knows_one_campaign_from_another() -> None:
    for name, board in boards().items():
        assert "campaign" in [choice["name"] for choice in board["templating"]["list"]], name


@EVERY_BOARD
def test_a_board_links_to_the_others(board: dict[str, Any]) -> None:
    others = {f"/d/{other['uid']}" for other in boards().values()} - {f"/d/{board['uid']}"}
    assert {link["url"] for link in board["links"]} == others


@EVERY_PANEL
def test_a_panel_that_names_an_alert_links_to_its_page(panel: Panel) -> None:
    alerts = [rule["alert"] for rule in rules() if "alert" in rule]
    named = [f"/d/runbook-{alert}" for alert in alerts if re.search(rf"\b{alert}\b", panel.content["description"])]
    assert sorted(link["url"] for link in panel.content.get("links", [])) == sorted(named)


def test_an_alert_in_the_list_leads_to_its_page() -> None:
    (listed,) = [panel for panel in panels() if panel.title == "正在报警"]
    overrides = [value for override in listed.content["fieldConfig"]["overrides"] for value in override["properties"]]
    assert [link["url"] for value in overrides if value["id"] == "links" for link in value["value"]] == [
        "/d/runbook-${__value.raw}"
    ]


def test_every_alert_has_a_page_in_grafana_whose_links_lead_somewhere() -> None:
    pages = {path.stem: json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "runbooks").glob("*.json")}
    assert pages.keys() == {rule["alert"] for rule in rules() if "alert" in rule}
    known = {f"/d/{board['uid']}" for board in (*boards().values(), *pages.values())}
    for alert, page in pages.items():
        assert page["uid"] == f"runbook-{alert}"
        (panel,) = page["panels"]
        links = re.findall(r"\]\(([^)]+)\)", panel["options"]["content"]) + [link["url"] for link in page["links"]]
        assert set(links) <= known, alert
        assert "## Mitigation 处理" in panel["options"]["content"]


@EVERY_PANEL
def test_numbers_are_written_in_one_way(panel: Panel) -> None:
    """1,234,567 everywhere: no 万, and no unit behind a number, which would take its commas away."""
    units = [panel.content["fieldConfig"]["defaults"]["unit"]]
    units += [
        value["value"]
        for override in panel.content["fieldConfig"].get("overrides", [])
        for value in override["properties"]
        if value["id"] == "unit"
    ]
    assert set(units) <= PLAIN_UNITS | {"string"} or (panel.title, units) == ("最近一条事件", ["suffix: 秒前"])
    assert "/ 10000" not in json.dumps(panel.targets)


def test_rankings_are_read_across_a_room() -> None:
    """A screen of 1080 px on a wall: letters of a fiftieth of its height, and room for the name above its bar."""
    rankings = [panel for panel in panels() if panel.board == "office" and panel.content["type"] == "bargauge"]
    assert len(rankings) == 4
    for panel in rankings:
        options, height_px = panel.content["options"], panel.content["gridPos"]["h"] * ROW_PX - FRAME_PX
        assert height_px / options["reduceOptions"]["limit"] >= 60
        assert options["namePlacement"] == "top"
        assert options["text"]["titleSize"] == options["text"]["valueSize"] >= 22
        for target in panel.targets:
            assert (
                int(re.findall(r"(?:top|bottom)k\((\d+)", target.get("expr", "topk(0"))[0])
                <= options["reduceOptions"]["limit"]
            )


@EVERY_PANEL
def test_a_panel_says_in_chinese_what_it_shows_and_in_what_unit(panel: Panel) -> None:
    assert CHINESE.search(panel.title) or panel.title == "NATS"
    assert CHINESE.search(panel.content["description"]), "description"
    assert panel.content["fieldConfig"]["defaults"].get("unit"), "unit"


def test_panels_of_a_board_are_told_apart() -> None:
    names = [panel.name for panel in panels(with_data=False)]
    assert len(set(names)) == len(names)


@EVERY_PANEL
def test_a_panel_asks_one_data_source_that_is_provisioned(panel: Panel) -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/datasources.yml").read_text())
    known = {source["uid"]: source["type"] for source in provisioned["datasources"]}
    source = panel.content["datasource"]
    assert known[source["uid"]] == source["type"]
    assert panel.targets
    assert all(target["datasource"] == source for target in panel.targets)
    assert len({target["refId"] for target in panel.targets}) == len(panel.targets)


@EVERY_PANEL
def test_a_panel_names_only_metrics_and_views_that_exist(panel: Panel) -> None:
    for target in panel.targets:
        assert metrics_in(target.get("expr", "")) <= known_metrics()
        tables = re.findall(r"\b(?:FROM|JOIN)\s+([\w.]+)", target.get("rawSql", ""))
        assert all(table.startswith("boards.") or table in ("SELECT", "LATERAL") for table in tables), tables


def test_a_table_has_no_column_with_the_name_of_a_metric() -> None:
    """It would also keep two queries from standing in one row: an aggregation drops it."""
    for panel in panels():
        for target in panel.targets:
            if target.get("format") == "table" and "expr" in target:
                assert re.match(r"(sum|count|max|min) by ", target["expr"]), panel.name


def test_rules_name_only_metrics_that_exist() -> None:
    for rule in rules():
        assert metrics_in(rule["expr"]) <= known_metrics(), rule


def test_variables_ask_the_read_only_database() -> None:
    for board in boards().values():
        for variable in board.get("templating", {}).get("list", []):
            assert (variable["datasource"]["uid"], variable["type"]) == ("reporting", "query")
            assert "__value" in variable["query"]
            # With "All" or several values Grafana quotes by itself, and our quotes would be one pair too many.
            assert not variable.get("includeAll")
            assert not variable.get("multi")


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ('sum by (a, b) (rate(x_total{c="d", e=~"f|g"}[5m])) / on (h) group_left (i) y > 0.5', {"x_total", "y"}),
        ("a:b:c offset 1d and on () vector(0) unless max(z) or 60 * q", {"a:b:c", "z", "q"}),
        ('histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m]))) >= 0 or absent(up{job="n"})', {"x_bucket", "up"}),
    ],
)
def test_metric_names_are_found_in_an_expression(expr: str, names: set[str]) -> None:
    assert metrics_in(expr) == names


def test_every_panel_shows_figures() -> None:
    """A wall has no placeholders: no panel of words that says what will stand there one day."""
    assert [panel.name for panel in panels(with_data=False) if panel.content["type"] == NO_DATA[1]] == []
