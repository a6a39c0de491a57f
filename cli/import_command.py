"""`fanzha import FILE`: the third way in for a live platform's events (DESIGN §5.1). Safe to repeat."""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlencode

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Printed

from cli.campaign_commands import chosen_campaign
from cli.client import client, fail, setting
from cli.import_events import TYPE_NAMES, Reading, cell_text
from cli.import_file import COLUMNS_LISTED_MAX, Row, Table, open_table
from cli.import_sending import (
    NOT_SENT,
    POST_TIMEOUT_S,
    REASONS,
    Lost,
    Refusals,
    Refused,
    Sender,
    Tally,
    send_rows,
)
from shared.contracts.campaign import CampaignDefinition
from shared.sheets import FileFault, inert

VERDICTS = {"recorded": "已记录", "stored": "已保存，不计入", "duplicate": "重复（以前已收到）", "rejected": "拒收"}


# ---- refused rows ----------------------------------------------------------------------------------------------------


class NoRefusals:
    def add(self, row: Row, why: str) -> None:
        """Counts a refused row without writing it."""


class RefusalsFile:
    """Writes refused rows as they came, with row number and reason, for a spreadsheet that runs none of the cells."""

    def __init__(self, file: Any, header: list[str]) -> None:
        self._writer = csv.writer(file)
        self._width = len(header)
        self._writer.writerow([*map(inert, header), "行号", "错误原因"])

    def add(self, row: Row, why: str) -> None:
        cells = [inert(cell_text(cell)) for cell in row.cells[: self._width]]
        cells += [""] * (self._width - len(cells))
        beyond = [inert(cell_text(cell)) for cell in row.cells[self._width :]]
        self._writer.writerow([*cells, row.number, inert(why), *(beyond if any(beyond) else [])])


@contextmanager
def refusals_to(path: Path | None, header: list[str]) -> Iterator[Refusals]:
    """Opens the file of refused rows. Only its owner can read it, because the rows hold personal data."""
    if path is None:
        yield NoRefusals()
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
        yield RefusalsFile(file, header)


