"""The parts that boards are made of: one way to write a number, a curve, a table. Every panel says what it shows, and its unit.

A board is a grid 24 wide; at 1920×1080 one row is 38 px, and 27 rows fill a screen without scrolling.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = common_models.DataSourceRef(type_val="prometheus", uid="prometheus")
RUNBOOKS = Path(__file__).parents[2] / "runbooks"
ALERTS = frozenset(path.stem for path in RUNBOOKS.glob("*.md"))
TITLES = {
    "fanzha-office": "值班大屏",
    "fanzha-units": "单位看板",
    "fanzha-messages": "消息看板",
    "fanzha-operations": "运维看板",
}
CAMPAIGNS = """
SELECT title AS __text, campaign_id AS __value FROM boards.campaign ORDER BY latest_lesson DESC NULLS LAST, campaign_id
"""
# 全部 is a row like the others: Grafana's own "All" would list the campaigns, and what belongs to none would be left out.
CAMPAIGNS_OR_ALL = """
SELECT '全部' AS __text, '.*' AS __value, NULL::date AS latest
UNION ALL SELECT title, campaign_id, coalesce(latest_lesson, '-infinity') FROM boards.campaign
ORDER BY latest DESC NULLS FIRST, __value
"""

REPORTING = common_models.DataSourceRef(type_val="grafana-postgresql-datasource", uid="reporting")

COUNT = "locale"  # every count on every board: 1,234,567, with decimals where asked for. What is counted stands in the title
SECONDS, BYTES, SHARE, PER_SECOND = "s", "bytes", "percentunit", "reqps"
NARROWEST_PX = 70  # of a column; Grafana's own 150 push the last one, the number, out of a narrow table
SCREEN_ROWS = 27  # of 38 px each: 1080 px, less the margin
RANKED, RANKING_TEXT = 6, 22  # rows, px
GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"


class _SqlQuery(Dataquery):
    """A query of Grafana's Postgres data source, for which the SDK has no class."""

    def __init__(self, sql: str, ref_id: str, shape: str) -> None:
        self.sql, self.ref_id, self.shape = sql, ref_id, shape

    def to_json(self) -> dict[str, object]:
        return {
            "datasource": REPORTING,
            "editorMode": "code",
            "format": self.shape,
            "rawQuery": True,
            "rawSql": self.sql,
            "refId": self.ref_id,
        }


@dataclass(frozen=True)
class Sql(Builder[Dataquery]):
    """One question to the read-only database, schema `boards`. `time_series`: the first column is called `time`."""

    sql: str
    ref_id: str = "A"
    time_series: bool = False

    def build(self) -> Dataquery:
        return _SqlQuery(" ".join(self.sql.split()), self.ref_id, "time_series" if self.time_series else "table")


def now(expr: str, legend: str = "", ref_id: str = "A") -> Builder[Dataquery]:
    """The value of this moment."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(_one_line(expr)).ref_id(ref_id).instant()
    return query.legend_format(legend)


def rows(expr: str, ref_id: str = "A") -> Builder[Dataquery]:
    """The values of this moment as rows of a table, labels as columns."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(_one_line(expr)).ref_id(ref_id).instant()
    return query.format(PromQueryFormat.TABLE).legend_format("")


