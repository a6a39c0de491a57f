"""Export files as platforms make them, and their import with the code of `fanzha import`, once with the command itself."""

import asyncio
import csv
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from cli.import_command import NoRefusals
from cli.import_events import Reading
from cli.import_file import open_table
from cli.import_sending import Lost, Sender, send_rows
from cli.import_tally import Tally
from demo.campaign import Campaign
from demo.deliveries import Export, Item
from devstack.home import REPOSITORY, Home
from devstack.processes import environment

TYPE_NAMES = {"viewer.checked_in": "签到", "viewer.enrolled": "报名"}
COLUMNS = ("流水号", "事件类型", "用户ID", "签到时间", "单位代码", "渠道码", "重点人群", "姓名", "手机号")


class ImportFailed(Exception):
    """The file was not imported whole; importing it again is safe."""


def write(folder: Path, export: Export, campaign: Campaign) -> Path:
    """Writes an export as platforms do: GB18030, Chinese column names, local times, groups by name."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{export.name}.csv"
    with path.open("w", encoding="gb18030", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS if export.with_ids else COLUMNS[1:])
        writer.writerows(_row(item, campaign, with_id=export.with_ids) for item in export.rows)
    return path


def _row(item: Item, campaign: Campaign, *, with_id: bool) -> list[str]:
    event = item.value
    cells = [
        TYPE_NAMES[event["type"]],
        event["viewer_id"],
        _local(event["occurred_at"], campaign),
        event.get("unit_code", ""),
        event.get("channel", ""),
        campaign.groups.get(event.get("group", ""), event.get("group", "")),
        event.get("name", ""),
        event.get("phone", ""),
    ]
    return [event["event_id"], *cells] if with_id else cells


def _local(occurred_at: str, campaign: Campaign) -> str:
    try:
        at = datetime.fromisoformat(occurred_at).astimezone(campaign.zone)
    except ValueError:
        return occurred_at
    return f"{at.year}/{at.month}/{at.day} {at:%H:%M:%S}"


def import_here(
    path: Path, reading: Reading, http: httpx.Client, source: str, *, give_up_after_s: float
) -> dict[str, Any]:
    """Imports as the command does between reading its options and printing; returns the numbers that it would print."""
    tally = Tally()
    sender = Sender(
        http, f"/v1/campaigns/{reading.campaign_id}/imports?source={source}", give_up_after_s=give_up_after_s
    )
    try:
        with open_table(path, {}) as table:
            for _ in send_rows(table.rows, reading, sender, NoRefusals(), tally):
                pass
    except Lost as error:
        raise ImportFailed(f"{path.name}: {error}") from error
    return tally.as_json()


async def import_by_command(path: Path, home: Home, campaign: Campaign, source: str) -> dict[str, Any]:
    """`fanzha import FILE --source SOURCE --json`."""
    command = [sys.executable, "-m", "cli.main", "import", str(path), "--campaign", campaign.id]
    command += ["--source", source, "--json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment({"FANZHA_HOME": str(home.root)}),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    if process.returncode != 0:
        raise ImportFailed(f"{path.name}: {complaint.decode(errors='replace')}")
    answer: dict[str, Any] = json.loads(output)
    return answer
