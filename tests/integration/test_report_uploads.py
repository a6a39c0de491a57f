"""The reports of many units in one workbook: handed out, filled in, taken as a whole or handed back (DESIGN §5.2)."""

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from shared.sheets import XLSX_TYPE
from tests.support.databases import DatabaseFactory
from tests.support.forms import form, number
from tests.support.obligations import BEFORE, CAMPAIGN, Reporter, at, definition_events
from tests.support.pictures import encoded, scene
from tests.support.reporting_service import ReportingService

UPLOAD = "/v1/campaigns/small-2024/reports/daily/2024-06-29/upload"
TEMPLATE = "forms/daily/2024-06-29/template.xlsx"
FORM = form(
    fields=[
        number("viewers", title="观看", max=100),
        number("total", title="累计", kind="running_total"),
        {"id": "photos", "title": "照片", "type": "pictures"},
        {
            "id": "below",
            "title": "下级",
            "type": "table",
            "rows": "children",
            "columns": [number("told", title="告知")],
        },
    ]
)


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[ReportingService]:
    running = ReportingService(await database("reporting"), folder=tmp_path, now=BEFORE)
    await running.deliver(*definition_events(FORM))
    running.clock_is(at("06-30 09:00"))
    await running.do_due_work()
    yield running
    await running.close()


async def filled_in(who: Reporter, cells: Mapping[str, Any], path: str = TEMPLATE) -> bytes:
    """The template as this person gets it, with these cells: `填报!C3`."""
    answer = await who.get(path)
    assert answer.status_code == 200, answer.text
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    for place, value in cells.items():
        sheet, _, cell = place.partition("!")
        book[sheet][cell] = value
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


async def send(
    who: Reporter, content: bytes, name: str = "a.xlsx", accept: str = "*/*", path: str = UPLOAD, **more: str
) -> httpx.Response:
    return await who.service.client.post(
        path, files={"file": (name, content)}, data=more, headers=who.headers | {"accept": accept}
    )


def cells_of(answer: httpx.Response, sheet: str = "填报") -> list[list[Any]]:
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    return [[cell.value for cell in row] for row in book[sheet].iter_rows()]


async def test_a_template_has_the_units_that_owe_the_form_and_are_in_reach(service: ReportingService) -> None:
    office = Reporter(service)
    answer = await office.get(TEMPLATE)
    assert answer.headers["content-disposition"] == 'attachment; filename="daily-2024-06-29.xlsx"'
    assert [row[0] for row in cells_of(answer)[2:]] == ["111", "112"]
    assert [row[:4] for row in cells_of(answer, "下级")[2:]] == [["111", "单位111", "111-EDU", "单位111-EDU"]]
    notes = {row[0]: row[1] for row in cells_of(answer, "说明")}
    assert (notes["期次"], notes["截止时间"]) == ("2024-06-29", "2024-07-01 18:00:00+08:00")
    await office.post("units/112/reports/daily/2024-06-29/excuse", reason="停电")
    assert [row[0] for row in cells_of(await office.get(TEMPLATE))[2:]] == ["111"]
    county = Reporter(service, "liaison", "111")
    assert [row[0] for row in cells_of(await county.get(TEMPLATE))[2:]] == ["111"]
    assert (await county.get(TEMPLATE, unit="112")).json()["type"] == "/problems/no-such-unit"
    assert (await office.get("forms/daily/2024-07-09/template.xlsx")).json()["type"] == "/problems/nothing-owed"
    assert (await Reporter(service, "liaison", "111-EDU").get(TEMPLATE)).status_code == 404


async def test_a_parent_sends_for_all_units_below_it(service: ReportingService) -> None:
    city = Reporter(service, "liaison", "11")
    content = await filled_in(city, {"填报!C3": 0, "填报!D3": 7, "下级!E3": 2, "填报!C4": "12"})
    answer = await send(city, content)
    assert answer.status_code == 200, answer.text
    rows = {row["unit_code"]: row for row in answer.json()["rows"]}
    assert {code: (row["version"], row["state"]) for code, row in rows.items()} == {
        "111": (1, "on_time"),
        "112": (1, "on_time"),
    }
    reported = (await city.get("units/111/reports/daily/2024-06-29")).json()["versions"][0]
    assert (reported["kind"], reported["number"]) == ("on_behalf", rows["111"]["number"])
    assert reported["values"] == {"viewers": 0, "total": 7, "below": [{"key": "111-EDU", "told": 2}]}
    again = (await send(city, content)).json()
    assert (again["submitted"], again["unchanged"]) == (0, 2)
    assert set((await city.states()).values()) == {"on_time"}


