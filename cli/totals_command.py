"""`fanzha totals`: reporting's numbers as a table (DESIGN §5.2)."""

import json
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cli.campaign_commands import chosen_campaign
from cli.client import client

By = Literal["unit", "subtree", "county", "city", "group", "lesson", "mode"]
BY_NAMES: dict[By, str] = {
    "unit": "单位",
    "subtree": "单位及其下级",
    "county": "县（市、区）",
    "city": "市",
    "group": "人群",
    "lesson": "课程",
    "mode": "首播/重播",
}
COLUMNS = {
    "checkins": "签到\n人次",
    "credited": "计入",
    "late": "逾期",
    "made_good": "补记",
    "viewers": "人数",
    "per_10k": "每万\n人",
    "certificates_issued": "已发\n证书",
    "certificates_claimed": "已领\n证书",
}


def totals(
    campaign_id: Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")] = None,
    by: Annotated[By, typer.Option(help="按什么汇总；subtree：每个单位连同它的所有下级")] = "county",
    lesson: Annotated[str | None, typer.Option(help="只看这一课的日期，如 2024-06-29")] = None,
    mode: Annotated[Literal["live", "replay"] | None, typer.Option(help="只看首播 live 或重播 replay")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """签到、人数和证书的汇总。"""
    campaign_id = chosen_campaign(campaign_id)
    filters: dict[str, str | int] = {name: value for name, value in (("lesson", lesson), ("mode", mode)) if value}
    with client("reporting") as reporting:
        answer = reporting.get(f"/v1/campaigns/{campaign_id}/totals", by=by, **filters)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    scope = "，".join(str(value) for value in filters.values())
    console = Console(markup=False, highlight=False)
    console.print(_table(answer, BY_NAMES[by], f"{campaign_id}{'，' + scope if scope else ''}"))
    share = answer["sum"].get("attributed_share")
    if share is not None:
        console.print(f"有单位归属的观众：{share:.1%}")
    if answer.get("withheld"):
        console.print(f"有 {answer['withheld']} 个人群因人数过少未列出，已计入合计")
    console.print(f"数据截至 {answer['as_of']}")


def _table(answer: dict[str, Any], key_name: str, title: str) -> Table:
    total = answer["sum"]
    # Fits 80 columns: Rich would cut codes and names, which have no spaces to break at.
    table = Table(title=title, show_footer=True, box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("代码", footer="合计", no_wrap=True)
    table.add_column(key_name, overflow="fold")
    for field, name in COLUMNS.items():
        table.add_column(name, justify="right", vertical="bottom", footer=_figure(total.get(field)), no_wrap=True)
    for row in answer["rows"]:
        table.add_row(row["key"], row["name"] or "—", *(_figure(row.get(field)) for field in COLUMNS))
    return table


def _figure(value: float | None) -> str:
    """Not known is "—", which is not 0 (FACTS A)."""
    match value:
        case None:
            return "—"
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.2f}"
