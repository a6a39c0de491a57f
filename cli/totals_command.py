"""`fanzha totals` and `fanzha live-room`: reporting's numbers as a table or a sheet (DESIGN §5.2)."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cli.campaign_commands import chosen_campaign
from cli.client import client, fail
from shared.clock import local_text
from shared.os_errors import os_reason
from shared.sheets import CSV_TYPE, XLSX_TYPE

By = Literal["unit", "subtree", "county", "city", "group", "lesson", "mode", "platform"]
LiveRoomBy = Literal["unit", "county", "city", "lesson", "item"]
BY_NAMES: dict[By | LiveRoomBy, str] = {
    "unit": "单位",
    "subtree": "单位及其下级",
    "county": "县（市、区）",
    "city": "市",
    "group": "人群",
    "lesson": "课程",
    "mode": "首播/重播",
    "platform": "平台",
    "item": "项目",
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
ACTIONS = {"quiz_answered": "答题", "prize_won": "中奖", "account_followed": "关注"}
STDOUT = Path("-")

Campaign = Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")]
Lesson = Annotated[str | None, typer.Option(help="只看这一课的日期，如 2024-06-29")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="写成 CSV 文件；- 为标准输出")]
XlsxFile = Annotated[Path | None, typer.Option("--xlsx", metavar="FILE", help="写成 Excel 文件；- 为标准输出")]


def totals(
    campaign_id: Campaign = None,
    by: Annotated[By, typer.Option(help="按什么汇总；subtree：每个单位连同它的所有下级")] = "county",
    lesson: Lesson = None,
    mode: Annotated[Literal["live", "replay"] | None, typer.Option(help="只看首播 live 或重播 replay")] = None,
    as_json: AsJson = False,
    csv: CsvFile = None,
    xlsx: XlsxFile = None,
) -> None:
    """签到、人数和证书的汇总。"""
    campaign_id = chosen_campaign(campaign_id)
    filters = {name: value for name, value in (("lesson", lesson), ("mode", mode)) if value}
    path = f"/v1/campaigns/{campaign_id}/totals"
    if written(path, {"by": by, **filters}, csv, xlsx):
        return
    with client("reporting") as reporting:
        answer = reporting.get(path, by=by, **filters)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    console = Console(markup=False, highlight=False)
    console.print(_table(answer, BY_NAMES[by], "，".join([campaign_id, *filters.values()])))
    share = answer["sum"].get("attributed_share")
    if share is not None:
        console.print(f"有单位归属的观众：{share:.1%}")
    if by == "platform" and answer["sum"]["made_good"]:
        console.print("补记不分平台，只在合计里")
    if answer.get("withheld"):
        console.print(f"有 {answer['withheld']} 个人群因人数过少未列出，已计入合计")
    console.print(f"数据截至 {local_text(datetime.fromisoformat(answer['as_of']))}")


def live_room(
    campaign_id: Campaign = None,
    by: Annotated[LiveRoomBy, typer.Option(help="按什么汇总")] = "county",
    lesson: Lesson = None,
    as_json: AsJson = False,
    csv: CsvFile = None,
    xlsx: XlsxFile = None,
) -> None:
    """直播间里的答题、中奖和关注次数。"""
    campaign_id = chosen_campaign(campaign_id)
    filters = {"lesson": lesson} if lesson else {}
    path = f"/v1/campaigns/{campaign_id}/live-room"
    if written(path, {"by": by, **filters}, csv, xlsx):
        return
    with client("reporting") as reporting:
        answer = reporting.get(path, by=by, **filters)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    console = Console(markup=False, highlight=False)
    table = Table(title="，".join([campaign_id, *filters.values()]), box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("代码", no_wrap=True)
    table.add_column(BY_NAMES[by], overflow="fold")
    for title in ACTIONS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for row in answer["rows"]:
        table.add_row(row["key"], row["name"] or "—", *(figure(row[action]) for action in ACTIONS))
    console.print(table)
    console.print(f"数据截至 {local_text(datetime.fromisoformat(answer['as_of']))}")


def written(path: str, asked: Mapping[str, str], csv: Path | None, xlsx: Path | None) -> bool:
    """Writes the sheets that were asked for; returns whether any was."""
    wanted = [(file, kind) for file, kind in ((csv, CSV_TYPE), (xlsx, XLSX_TYPE)) if file is not None]
    for file, kind in wanted:
        with client("reporting") as reporting:
            content = reporting.fetch(path, kind, **asked)
        if file == STDOUT:
            sys.stdout.buffer.write(content)
            continue
        try:
            file.write_bytes(content)
        except OSError as error:
            fail(f"写不了 {file}：{os_reason(error)}。请核对文件夹和权限；文件可能正在表格软件里打开")
        typer.echo(f"已写入 {file}")
    return bool(wanted)


def _table(answer: dict[str, Any], key_name: str, title: str) -> Table:
    total = answer["sum"]
    # Fits 80 columns: Rich would cut codes and names, which have no spaces to break at.
    table = Table(title=title, show_footer=True, box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("代码", footer="合计", no_wrap=True)
    table.add_column(key_name, overflow="fold")
    for field, name in COLUMNS.items():
        table.add_column(name, justify="right", vertical="bottom", footer=figure(total.get(field)), no_wrap=True)
    for row in answer["rows"]:
        table.add_row(row["key"], row["name"] or "—", *(figure(row.get(field)) for field in COLUMNS))
    return table


def figure(value: float | None) -> str:
    """A figure as text: "—" where it is not known, which is not 0 (FACTS A)."""
    match value:
        case None:
            return "—"
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.2f}"
