"""`fanzha obligations` and `fanzha rates`: what units owe, and how many of them have reported (DESIGN §5.2)."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cli.campaign_commands import chosen_campaign
from cli.client import client
from cli.totals_command import AsJson, Campaign, CsvFile, XlsxFile, figure, written
from shared.clock import CHINA, local_text

State = Literal["due", "on_time", "late", "missing", "returned", "excused"]
By = Literal["unit", "subtree", "county", "city", "form", "period"]
STATE_NAMES: dict[State, str] = {
    "due": "待报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "returned": "退回",
    "excused": "免报",
}
FIGURES = {
    "expected": "应报",
    "reported": "已报",
    "on_time": "按时",
    "late": "迟报",
    "missing": "未报",
    "excused": "免报",
}
PAGE = 500

Unit = Annotated[str | None, typer.Option("--unit", help="只看这个单位和它的下级")]
Form = Annotated[str | None, typer.Option("--form", help="只看这张表")]
Period = Annotated[str | None, typer.Option("--period", help="只看这一期，如 2024-06-29、2024-W27、2024-07、once")]


def obligations(
    campaign_id: Campaign = None,
    state: Annotated[State | None, typer.Option("--state", help="只列这个状态的，如 missing（未报）")] = None,
    unit: Unit = None,
    form: Form = None,
    period: Period = None,
    as_json: AsJson = False,
) -> None:
    """各单位要报的表：截止时间和状态。"""
    campaign_id = chosen_campaign(campaign_id)
    asked = _asked(state=state, unit=unit, form=form, period=period)
    answers = list(_pages(f"/v1/campaigns/{campaign_id}/obligations", asked))
    rows = [row for answer in answers for row in answer["rows"]]
    counts: dict[State, int] = answers[0]["counts"]
    if as_json:
        typer.echo(json.dumps({"rows": rows, "counts": counts}, ensure_ascii=False))
        return
    table = Table(title="，".join([campaign_id, *asked.values()]), box=SIMPLE, padding=(0, 1), pad_edge=False)
    for heading in ("单位", "报表", "期次", "截止", "状态"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        due_at = local_text(datetime.fromisoformat(row["next_due_at"]), CHINA)[:16]
        name = f"{row['name']} {row['unit_code']}" if row["name"] else row["unit_code"]
        table.add_row(name, row["form"], row["period"], due_at, STATE_NAMES[row["state"]])
    console = Console(markup=False, highlight=False)
    console.print(table if rows else "没有符合的报表")
    console.print("　".join(f"{name} {counts[key]:,}" for key, name in STATE_NAMES.items()))


def rates(
    campaign_id: Campaign = None,
    by: Annotated[By, typer.Option(help="按什么汇总；subtree：每个单位连同它的所有下级")] = "county",
    unit: Unit = None,
    form: Form = None,
    period: Period = None,
    as_json: AsJson = False,
    csv: CsvFile = None,
    xlsx: XlsxFile = None,
) -> None:
    """报送率和按时率。"""
    campaign_id = chosen_campaign(campaign_id)
    path, asked = f"/v1/campaigns/{campaign_id}/rates", _asked(unit=unit, form=form, period=period)
    if written(path, {"by": by, **asked}, csv, xlsx):
        return
    with client("reporting") as reporting:
        answer = reporting.get(path, by=by, **asked)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    table = Table(title="，".join([campaign_id, *asked.values()]), box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("代码", no_wrap=True)
    table.add_column("名称", overflow="fold")
    for heading in (*FIGURES.values(), "报送率", "按时率"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in [*answer["rows"], answer["sum"]]:
        shares = (_share(row["reporting_rate"]), _share(row["on_time_rate"]))
        table.add_row(row["key"], row["name"] or "—", *(figure(row[key]) for key in FIGURES), *shares)
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"数据截至 {local_text(datetime.fromisoformat(answer['as_of']))}")


def _pages(path: str, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    with client("reporting") as reporting:
        while True:
            answer = reporting.get(path, limit=PAGE, **asked, **cursor)
            yield answer
            if answer["next_cursor"] is None:
                return
            cursor = {"cursor": answer["next_cursor"]}


def _asked(**filters: str | None) -> dict[str, str]:
    return {name: value for name, value in filters.items() if value}


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"
