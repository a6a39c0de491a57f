"""The rules that boards are held to, and that the committed JSON is what the code builds."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from deploy.grafana.boards.__main__ import differences
from tests.ops.boards import DEPLOY, NO_DATA, Panel, boards, known_metrics, metrics_in, panels, rules

CHINESE = re.compile(r"[\u4e00-\u9fff]")
SCREEN_ROWS = 27  # of 38 px each: 1080 px, less the margin
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
    found = boards().values()
    assert len({board["uid"] for board in found}) == len({board["title"] for board in found}) == len(found) == 4


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


def test_the_office_board_fills_one_screen_and_has_no_choices() -> None:
    office = boards()["office"]
    assert office.get("templating", {}).get("list", []) == []
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in office["panels"]) <= SCREEN_ROWS
    queries = [json.dumps(panel.targets) for panel in panels() if panel.board == "office"]
    assert not [query for query in queries if "$" in query]


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
