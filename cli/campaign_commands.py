"""`fanzha campaign apply FILE`, `fanzha campaign list` and `fanzha campaign show [ID]`."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cli import campaign_schema
from cli.campaign_file import CampaignFileError, load
from cli.campaign_notes import platform_gaps
from cli.client import client, fail
from shared.clock import local_text
from shared.contracts.campaign import LEVELS, CampaignDefinition, Window

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="活动定义：应用、查看")

CODES_SHOWN_MAX = 8
CAMPAIGNS_LISTED_MAX = 500
ROW_KEYS = {
    "units": "unit_code",
    "lessons": "date",
    "groups": "code",
    "platforms": "source",
    "forms": "id",
    "indicators": "id",
    "channels": None,
}  # the key that names a row; channels are a mapping

AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")]


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="活动文件（YAML），如 campaigns/jinshan-2024.yaml")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只说会改什么、从何时起，不做任何改动")] = False,
    as_json: AsJson = False,
) -> None:
    """检查活动文件并应用到系统；内容没有变化时什么也不做。"""
    new = _loaded(file)
    path = f"/v1/campaigns/{new.campaign_id}"
    with client("checkin") as checkin:
        stored = checkin.find(path)
        answer = checkin.put(f"{path}?dry_run=true" if dry_run else path, new.model_dump(mode="json"))
    old = None if stored is None else stored.json()
    told = {
        "campaign_id": new.campaign_id,
        "revision": answer["revision"],
        "created": old is None,
        "changes": None if old is None else changes(old, new.model_dump(mode="json")),
        "attributed": answer.get("attributed", 0),
        "contacts_withdrawn": answer.get("contacts_withdrawn", 0),
        "redirected": [] if old is None else _redirected(old, new),
        "forms": answer.get("forms", []),
    }
    if as_json:
        typer.echo(json.dumps(told | ({"dry_run": True} if dry_run else {}), ensure_ascii=False))
        return
    will = "将是" if dry_run else ""
    typer.echo(f"活动 {new.campaign_id}：{will}第 {told['revision']} 版")
    typer.echo("\n".join([*_notes(new, told), *_told_changes(new, told, dry_run), *_told_forms(new, told["forms"])]))
    if dry_run:
        typer.echo("以上只是预览，什么也没有改；应用请去掉 --dry-run")


def _notes(new: CampaignDefinition, told: dict[str, Any]) -> list[str]:
    notes = list(platform_gaps(new))
    if unused := _without_effect(new):
        notes.append(f"注意：{'、'.join(unused)} 已保存，但没有写 forms（上报表），用不到")
    if any(rule.channel == "file" for rule in new.messages):
        notes.append(
            "注意：messages 里的 file 通道只在演示和演练中把短信写成文件；正式环境没有这个通道，短信会等着不发"
        )
    if new.platforms:
        titles = "、".join(platform.title for platform in new.platforms)
        notes.append(f"平台 {titles}：交给它们的地址和密钥由 fanzha platforms 列出，部署没有密钥的 fanzha doctor 会说")
    if attributed := told["attributed"]:
        notes.append(f"{attributed} 名此前未归属的观众，按现在认识的渠道码归入了单位，签到数随人转入")
    if withdrawn := told["contacts_withdrawn"]:
        notes.append(f"{withdrawn} 名未满 14 周岁的观众没有监护人同意，以前保存的姓名、手机号已撤下")
    if redirected := told["redirected"]:
        notes.append(f"注意：渠道码 {_few(redirected)} 改到了另一个单位，只影响以后的报名；已归属的观众不动")
    return notes


def _told_changes(new: CampaignDefinition, told: dict[str, Any], dry_run: bool) -> list[str]:
    changed = told["changes"]
    if changed is None:
        return [f"新活动：{_summary(new)}"]
    if not changed:
        return ["内容没有变化"]
    return ["将更新：" if dry_run else "已更新：", *(f"  - {line}" for line in changed)]


def _told_forms(new: CampaignDefinition, forms: list[dict[str, Any]]) -> list[str]:
    """Which forms change, and from which period on; periods that have opened keep what they had."""
    if not forms:
        return []
    lines = ["上报表（已经开始的各期不变）："]
    for form in forms:
        what = {"added": "新增", "removed": "停用"}.get(form["change"], f"修改 {'、'.join(form['keys'])}")
        lines.append(
            f"  - {form['form']}（{form['title']}）：{what.replace('due_times', '截止时间')}，{_from_when(new, form)}"
        )
    return lines


def _from_when(new: CampaignDefinition, form: dict[str, Any]) -> str:
    if form["period"] is None:
        return "没有尚未开始的期，因此不起作用"
    opens_at, due_at = (
        f"{datetime.fromisoformat(form[key]).astimezone(new.zone):%Y-%m-%d %H:%M}" for key in ("opens_at", "due_at")
    )
    until = f"，截止 {due_at}" if form["change"] != "removed" else ""
    return f"从 {form['period']} 这一期起（{opens_at} 开始{until}）"


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="活动文件（YAML），如 campaigns/jinshan-2024.yaml")],
) -> None:
    """只检查活动文件，不需要系统在运行；有要修改的地方时退出码为 1。"""
    definition = _loaded(file)
    typer.echo("\n".join([f"没有发现问题：{_summary(definition)}", *platform_gaps(definition)]))


@app.command()
def schema() -> None:
    """活动文件的 JSON Schema，供编辑器提示和检查。"""
    typer.echo(campaign_schema.as_text(), nl=False)


def _loaded(file: Path) -> CampaignDefinition:
    try:
        return load(file)
    except CampaignFileError as error:
        fail(
            f"{file} 有 {len(error.findings)} 处需要修改：\n"
            + "\n".join(f"  - {finding}" for finding in error.findings)
        )


@app.command("list")
def list_campaigns(as_json: AsJson = False) -> None:
    """列出系统中的活动。"""
    rows = _campaigns()
    if as_json:
        typer.echo(json.dumps({"rows": rows}, ensure_ascii=False))
        return
    if not rows:
        typer.echo("系统中还没有活动。请运行 fanzha campaign apply 活动文件")
        return
    table = Table("活动 ID", "名称", "版本", box=SIMPLE)
    for row in rows:
        table.add_row(row["campaign_id"], row["title"], str(row["revision"]))
    Console(markup=False, highlight=False).print(table)


@app.command()
def show(
    campaign_id: Annotated[str | None, typer.Argument(help="活动 ID；系统里只有一个活动时可以不写")] = None,
    as_json: AsJson = False,
) -> None:
    """显示系统中的活动定义。"""
    campaign_id = chosen_campaign(campaign_id)
    with client("checkin") as checkin:
        stored = checkin.find(f"/v1/campaigns/{campaign_id}")
    if stored is None:
        fail(f"系统中没有活动 {campaign_id}。请先运行 fanzha campaign apply 活动文件")
    revision = int(stored.headers["x-revision"])
    if as_json:
        answer = {"campaign_id": campaign_id, "revision": revision, "definition": stored.json()}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    _print(CampaignDefinition.model_validate(stored.json(), extra="ignore"), revision)


def _redirected(old: dict[str, Any], new: CampaignDefinition) -> list[str]:
    """The channels that existed before and now lead to another unit."""
    before: dict[str, str] = old.get("channels") or {}
    return [channel for channel, unit in new.channels.items() if before.get(channel, unit) != unit]


def _without_effect(definition: CampaignDefinition) -> list[str]:
    """Keys that the author wrote and that only forms need, where there are none (FACTS A8, A9)."""
    if definition.forms:
        return []
    named: list[str] = [
        key for key in ("closing_time", "non_working_days", "extra_working_days") if key in definition.model_fields_set
    ]
    of_units = ("headcount", "joins_on", "leaves_on")
    return named + [
        f"units 的 {key}" for key in of_units if any(getattr(unit, key) is not None for unit in definition.units)
    ]


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two definitions (JSON form), one line per key; rows of lists are named by their codes."""
    lines: list[str] = []
    for key in {**new, **old}:  # a later key that says nothing is left out of a definition
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key in ROW_KEYS:
            lines.append(f"{key}：{_row_changes(_by_code(key, before), _by_code(key, after))}")
        else:
            lines.append(f"{key}：{_compact(before)} → {_compact(after)}")
    return lines


