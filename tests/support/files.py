"""Export files on their way into a checkin under test, read and sent by the code of `fanzha import`."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import xlsxwriter  # type: ignore[import-untyped]

from cli.import_command import NoRefusals
from cli.import_events import Reading
from cli.import_file import open_table
from cli.import_sending import send_rows
from cli.import_tally import Tally
from tests.support.campaigns import campaign
from tests.support.checkin import CAMPAIGN, CheckinUnderTest


class _Sender:
    def __init__(self, checkin: CheckinUnderTest, loop: asyncio.AbstractEventLoop) -> None:
        self._checkin = checkin
        self._loop = loop

    def post(self, events: list[bytes]) -> list[dict[str, Any]]:
        path, body = f"/v1/campaigns/{CAMPAIGN}/imports", b"[%b]" % b",".join(events)
        answer = asyncio.run_coroutine_threadsafe(self._checkin.client.post(path, content=body), self._loop).result()
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results


async def import_path(checkin: CheckinUnderTest, path: Path, event_type: str = "viewer.enrolled") -> Tally:
    loop, tally = asyncio.get_running_loop(), Tally()

    def work() -> None:
        with open_table(path, {}) as table:
            reading = Reading.of(campaign(), event_type).in_zone(table.zone)
            for _ in send_rows(table.rows, reading, _Sender(checkin, loop), NoRefusals(), tally):
                pass

    await asyncio.to_thread(work)
    return tally


def write_table(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    """The rows in the format that the name asks for."""
    match path.suffix:
        case ".csv":
            path.write_text("\n".join(",".join(cells) for cells in [header, *rows]))
        case ".ndjson":
            path.write_bytes(b"\n".join(msgspec.json.encode(dict(zip(header, cells, strict=True))) for cells in rows))
        case _:
            with xlsxwriter.Workbook(path) as book:
                sheet = book.add_worksheet()
                for at, cells in enumerate([header, *rows]):
                    sheet.write_row(at, 0, cells)
    return path


async def import_rows(
    checkin: CheckinUnderTest, folder: Path, header: str, *rows: str, name: str = "a.csv", type: str = "viewer.enrolled"
) -> dict[str, Any]:
    """Imports a table whose cells stand between commas; returns what the command prints for scripts."""
    path = write_table(folder / name, header.split(","), [row.split(",") for row in rows])
    return (await import_path(checkin, path, type)).as_json()
