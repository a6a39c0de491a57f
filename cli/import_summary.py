"""What `fanzha import` says at the end: what became of the rows, and what to look at."""

import json
from collections.abc import Mapping
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table as Printed

from cli.import_events import TYPE_NAMES
from cli.import_file import COLUMNS_LISTED_MAX, Table
from cli.import_sending import REASONS
from cli.import_tally import NOT_SENT, Tally

VERDICTS = {"recorded": "已记录", "stored": "已保存，不计入", "duplicate": "重复（以前已收到）", "rejected": "拒收"}


def report(tally: Tally, table: Table, rejected: Path | None, as_json: bool) -> None:
    """Prints what became of a file that was imported whole."""
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
    print_rows(tally, table.columns)
    if tally.refused:
        where = f"，明细在 {rejected}" if rejected else "；加上 --rejected 拒收.csv 可得到明细"
        typer.secho(f"有 {tally.refused:,} 行被拒收{where}", fg=typer.colors.YELLOW)
    _print_unknown(tally)
    _print_unused(tally, table.columns)
    if number := tally.counts["duplicate", "superseded"]:
        typer.secho(
            f"有 {number:,} 行报名以前收到过，后来有了更新或更正的，没有改回去。要改回去，请把这些行的时间写得更晚，再导入一次",
            fg=typer.colors.YELLOW,
        )
    if tally.contacts_dropped:
        typer.secho(
            f"{tally.contacts_dropped:,} 行报名属于未满 14 周岁的人群，没有监护人同意：报名已记录，姓名、手机号没有保存。"
            "取得同意后，加上“监护人同意”一列（是），再导入一次",
            fg=typer.colors.YELLOW,
        )
    if tally.without_seconds:
        typer.secho(
            f"{tally.without_seconds:,} 行互动的时间都没有秒：平台推送过的同一次互动（时间有秒）认不出来，会多计一次。"
            "请从平台导出带秒的时间",
            fg=typer.colors.YELLOW,
        )
    if tally.rounded_ids:
        typer.secho(
            f"所有 16 位以上的账号（{tally.rounded_ids:,} 行）从第 16 位起都是 0：多半是表格软件把账号当成数字，丢掉了后几位，"
            "不同的人会被算成同一个人。请从平台重新导出，不经表格软件（或把该列设为文本），再导入一次",
            fg=typer.colors.YELLOW,
        )


def _print_unused(tally: Tally, columns: Mapping[str, str]) -> None:
    """Lists the columns with content that were not imported, because the type of these events has no use for them."""
    for event_type in sorted({event_type for event_type, _ in tally.unused}):
        listed = "、".join(
            f"{columns.get(field, field)}（{number:,} 行）"
            for (of, field), number in sorted(tally.unused.items())
            if of == event_type
        )
        name = next(name for name, code in TYPE_NAMES.items() if code == event_type)
        by_option = event_type != TYPE_NAMES["报名"] and "type" not in columns
        enrol = "。要登记单位、人群和联系方式，请加 --type 报名 把这个文件再导入一次" if by_option else ""
        typer.secho(f"{name}用不到这些列，没有记：{listed}{enrol}", fg=typer.colors.YELLOW)


def _print_unknown(tally: Tally) -> None:
    """Lists the codes that the campaign does not have: they are probably misspelt, or missing in the campaign's file."""
    for field, name, meaning in (
        ("unit_code", "单位代码", "照原样计在这些代码下，不属于任何单位"),
        ("channel", "渠道码", "没有给出单位"),
        ("group", "人群", "照原样计在这些代码下"),
    ):
        counts = [(code, number) for (of, code), number in tally.unknown.most_common() if of == field]
        if counts:
            listed = "、".join(f"{code}（{number:,} 行）" for code, number in counts[:COLUMNS_LISTED_MAX])
            more = f" 等 {len(counts):,} 个" if len(counts) > COLUMNS_LISTED_MAX else ""
            typer.secho(
                f"活动里没有的{name}，{meaning}：{listed}{more}。请核对文件，或在活动文件里补上", fg=typer.colors.YELLOW
            )


def print_rows(tally: Tally, columns: Mapping[str, str]) -> None:
    """Prints the rows by what became of them; refused ones by field too, with the numbers of the first. `columns`: field →
    column."""
    printed = Printed("结果", "原因", show_footer=True)
    printed.columns[0].footer = "合计"
    printed.add_column("行数", justify="right", footer=f"{tally.rows:,}")
    printed.add_column("第几行")
    order = list(VERDICTS)
    taken = [(verdict, reason) for verdict, reason in tally.counts if verdict not in ("rejected", NOT_SENT)]
    for verdict, reason in sorted(taken, key=lambda key: (order.index(key[0]), key[1])):
        printed.add_row(VERDICTS[verdict], REASONS.get(reason, reason), f"{tally.counts[verdict, reason]:,}", "")
    for fault, places in sorted(tally.faults.items(), key=lambda item: (item[0].verdict == NOT_SENT, item[0])):
        why = REASONS.get(fault.reason, fault.reason)
        if fault.field:
            why += f"：{columns.get(fault.field, fault.field)}"
        more = " …" if places.rows > len(places.first) else ""
        numbers = "、".join(map(str, places.first)) + more
        printed.add_row(VERDICTS.get(fault.verdict, "未发送"), why, f"{places.rows:,}", numbers)
    Console(markup=False).print(printed)
