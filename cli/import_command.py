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

from cli.campaign_commands import chosen_campaign
from cli.client import client, fail, setting
from cli.import_events import TYPE_NAMES, Reading
from cli.import_file import Row, Table, open_table
from cli.import_sending import POST_TIMEOUT_S, Lost, Refusals, Refused, Sender, send_rows
from cli.import_summary import print_rows, report
from cli.import_tally import Tally
from shared.contracts.campaign import CampaignDefinition
from shared.os_errors import os_reason
from shared.sheets import FileFault, cell_text, inert

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
    event_type = TYPE_NAMES.get(event_type, event_type)
    if event_type not in TYPE_NAMES.values():
        fail(f"--type {event_type} 不认识。可用的有：{'、'.join(TYPE_NAMES)}")
    campaign_id = chosen_campaign(campaign_id)
    told = _told(columns or [])
    with client("checkin") as checkin:
        answer = checkin.find(f"/v1/campaigns/{campaign_id}")
    if answer is None:
        fail(f"系统中没有活动 {campaign_id}。请先运行 fanzha campaign apply 活动文件")
    definition = CampaignDefinition.model_validate(answer.json(), extra="ignore")
    reading = Reading.of(definition, event_type)
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
            fail(f"{error.filename or file}：{os_reason(error)}")
        except (FileFault, Lost, Refused) as error:
            _interrupted(error, file, tally, as_json)
    report(tally, table, rejected, as_json)
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
        print_rows(tally, {})
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
