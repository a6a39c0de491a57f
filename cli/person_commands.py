"""`fanzha person`: who of the office may sign in on pages (DESIGN §5.5)."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from cli.campaign_commands import chosen_campaign
from cli.client import ServiceClient, client, fail
from shared.clock import CHINA, local_text
from shared.contracts.base import ID_PATTERN

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="办公页面上谁能登录")

STATES = {"invited": "已邀请", "invitation_expired": "邀请已过期", "active": "可登录", "revoked": "已取消"}
ROLES = {"admin": "管理员", "office": "反诈办", "auditor": "只读"}
PAGE_ROWS = 500

Campaign = Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]


@app.callback()
def people() -> None:
    """办公页面上谁能登录。"""


@app.command()
def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="姓名或岗位：用它登录，也写入操作记录")],
    role: Annotated[
        Literal["admin", "office", "auditor"], typer.Option(help="admin 管理、office 反诈办、auditor 只读")
    ],
    campaign_id: Campaign = None,
    unit: Annotated[str, typer.Option(help="只能看这个单位代码及其下级；不写是全部单位")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="已有的人：换角色、换单位、忘了口令；原来的口令和登录立即失效")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """邀请一个人登录办公页面。邀请码只显示这一次，写到标准输出；说明写到标准错误。"""
    if unit and not re.fullmatch(ID_PATTERN, unit):
        fail(f"--unit “{unit}”不是单位代码，例如 140902")
    campaign_id = chosen_campaign(campaign_id)
    body = {"name": name, "role": role, "unit": unit or None, "again": again}
    with client("reporting") as reporting:
        answer = reporting.post(f"/v1/campaigns/{campaign_id}/people", body)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    until = local_text(datetime.fromisoformat(answer["valid_until"]), CHINA)
    typer.echo(
        f"请 {answer['name']} 本人打开办公入口的 {answer['page']}（如 https://办公地址:8440{answer['page']}），"
        f"在 {until} 前用下面的邀请码设置口令。当面或电话告知，不要发到群里",
        err=True,
    )
    typer.echo(answer["code"])


@app.command("list")
def list_people(campaign_id: Campaign = None, as_json: AsJson = False) -> None:
    """谁能登录，谁还没有接受邀请。"""
    campaign_id = chosen_campaign(campaign_id)
    with client("reporting") as reporting:
        rows = _all(reporting, campaign_id)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        typer.echo("还没有邀请过人：fanzha person invite 姓名 --role office")
        return
    table = Table("姓名或岗位", "角色", "单位", "状态", "登录中", "最近使用")
    for row in rows:
        seen = local_text(datetime.fromisoformat(row["seen_at"]), CHINA) if row["seen_at"] else "—"
        role, state = ROLES.get(row["role"], row["role"]), STATES.get(row["state"], row["state"])
        table.add_row(row["name"], role, row["unit"] or "全部", state, str(row["sessions"]), seen)
    Console(markup=False).print(table)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="姓名或岗位，与 fanzha person list 一致")],
    reason: Annotated[str, typer.Option(help="原因，写入操作记录")],
    campaign_id: Campaign = None,
    as_json: AsJson = False,
) -> None:
    """取消一个人的登录：不能再登录，已登录的在一分钟内全部退出。"""
    campaign_id = chosen_campaign(campaign_id)
    with client("reporting") as reporting:
        known = {row["name"]: row["person_id"] for row in _all(reporting, campaign_id)}
        if name not in known:
            fail(f"活动 {campaign_id} 没有邀请过“{name}”。有哪些人：fanzha person list")
        answer = reporting.post(f"/v1/campaigns/{campaign_id}/people/{quote(known[name])}/revoke", {"reason": reason})
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    typer.echo(f"{answer['name']} 不能再登录；已登录的在一分钟内退出。他的令牌（如有）要等到期")


def _all(reporting: ServiceClient, campaign_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    following: dict[str, str] = {}
    while True:
        page = reporting.get(f"/v1/campaigns/{campaign_id}/people", limit=PAGE_ROWS, **following)
        rows += page["rows"]
        if page["next_cursor"] is None:
            return rows
        following = {"cursor": page["next_cursor"]}