def curve(expr: str, legend: str = "", ref_id: str = "A") -> Builder[Dataquery]:
    """The values of the board's time range."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(_one_line(expr)).ref_id(ref_id).range()
    return query.legend_format(legend)


def _one_line(expr: str) -> str:
    return " ".join(expr.split())


@dataclass(frozen=True)
class Place:
    """Where a panel stands, in grid units."""

    x: int
    y: int
    w: int
    h: int

    def grid(self) -> models.GridPos:
        return models.GridPos(x=self.x, y=self.y, w=self.w, h=self.h)


P = TypeVar("P", stat.Panel, timeseries.Panel, barchart.Panel, bargauge.Panel, statetimeline.Panel, table.Panel)
Panel = Builder[models.Panel]
Queries = Sequence[Builder[Dataquery]]
Steps = Sequence[tuple[float | None, str]]
PLAIN: Steps = [(None, GREY)]


def number(
    title: str,
    description: str,
    queries: Queries,
    place: Place,
    *,
    unit: str,
    decimals: int | None = None,
    steps: Steps = PLAIN,
    text_size: int | None = None,
    name_only: bool = False,
    beyond: tuple[float, str] | None = None,
) -> stat.Panel:
    """One figure, readable across a room. `name_only`: shows the legend instead (a title, a state). `beyond`: from this value on
    the text stands there instead."""
    panel = _framed(stat.Panel(), title, description, queries, place, unit)
    panel = panel.thresholds(_thresholds(steps)).color_scheme(_by_threshold())
    panel = panel.graph_mode(common_models.BigValueGraphMode.NONE).no_value("—")
    panel = panel.text_mode(common_models.BigValueTextMode.NAME if name_only else common_models.BigValueTextMode.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if text_size is not None:
        panel = panel.text(common.VizTextDisplayOptions().value_size(text_size).title_size(18))
    if beyond is not None:
        result = models.ValueMappingResult(text=beyond[1], index=0)
        options = models.DashboardRangeMapOptions(from_val=beyond[0], result=result)
        panel = panel.mappings([models.RangeMap(options=options)])
    return panel if decimals is None else panel.decimals(decimals)


def numbers(
    title: str, description: str, queries: Queries, place: Place, *, unit: str, steps: Steps = PLAIN
) -> stat.Panel:
    """Several figures side by side, each with its legend."""
    panel = number(title, description, queries, place, unit=unit, steps=steps)
    return panel.text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)


def curves(
    title: str,
    description: str,
    queries: Queries,
    place: Place,
    *,
    unit: str,
    time_from: str | None = None,
    colours: Mapping[str, str] | None = None,
    thick: str | None = None,
) -> timeseries.Panel:
    """Lines over time; `thick` names the query whose line stands out."""
    panel = _framed(timeseries.Panel(), title, description, queries, place, unit)
    panel = panel.line_width(2).fill_opacity(8).span_nulls(False).min(0)
    panel = panel.show_points(common_models.VisibilityMode.NEVER).no_value("—")
    panel = panel.legend(_legend()).tooltip(
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    if thick is not None:
        panel = panel.override_by_query(
            thick, [_value("custom.lineWidth", 5), _value("custom.fillOpacity", 20), _value("color", _fixed(BLUE))]
        )
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(name, [_value("color", _fixed(colour))])
    return panel if time_from is None else panel.time_from(time_from)


def bars(
    title: str,
    description: str,
    queries: Queries,
    place: Place,
    *,
    unit: str,
    x: str,
    stacked: bool = False,
    labels: Mapping[str, str] | None = None,
) -> barchart.Panel:
    """A bar for each row of a table; `x` names the column of the categories."""
    panel = _framed(barchart.Panel(), title, description, queries, place, unit)
    mode = common_models.StackingMode.NORMAL if stacked else common_models.StackingMode.NONE
    panel = panel.x_field(x).stacking(mode).no_value("—").min(0)
    panel = panel.show_value(common_models.VisibilityMode.AUTO).legend(_legend()).bar_width(0.8)
    for name, label in (labels or {}).items():
        panel = panel.override_by_name(name, [_value("displayName", label)])
    return panel


def ranking(
    title: str,
    description: str,
    queries: Queries,
    place: Place,
    *,
    unit: str,
    decimals: int | None = None,
) -> bargauge.Panel:
    """A horizontal bar for each series of Prometheus or row of the database, in the order of the query. `RANKED` of them in
    eleven grid rows are 61 px each: the name with letters of 22 px, read across a room, above its bar. Beside the bar Grafana
    would cut it off: it reckons the room for a name from letters of its own size."""
    panel = _framed(bargauge.Panel(), title, description, queries, place, unit)
    panel = panel.orientation(common_models.VizOrientation.HORIZONTAL).no_value("—").min(0)
    panel = panel.display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel = panel.text(common.VizTextDisplayOptions().title_size(RANKING_TEXT).value_size(RANKING_TEXT))
    panel = panel.name_placement(common_models.BarGaugeNamePlacement.TOP)
    is_table = any(isinstance(query, Sql) for query in queries)
    panel = panel.thresholds(_thresholds([(None, BLUE)])).color_scheme(_by_threshold())
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(is_table).limit(RANKED))
    return panel if decimals is None else panel.decimals(decimals)


def timeline(
    title: str,
    description: str,
    queries: Queries,
    place: Place,
    *,
    states: Mapping[str, tuple[str, str]],
    time_from: str | None = None,
) -> statetimeline.Panel:
    """States over time; `states`: value → (its name, its colour)."""
    panel = _framed(statetimeline.Panel(), title, description, queries, place, "none")
    options = {
        value: models.ValueMappingResult(text=name, color=colour, index=index)
        for index, (value, (name, colour)) in enumerate(states.items())
    }
    panel = panel.mappings([models.ValueMap(options=options)]).no_value("—")
    panel = panel.merge_values(True).show_value(common_models.VisibilityMode.NEVER).row_height(0.8)
    panel = panel.legend(_legend(show=False)).fill_opacity(90).line_width(0)
    return panel if time_from is None else panel.time_from(time_from)


def listing(
    title: str,
    description: str,
    queries: Queries,
    place: Place,
    *,
    unit: str = COUNT,
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    hidden: Iterable[str] = (),
    joined: bool = False,
    links: Mapping[str, str] | None = None,
) -> table.Panel:
    """A table; `columns`: column → heading, in this order. `joined`: several Prometheus queries side by side by their labels.
    `links`: column → where its cells lead, `${__value.raw}` being what stands in them."""
    panel = _framed(table.Panel(), title, description, queries, place, unit).no_value("—").show_header(True)
    panel = panel.cell_height(common_models.TableCellHeight.SM).min_width(NARROWEST_PX)
    if joined:
        panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    organize = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
    for name, its_unit in (units or {}).items():
        panel = panel.override_by_name(columns[name], [_value("unit", its_unit)])
    for name, url in (links or {}).items():
        panel = panel.override_by_name(columns[name], [_value("links", [{"title": "打开", "url": url}])])
    return panel


def heading(title: str, y: int) -> dashboard.Row:
    return dashboard.Row(title).grid_pos(models.GridPos(x=0, y=y, w=24, h=1))


def choice(name: str, label: str, sql: str) -> dashboard.QueryVariable:
    """A template variable filled by the read-only database: columns `__text` and `__value`."""
    variable = dashboard.QueryVariable(name).label(label).datasource(REPORTING).query(" ".join(sql.split()))
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)


def board(title: str, uid: str, description: str, *, time_from: str, refresh: str) -> dashboard.Dashboard:
    """An empty board: Chinese time, dark, not to be edited in Grafana, with links to the other boards."""
    made = dashboard.Dashboard(title).uid(uid).description(description).tags(["fanzha"])
    for other, its_title in TITLES.items():
        if other != uid:
            made = made.link(link(its_title, f"/d/{other}"))
    made = made.timezone("Asia/Shanghai").week_start("monday").refresh(refresh).time(time_from, "now")
    return made.readonly().tooltip(models.DashboardCursorSync.CROSSHAIR)


def link(title: str, url: str) -> dashboard.DashboardLink:
    """A link inside this Grafana, whatever its address is."""
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def runbook(alert: str) -> str:
    """Where the page of an alert is shown (deploy/grafana/boards/runbooks.py)."""
    return f"/d/runbook-{alert}"


def _framed(panel: P, title: str, description: str, queries: Queries, place: Place, unit: str) -> P:
    sources = {PROMETHEUS.uid: PROMETHEUS, REPORTING.uid: REPORTING}
    kinds = {(REPORTING if isinstance(query, Sql) else PROMETHEUS).uid for query in queries}
    if len(kinds) != 1:
        raise ValueError(f"{title}: one data source per panel")
    panel.title(title).description(description).datasource(sources[kinds.pop()])
    panel.grid_pos(place.grid()).unit(unit).targets(list(queries))
    named = [word for word in re.findall(r"[A-Z]\w+", description) if word in ALERTS]
    panel.links([link(f"处理办法：{alert}", runbook(alert)) for alert in named])
    return panel


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    listed = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(listed)


def _by_threshold() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def _fixed(colour: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": colour}


def _value(id_val: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=id_val, value=value)


def _legend(*, show: bool = True) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().placement(common_models.LegendPlacement.BOTTOM)
    return legend.display_mode(common_models.LegendDisplayMode.LIST).show_legend(show).calcs([])
