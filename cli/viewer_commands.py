"""`fanzha viewer`: personal links for the platform, and a unit's viewers and their days. Never a name, phone or claim code."""

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cli.campaign_commands import chosen_campaign
from cli.client import ServiceClient, client, fail
from cli.import_file import COLUMNS
from shared.contracts.base import ID_PATTERN

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="观众：个人链接、本单位人员的签到情况")

LISTED_AT_ONCE = 5_000
PAGE_ROWS = 500
STATES = {
    "credited": "已计入",
    "made_good": "已补记",
    "not_credited": "未计入",
    "upcoming": "未开始",
    "open": "可签到",
    "not_seen": "待核对",
    "missed": "未签到",
}
REASONS = {"late": "逾期", "replay_not_credited": "只有重播签到"}

Campaign = Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]


@app.callback()
def viewers() -> None:
    """观众：个人链接、本单位人员的签到情况。"""


# ---- links -----------------------------------------------------------------------------------------------------------


@app.command()
def links(
    out: Annotated[Path, typer.Option(help="写到这个 CSV（新文件，只有自己能读）", metavar="FILE")],
    ids: Annotated[
        Path | None, typer.Option(help="只要这些账号：CSV（有“账号”一列），或每行一个账号", metavar="FILE")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="只要这个单位及其下级的观众")] = None,
    campaign_id: Campaign = None,
) -> None:
    """批量生成观众的个人链接，交给直播平台逐人下发。链接等同本人，不要群发，也不要写进短信。"""
    if ids and unit:
        fail("--ids 和 --unit 只能写一个")
    listed = None if ids is None else _listed(ids)
    path = f"/v1/campaigns/{chosen_campaign(campaign_id)}/viewer-links"
    number = 0
    with client("checkin") as checkin, _private_csv(out) as sheet:
        sheet.writerow(["账号", "单位代码", "个人链接"])
        for row in _listed_links(checkin, path, listed) if listed is not None else _all_links(checkin, path, unit):
            sheet.writerow([row["viewer_id"], row["unit_code"] or "", row["url"]])
            number += 1
    typer.echo(f"{number:,} 个个人链接已写入 {out}。拿到链接的人就能看到该观众的签到情况：只交给平台逐人下发，用完即删")


def _listed_links(checkin: ServiceClient, path: str, listed: list[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(listed), LISTED_AT_ONCE):
        yield from checkin.post(path, {"viewer_ids": listed[start : start + LISTED_AT_ONCE]})["rows"]


def _all_links(checkin: ServiceClient, path: str, unit: str | None) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = checkin.post(path, {"unit": unit, "cursor": cursor})
        yield from page["rows"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _listed(path: Path) -> list[str]:
    """The accounts of a file, each once, in its order."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fail(f"{path} 读不了：{getattr(error, 'strerror', None) or '应为 UTF-8 的 CSV 或文本'}")
    header = [cell.strip() for cell in rows[0]] if rows else []
    named = next((index for index, cell in enumerate(header) if cell in COLUMNS["viewer_id"]), None)
    if named is None and len(header) > 1:
        fail(f"{path} 有几列，却没有“账号”一列（也可以叫 {'、'.join(COLUMNS['viewer_id'][:3])}）")
    accounts: dict[str, None] = {}
    for number, row in enumerate(rows, 1):
        cell = row[named or 0].strip() if len(row) > (named or 0) else ""
        if (named is not None and number == 1) or not cell:
            continue
        if not re.fullmatch(ID_PATTERN, cell):
            fail(f"{path} 第 {number} 行：“{cell[:40]}”不是账号（字母、数字和 . _ : -，最多 64 个）")
        accounts[cell] = None
    if not accounts:
        fail(f"{path} 里没有账号")
    return list(accounts)


@contextmanager
def _private_csv(path: Path) -> Iterator[Any]:
    """A new file that only its owner can read; removed again where it did not become whole."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{path} 已经存在，不覆盖；请换一个文件名")
    except OSError as error:
        fail(f"{path} 写不了：{error.strerror}")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
            yield csv.writer(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


# ---- a unit's own viewers --------------------------------------------------------------------------------------------


@app.command("list")
def list_viewers(
    unit: Annotated[str, typer.Option(help="单位代码：看它和它下级的观众；联络员的令牌只能看自己单位")],
    campaign_id: Campaign = None,
    as_json: AsJson = False,
) -> None:
    """列出一个单位的观众和各自的签到天数。联络员用自己的令牌（环境变量 ADMIN_TOKEN）。"""
    path = f"/v1/campaigns/{chosen_campaign(campaign_id)}/units/{unit}/viewers"
    rows: list[dict[str, Any]] = []
    with client("checkin") as checkin:
        page = checkin.get(path, limit=PAGE_ROWS)
        rows += page["rows"]
        while page["next_cursor"]:
            page = checkin.get(path, limit=PAGE_ROWS, cursor=page["next_cursor"])
            rows += page["rows"]
    if as_json:
        typer.echo(json.dumps({"required_days": page["required_days"], "rows": rows}, ensure_ascii=False))
        return
    table = Table("账号", "单位", "已计入", "最多可达", "没有计入的课程", box=SIMPLE)
    for row in rows:
        days = (str(row["credited_days"]), str(row["reachable_days"]))
        table.add_row(row["viewer_id"], row["unit_code"], *days, "、".join(day[5:] for day in row["not_credited"]))
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"共 {len(rows):,} 人；结课需要 {page['required_days']} 天")


@app.command()
def show(
    viewer_id: Annotated[str, typer.Argument(help="观众的平台账号")],
    unit: Annotated[str, typer.Option(help="观众所在的单位，或它的上级；联络员的令牌只能看自己单位")],
    campaign_id: Campaign = None,
    as_json: AsJson = False,
) -> None:
    """一位观众每节课的情况和原因。联络员用自己的令牌（环境变量 ADMIN_TOKEN）。"""
    with client("checkin") as checkin:
        path = f"/v1/campaigns/{chosen_campaign(campaign_id)}/units/{unit}/viewers/{viewer_id}"
        answer = checkin.get(path)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    table = Table("课程", "名称", "情况", "原因", box=SIMPLE)
    for lesson in answer["lessons"]:
        reason = REASONS.get(lesson["reason"] or "", "")
        table.add_row(lesson["lesson_date"], lesson["title"], STATES[lesson["state"]], reason)
    console = Console(markup=False, highlight=False)
    console.print(table)
    claimed = {"claimed": "，证书已领取", "revoked": "，证书已撤销"}.get(answer["certificate"] or "", "")
    console.print(
        f"已计入 {answer['credited_days']} 天，最多可达 {answer['reachable_days']} 天，"
        f"结课需要 {answer['required_days']} 天{claimed}"
    )