# ---- the command -----------------------------------------------------------------------------------------------------


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV（UTF-8 或 GB18030）、NDJSON 或 XLSX", metavar="FILE")],
    campaign_id: Annotated[str | None, typer.Option("--campaign", help="活动 ID；系统里只有一个活动时可以不写")] = None,
    event_type: Annotated[
        str, typer.Option("--type", help="没有“事件类型”一列时的类型：签到、报名、答题、中奖、关注，或其英文代码")
    ] = "viewer.checked_in",
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="字段=列名，可写多次，如 --map viewer_id=账号 --map occurred_at=时间"),
    ] = None,
    sheet: Annotated[str | None, typer.Option("--sheet", help="工作簿里有几个工作表时，导入哪一个")] = None,
    header_row: Annotated[int, typer.Option("--header-row", min=1, help="表头在第几行（上面有标题时）")] = 1,
    source: Annotated[
        str, typer.Option(help="这是哪个平台的文件：按平台汇总（totals --by platform）时记在它名下；不写则记为 import")
    ] = "",
    rejected: Annotated[Path | None, typer.Option(help="把拒收的行连同“错误原因”写入这个 CSV")] = None,
    from_row: Annotated[int, typer.Option(min=0, help="从这一行继续（中断时会给出行号）")] = 0,
    give_up_after_s: Annotated[int, typer.Option(min=1, max=86_400, help="一批数据连续多少秒发不出去就停下")] = 120,
    strict: Annotated[bool, typer.Option("--strict", help="有拒收的行或警告时以退出码 1 结束")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """导入直播平台的导出文件。可以重复导入：已收到的只算重复，不会多计。"""
    campaign_id = chosen_campaign(campaign_id)
    told = _told(columns or [])
    with client("checkin") as checkin:
        found = checkin.find(f"/v1/campaigns/{campaign_id}")
    if found is None:
        fail(f"系统中没有活动 {campaign_id}。请先运行 fanzha campaign apply 活动文件")
    definition = CampaignDefinition.model_validate(found.json(), extra="ignore")
    reading = Reading.of(definition, TYPE_NAMES.get(event_type, event_type))
    tally = Tally()
    with ExitStack() as opened:
        try:
            table = opened.enter_context(open_table(file, told, sheet_name=sheet, header_row=header_row))
            refusals = opened.enter_context(refusals_to(rejected, table.header))
            http = opened.enter_context(_http())
            path = f"/v1/campaigns/{campaign_id}/imports" + (f"?{urlencode({'source': source})}" if source else "")
            sender = Sender(http, path, give_up_after_s=give_up_after_s)
            posts = send_rows(table.rows, reading.in_zone(table.zone), sender, refusals, tally, from_row)
            _send_with_progress(table, posts, tally, file.name)
        except OSError as error:
            fail(f"{error.filename or file}：{error.strerror or error}")
        except (FileFault, Lost, Refused) as error:
            _interrupted(error, file, tally, as_json)
    _report(tally, table, rejected, as_json)
    if strict and (tally.refused or tally.rounded_ids):
        raise typer.Exit(1)


def _told(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    wrong = next(
        (option for option, (_, equals, column) in zip(options, pairs, strict=True) if not (equals and column)), None
    )
    if wrong is not None:
        fail(f"--map {wrong} 看不懂，应为 字段=列名，如 --map viewer_id=账号")
    return {name.strip(): column for name, _, column in pairs}


def _http() -> httpx.Client:
    """A client that uses no proxy, because the rows hold personal data."""
    headers = {"authorization": f"Bearer {setting('ADMIN_TOKEN')}"}
    return httpx.Client(base_url=setting("CHECKIN_URL"), headers=headers, timeout=POST_TIMEOUT_S, trust_env=False)


def _send_with_progress(table: Table, posts: Iterator[None], tally: Tally, name: str) -> None:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[rows]:,} 行，拒收 {task.fields[refused]:,}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(f"导入 {name}", total=max(table.size, 1), rows=0, refused=0)
        for _ in posts:
            bar.update(task, completed=table.position(), rows=tally.rows, refused=tally.refused)


def _interrupted(error: Exception, file: Path, tally: Tally, as_json: bool) -> NoReturn:
    """Ends an interrupted import: sent rows are committed, and the message says from which row to go on."""
    if as_json:
        typer.echo(json.dumps(tally.as_json() | {"complete": False, "next_row": tally.next_row}, ensure_ascii=False))
    elif tally.rows:
        _print(tally)
    match error:
        case Lost():
            text = f"没有发送完：{error}"
        case Refused():
            text = f"checkin 拒绝了请求：{error}"
        case _:
            text = str(error)
    if tally.next_row:
        text += (
            f"\n从第 {tally.next_row} 行起没有导入。"
            f"解决后可重新导入整个文件（不会重复计数），或加上 --from-row {tally.next_row} 继续"
        )
    fail(text)


def _report(tally: Tally, table: Table, rejected: Path | None, as_json: bool) -> None:
    if as_json:
        more = {"complete": True, "columns": table.columns, "unused_columns": list(table.unused)}
        typer.echo(json.dumps(tally.as_json() | more, ensure_ascii=False))
        return
    if not tally.rows:
        typer.echo("文件里没有数据行")
        return
    typer.echo("列的对应：" + "，".join(f"{column} → {name}" for name, column in table.columns.items()))
    if table.unused:
        typer.echo("没有用到的列：" + "、".join(table.unused[:COLUMNS_LISTED_MAX]))
    _print(tally)
    if tally.refused:
        where = f"，明细在 {rejected}" if rejected else "；加上 --rejected 拒收.csv 可得到明细"
        typer.secho(f"有 {tally.refused:,} 行被拒收{where}", fg=typer.colors.YELLOW)
    _print_unknown(tally)
    if tally.rounded_ids:
        typer.secho(
            f"所有 16 位以上的账号（{tally.rounded_ids:,} 行）从第 16 位起都是 0：多半是表格软件把账号当成数字，丢掉了后几位，"
            "不同的人会被算成同一个人。请从平台重新导出，不经表格软件（或把该列设为文本），再导入一次",
            fg=typer.colors.YELLOW,
        )


def _print_unknown(tally: Tally) -> None:
    """Codes that the campaign does not have: most likely misspelt, or missing in the campaign's file."""
    for field, name, meaning in (
        ("unit_code", "单位代码", "照原样计在这些代码下，不属于任何单位"),
        ("channel", "渠道码", "没有给出单位"),
        ("group", "人群", "照原样计在这些代码下"),
    ):
        found = [(code, number) for (of, code), number in tally.unknown.most_common() if of == field]
        if found:
            listed = "、".join(f"{code}（{number:,} 行）" for code, number in found[:COLUMNS_LISTED_MAX])
            more = f" 等 {len(found):,} 个" if len(found) > COLUMNS_LISTED_MAX else ""
            typer.secho(
                f"活动里没有的{name}，{meaning}：{listed}{more}。请核对文件，或在活动文件里补上", fg=typer.colors.YELLOW
            )


def _print(tally: Tally) -> None:
    printed = Printed("结果", "原因", show_footer=True)
    printed.columns[0].footer = "合计"
    printed.add_column("行数", justify="right", footer=f"{tally.rows:,}")
    order = [*VERDICTS, NOT_SENT]
    for (verdict, reason), number in sorted(
        tally.counts.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
    ):
        printed.add_row(VERDICTS.get(verdict, "未发送"), REASONS.get(reason, reason), f"{number:,}")
    Console(markup=False).print(printed)
