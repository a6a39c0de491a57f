"""The desk over HTTP: pages for the office's people, and their tables to download (DESIGN §5.5). The campaign is always the one
that the session is for, and a county's office sees its subtree only."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from services.reporting.desk import pages, sheets, usecases
from services.reporting.desk.pages import ChaseList, OwingTable, PageOf, RatesTable, Showing
from services.reporting.desk.usecases import Asked, By, Position
from services.reporting.obligations.domain import Figure
from services.reporting.obligations.usecases import Known
from shared.clock import Clock
from shared.contracts.base import Id
from shared.contracts.campaign_parts import Slug
from shared.contracts.reporting import Period
from shared.database import Database, Transaction
from shared.paging import CURSOR_MAX_CHARS, next_cursor, position_in
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import Visit, signed_in
from shared.sheets import CSV_TYPE, XLSX_TYPE, Page, as_csv, as_xlsx

PATH = pages.PATH
ROWS_SHOWN = 100  # of a table on one page
DOWNLOADED_AT_ONCE = 5_000  # rows that one statement reads for a file
DOWNLOADED_MAX = 100_000  # rows of one file: 5,000 units × 16 daily reports and their forms of once

Reader = Annotated[Visit, Depends(signed_in("admin", "office", "auditor", subtrees=True))]
Kind = Annotated[Literal["csv", "xlsx"], Path()]


def none_if_empty(typed: str | None) -> str | None:
    """A form without script sends every field, also those in which nothing was chosen."""
    return typed or None


class TableQuery(BaseModel):
    """An unknown filter is an error: a mistyped one must not answer with everything."""

    model_config = ConfigDict(extra="forbid")

    form: Annotated[Slug | None, BeforeValidator(none_if_empty)] = None
    period: Annotated[Period | None, BeforeValidator(none_if_empty)] = None
    unit: Annotated[Id | None, BeforeValidator(none_if_empty)] = None
    row: Annotated[Literal["unit", "county"] | None, BeforeValidator(none_if_empty)] = None

    @property
    def asked(self) -> Asked:
        return Asked(self.form, self.period, self.unit, self.row)


class RatesQuery(TableQuery):
    by: By = "county"
    page: Annotated[int, Field(ge=1, le=1_000)] = 1


class OwingQuery(TableQuery):
    figure: Figure = "missing"
    today: bool = False
    cursor: Annotated[str, Field(max_length=CURSOR_MAX_CHARS)] | None = None

    @property
    def asked(self) -> Asked:
        return Asked(self.form, self.period, self.unit, self.row, self.today)


def build_pages(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["desk"])
    _tables(router, db, known, clock)
    _downloads(router, db, known, clock)
    return router


async def showing_of(tx: Transaction, known: Known, visit: Visit, clock: Clock) -> Showing:
    return Showing(clock.now(), await usecases.zone_of(tx, known, visit.session.principal.campaign))


def _tables(router: APIRouter, db: Database, known: Known, clock: Clock) -> None:
    @router.get(PATH, summary="今日待办: what waits for the office", response_class=HTMLResponse)
    async def desk(visit: Reader) -> HTMLResponse:
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            todos, rows, whole = await usecases.today(tx, known, visit.session.principal, showing.now)
        table = RatesTable(Asked(), "county", rows, whole)
        return pages.PAGES.answer(pages.desk_html(visit.frame, showing, todos, table), form=True)

    @router.get(PATH + "/rates", summary="应报, 已报, 迟报, 未报, 免报", response_class=HTMLResponse)
    async def rates(query: Annotated[RatesQuery, Query()], visit: Reader) -> HTMLResponse:
        principal, asked = visit.session.principal, query.asked
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            rows, whole = await usecases.rates(tx, known, principal, asked, query.by, showing.now)
            choices = await usecases.choices(tx, known, principal)
        first = (query.page - 1) * ROWS_SHOWN
        table = RatesTable(asked, query.by, rows[first : first + ROWS_SHOWN], whole)
        turned = {
            "上一页": query.page - 1 if first else 0,
            "下一页": query.page + 1 if first + ROWS_SHOWN < len(rows) else 0,
        }
        others = {
            title: pages.address("rates", asked, by=query.by, page=str(number))
            for title, number in turned.items()
            if number
        }
        page = PageOf(first + 1, len(rows), others)
        return pages.PAGES.answer(pages.rates_html(visit.frame, showing, table, choices, page), form=True)

    @router.get(PATH + "/obligations", summary="What a figure counts", response_class=HTMLResponse)
    async def owing(query: Annotated[OwingQuery, Query()], visit: Reader) -> HTMLResponse:
        principal, asked = visit.session.principal, query.asked
        after = position_in(query.cursor, Position)
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            rows, whole = await usecases.owing(
                tx, known, principal, asked, query.figure, now=showing.now, after=after, limit=ROWS_SHOWN
            )
            choices = await usecases.choices(tx, known, principal)
        cursor = next_cursor(rows, ROWS_SHOWN, usecases.position_of)
        next_page = pages.address("obligations", asked, figure=query.figure, cursor=cursor) if cursor else ""
        table = OwingTable(asked, query.figure, rows, whole, next_page)
        return pages.PAGES.answer(pages.owing_html(visit.frame, showing, table, choices), form=True)

    @router.get(PATH + "/chase", summary="催报名单, to paste into a group chat", response_class=HTMLResponse)
    async def chase(query: Annotated[OwingQuery, Query()], visit: Reader) -> HTMLResponse:
        principal, asked = visit.session.principal, query.asked
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            pieces, units = await usecases.chase(tx, known, principal, asked, query.figure, showing.now)
            choices = await usecases.choices(tx, known, principal)
        html = pages.chase_html(visit.frame, showing, ChaseList(asked, query.figure, pieces, units), choices)
        return pages.PAGES.answer(html, form=True)

    @router.get(PATH + "/without-liaison", summary="Units that have named no liaison", response_class=HTMLResponse)
    async def without_liaison(visit: Reader) -> HTMLResponse:
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            units = await usecases.without_liaison(tx, known, visit.session.principal, showing.now)
        return pages.PAGES.answer(pages.without_liaison_html(visit.frame, showing, units), form=True)


def _downloads(router: APIRouter, db: Database, known: Known, clock: Clock) -> None:
    @router.get(PATH + "/rates.{kind}", summary="The table of rates as a sheet", response_class=Response)
    async def rates_sheet(kind: Kind, query: Annotated[RatesQuery, Query()], visit: Reader) -> Response:
        """All rows, whichever page of them was shown."""
        async with db.transaction() as tx:
            rows, whole = await usecases.rates(tx, known, visit.session.principal, query.asked, query.by, clock.now())
        return await file_answer("rates", kind, sheets.rates_page(query.by, rows, whole))

    @router.get(PATH + "/obligations.{kind}", summary="What a figure counts, as a sheet", response_class=Response)
    async def owing_sheet(kind: Kind, query: Annotated[OwingQuery, Query()], visit: Reader) -> Response:
        """All rows that the filters leave, at most `DOWNLOADED_MAX`; the file says how many more there are."""
        principal, rows, after = visit.session.principal, list[usecases.Owing](), None
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            while True:
                more, whole = await usecases.owing(
                    tx,
                    known,
                    principal,
                    query.asked,
                    query.figure,
                    now=showing.now,
                    after=after,
                    limit=DOWNLOADED_AT_ONCE,
                )
                rows += more
                if len(more) < DOWNLOADED_AT_ONCE or len(rows) >= DOWNLOADED_MAX:
                    break
                after = usecases.position_of(more[-1])
        return await file_answer(
            "obligations", kind, sheets.owing_page(rows, showing.now, showing.zone, max(whole - len(rows), 0))
        )

    @router.get(PATH + "/without-liaison.{kind}", summary="The same as a sheet", response_class=Response)
    async def without_liaison_sheet(kind: Kind, visit: Reader) -> Response:
        async with db.transaction() as tx:
            units = await usecases.without_liaison(tx, known, visit.session.principal, clock.now())
        return await file_answer("without-liaison", kind, sheets.without_liaison_page(units))


async def file_answer(name: str, kind: str, page: Page) -> Response:
    content = await asyncio.to_thread(as_csv if kind == "csv" else as_xlsx, page)  # 20,000 rows take a second
    return Response(
        content,
        media_type=CSV_TYPE if kind == "csv" else XLSX_TYPE,
        headers={
            "content-disposition": f'attachment; filename="{name}.{kind}"',
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        },
    )