async def test_one_wrong_cell_and_nothing_is_taken(service: ReportingService) -> None:
    office = Reporter(service)
    content = await filled_in(office, {"填报!C3": 5, "填报!C4": "12人", "下级!E3": -1})
    answer = await send(office, content)
    assert (answer.status_code, answer.json()["title"]) == (422, "文件有 2 处要改正，一行也没有收")
    assert answer.json()["errors"] == [
        {"field": "填报!C4", "message": "只写半角数字，如 1234；不要写单位、逗号、空格或其他符号"},
        {"field": "下级!E3", "message": "不能小于 0；请核对后重填"},
    ]
    marked = await send(office, content, accept=XLSX_TYPE)
    assert (marked.status_code, marked.headers["content-type"]) == (422, XLSX_TYPE)
    header, _, first, second = cells_of(marked)
    assert (header[-1], first[-1]) == ("错误原因", None)
    assert second[-1] == "观看（人次）：只写半角数字，如 1234；不要写单位、逗号、空格或其他符号"
    assert set((await office.states()).values()) == {"due"}


async def test_what_a_unit_has_reported_is_corrected_with_a_reason_and_keeps_its_pictures(
    service: ReportingService,
) -> None:
    office = Reporter(service)
    liaison = Reporter(service, "liaison", "111")
    path = f"/v1/campaigns/{CAMPAIGN}/units/111/pictures"
    uploaded = await service.client.post(path, content=encoded(scene()), headers=liaison.headers)
    photo = uploaded.json()["picture_id"]
    values = {"viewers": 5, "total": 9, "photos": [photo]}
    assert (await liaison.send("111", values=values)).status_code == 200
    content = await filled_in(office, {"填报!C3": 6, "填报!D3": 9, "填报!C4": 1})
    refused = (await send(office, content)).json()["errors"]
    assert refused == [
        {"field": "填报!A3", "message": "这个单位已经报过；要更正，请在上传时写明原因，否则请清空这一行"}
    ]
    answer = (await send(office, content, reason="电话核实")).json()
    assert [(row["unit_code"], row["version"]) for row in answer["rows"]] == [("111", 2), ("112", 1)]
    kept = (await office.get("units/111/reports/daily/2024-06-29")).json()["versions"][1]
    assert (kept["kind"], kept["reason"]) == ("corrected", "电话核实")
    assert kept["values"] == {"viewers": 6, "total": 9, "photos": [photo]}


async def test_what_a_workbook_cannot_have_is_named(service: ReportingService) -> None:
    photos = {"id": "photos", "title": "照片", "type": "pictures", "required": True}
    once = form(id="once", every="once", by="2024-07-05", fields=[number("viewers"), photos])
    await service.deliver(*definition_events(FORM, once, revision=2, when=at("06-30 09:00")))
    await service.do_due_work()
    office = Reporter(service)
    content = await filled_in(office, {"填报!C3": 5}, "forms/once/once/template.xlsx")
    answer = await send(office, content, path=UPLOAD.replace("daily/2024-06-29", "once/once"))
    assert answer.json()["errors"] == [{"field": "填报!A3", "message": "照片：还没有填；这一栏必须填"}]


async def test_a_returned_report_may_be_sent_again_as_it_was(service: ReportingService) -> None:
    office, liaison = Reporter(service), Reporter(service, "liaison", "111")
    content = await filled_in(liaison, {"填报!C3": 5})
    assert (await send(liaison, content)).json()["submitted"] == 1
    due_at = at("07-02 18:00").isoformat()
    await office.post("units/111/reports/daily/2024-06-29/return", reason="核对", due_at=due_at)
    assert (await send(liaison, content)).json()["submitted"] == 1


async def test_after_the_lock_nothing_is_taken(service: ReportingService) -> None:
    office = Reporter(service)
    content = await filled_in(office, {"填报!C4": 1})
    service.clock_is(at("09-01 09:00"))
    errors = (await send(office, content)).json()["errors"]
    assert errors == [{"field": "填报!A4", "message": "这一期已经锁定，不再接收；请清空这一行，或请反诈办重新开放"}]


@pytest.mark.parametrize(
    ("name", "content", "type_", "detail"),
    [
        ("../x.pdf", b"%PDF", "file-unreadable", "不认识的文件类型 .pdf"),
        ("a.xlsx", b"PK\x03\x04", "file-unreadable", "文件 打不开"),
        ("a.csv", b"\xff\xff", "file-unreadable", "CSV 文件放不下"),
        ("", b"x", "invalid-request", ""),
    ],
)
async def test_a_file_that_cannot_be_read_is_told(
    service: ReportingService, name: str, content: bytes, type_: str, detail: str
) -> None:
    problem = (await send(Reporter(service), content, name)).json()
    assert problem["type"] == f"/problems/{type_}"
    assert detail in problem.get("detail", "")


async def test_a_file_that_is_empty_or_too_large_is_told(service: ReportingService) -> None:
    office = Reporter(service)
    empty = await send(office, await filled_in(office, {}))
    assert (empty.status_code, empty.json()["type"]) == (422, "/problems/nothing-filled-in")
    assert (await send(office, b"x" * 9 * 1024**2)).status_code == 413
    large = await send(office, b"x" * (8 * 1024**2 + 1))
    assert (large.status_code, "超过 8 MiB" in large.json()["detail"]) == (422, True)