def _by_code(key: str, rows: Any) -> dict[str, Any]:
    code = ROW_KEYS[key]
    return (rows or {}) if code is None else {row[code]: row for row in rows or []}


def _row_changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    kinds = {
        "新增": [code for code in new if code not in old],
        "删除": [code for code in old if code not in new],
        "修改": [code for code in new if code in old and new[code] != old[code]],
    }
    told = [f"{kind} {len(codes)} 项（{_few(codes)}）" for kind, codes in kinds.items() if codes]
    return "，".join(told) or "次序改变"


def _few(codes: list[str]) -> str:
    return "、".join(codes[:CODES_SHOWN_MAX]) + ("…" if len(codes) > CODES_SHOWN_MAX else "")


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


def _summary(definition: CampaignDefinition) -> str:
    course = f"{len(definition.lessons)} 节课" if definition.lessons else "没有课程"
    forms = f"，{len(definition.forms)} 张表" if definition.forms else ""
    return (
        f"{definition.title}，{course}（{definition.first_day} 至 {definition.last_day}），"
        f"{len(definition.units)} 个单位，{len(definition.channels)} 个渠道码{forms}"
    )


def _print(definition: CampaignDefinition, revision: int) -> None:
    console = Console()
    console.print(f"[bold]{definition.campaign_id}[/bold] 第 {revision} 版")
    console.print(_summary(definition), markup=False)
    policy = Table("规则", "内容")
    for rule, content in _course_rules(definition):
        policy.add_row(rule, content)
    for platform in definition.platforms:
        hours = f"，{_hours(platform.windows)}" if platform.windows else ""
        policy.add_row(f"平台 {platform.source}", f"{platform.title}：{'、'.join(platform.modes)}{hours}")
    for level in LEVELS:
        policy.add_row(f"单位 {level}", str(sum(unit.level == level for unit in definition.units)))
    console.print(policy)
    if definition.lessons:
        console.print(_lessons(definition))


