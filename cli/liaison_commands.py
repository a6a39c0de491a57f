"""`fanzha liaison`: who reports for each unit, slips to print, and revoking them (docs/operations/liaisons.md)."""

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from cli.campaign_commands import chosen_campaign
from cli.client import ServiceClient, client, fail
from shared.os_errors import os_reason

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="联络员：名单、码条、撤销")

PAGE_ROWS = 500
POSTS = {"liaison": "联络员", "deputy": "副联络员", "leader": "分管领导"}

Campaign = Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]


@app.command()
def slips(
    campaign_id: Campaign = None,
    unit: Annotated[list[str] | None, typer.Option(help="只打印这个单位代码，可写多次；不写是全部要填报的单位")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="写成可打印的网页：A4，每张 8 条", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """生成码条：单位、码、网址。原来的码条即刻作废；码只显示这一次。"""
    campaign_id = chosen_campaign(campaign_id)
    path, body = f"/v1/campaigns/{quote(campaign_id)}/slips", {"units": unit or None}
    with client("reporting") as reporting:
        if html is not None:
            _write(html, reporting.page(path, body))
            typer.echo(f"已写好 {html}：在浏览器里打印，不缩放。这些单位原来的码条已经作废", err=True)
            return
        rows = reporting.post(path, body)["rows"]
    if as_json:
        typer.echo(json.dumps([{key: row[key] for key in ("unit_code", "code", "url")} for row in rows]))
        return
    table = Table("单位代码", "单位", "码", "网址")
    for row in rows:
        table.add_row(row["unit_code"], row["name"], row["code"], row["url"])
    Console(markup=False).print(table)
    typer.echo("这些码只显示这一次；这些单位原来的码条已经作废。打印：加 --html 文件名", err=True)


@app.command("list")
def list_liaisons(
    campaign_id: Campaign = None,
    missing: Annotated[bool, typer.Option("--missing", help="只看还没有联络员的单位")] = False,
    as_json: AsJson = False,
) -> None:
    """每个要填报的单位由谁上报；姓名、电话不全部显示。"""
    campaign_id = chosen_campaign(campaign_id)
    with client("reporting") as reporting:
        counts, rows = _all(reporting, campaign_id, missing)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("单位代码", "单位", *POSTS.values(), "码条", "手机")
    for row in rows:
        people = [f"{who['name']} {who['phone']}" if (who := row[post]) else "—" for post in POSTS]
        table.add_row(
            row["unit_code"], row["unit_name"], *people, "有" if row["has_code"] else "—", str(row["devices"])
        )
    if rows:
        Console(markup=False).print(table)
    typer.echo(f"要填报的单位 {counts['units']:,} 个，还没有联络员的 {counts['missing']:,} 个", err=True)


@app.command()
def revoke(
    unit: Annotated[str, typer.Option(help="单位代码")],
    reason: Annotated[str, typer.Option(help="原因，写入操作记录")],
    campaign_id: Campaign = None,
    as_json: AsJson = False,
) -> None:
    """码条或手机丢失：这个单位的码条和手机立即失效，联络员不变。"""
    campaign_id = chosen_campaign(campaign_id)
    path = f"/v1/campaigns/{quote(campaign_id)}/units/{quote(unit)}/liaison/revoke"
    with client("reporting") as reporting:
        answer = reporting.post(path, {"reason": reason})
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    typer.echo(
        f"{unit} 的码条已作废，{answer['devices_revoked']} 部手机不能再上报。"
        f"新的码条：fanzha liaison slips --unit {unit}"
    )


def _write(path: Path, content: bytes) -> None:
    """Only its owner may read it: whoever has the codes can report."""
    try:
        path.touch(mode=0o600)
        path.write_bytes(content)
    except OSError as error:
        fail(f"{path} 写不了（{os_reason(error)}）。码条已经生成：请换一个位置再运行一次，会生成新的码")


def _all(reporting: ServiceClient, campaign_id: str, missing: bool) -> tuple[dict[str, int], list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    following: dict[str, str] = {}
    path = f"/v1/campaigns/{quote(campaign_id)}/liaisons"
    while True:
        page = reporting.get(path, missing=str(missing).lower(), limit=PAGE_ROWS, **following)
        rows += page["rows"]
        if page["next_cursor"] is None:
            return page["counts"], rows
        following = {"cursor": page["next_cursor"]}