def _lessons(definition: CampaignDefinition) -> Table:
    lessons = Table("日期", "课程", "自己的时段")
    for lesson in definition.lessons:
        windows = lesson.windows
        lessons.add_row(
            str(lesson.date),
            lesson.title,
            f"首播 {_hours(windows.live)}；重播 {_hours(windows.replay)}" if windows else "",
        )
    return lessons


def _course_rules(definition: CampaignDefinition) -> Iterator[tuple[str, str]]:
    """The rules of the course; none without one."""
    windows, certificate = definition.windows, definition.certificate
    if windows is None or certificate is None:
        return
    yield "首播 live", _hours(windows.live)
    yield "重播 replay", _hours(windows.replay)
    yield "计入 credit", "、".join(definition.credit)
    yield "结课天数 required_days", str(definition.required_days)
    yield "封账 seal_after_hours", f"最后一个时段结束后 {definition.seal_after_hours} 小时"
    yield "领取证书 claim_from", local_text(certificate.claim_from, definition.zone)


def _hours(windows: Sequence[Window]) -> str:
    return "，".join(f"{'次日 ' if w.day else ''}{w.opens}–{w.closes}" for w in windows) or "—"


def chosen_campaign(given: str | None) -> str:
    """The campaign that was named, else the only one that the system has."""
    if given:
        return given
    rows = _campaigns()
    if len(rows) != 1:
        known = "、".join(row["campaign_id"] for row in rows[:CODES_SHOWN_MAX]) or "还没有活动"
        fail(f"请写明活动 ID（系统里有 {len(rows)} 个活动：{known}），如 --campaign jinshan-2024")
    return str(rows[0]["campaign_id"])


def _campaigns() -> list[dict[str, Any]]:
    with client("checkin") as checkin:
        rows: list[dict[str, Any]] = checkin.get("/v1/campaigns", limit=CAMPAIGNS_LISTED_MAX)["rows"]
    return rows
