"""差异待核 on the desk over HTTP: the list, and the same to download; a report's page takes what is said of one (DESIGN §5.5)."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from services.reporting.desk import findings, pages, usecases
from services.reporting.desk.api import (
    DOWNLOADED_MAX,
    PATH,
    ROWS_SHOWN,
    Kind,
    Reader,
    file_answer,
    none_if_empty,
    showing_of,
)
from services.reporting.desk.pages import FindingsTable
from services.reporting.findings import answers
from services.reporting.findings.answers import Findings
from services.reporting.findings.domain import Rule, State
from services.reporting.obligations.usecases import Known
from shared.clock import Clock
from shared.contracts.base import Id
from shared.database import Database
from shared.paging import CURSOR_MAX_CHARS, next_cursor, position_in
from shared.service.guarded_route import GuardedRoute


class FindingsQuery(BaseModel):
    """An unknown filter is an error: a mistyped one must not answer with everything."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[State | None, BeforeValidator(none_if_empty)] = None
    rule: Annotated[Rule | None, BeforeValidator(none_if_empty)] = None
    unit: Annotated[Id | None, BeforeValidator(none_if_empty)] = None
    cursor: Annotated[str, Field(max_length=CURSOR_MAX_CHARS)] | None = None


def build_finding_pages(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["desk"])

    @router.get(PATH + "/findings", summary="差异待核: what is to be looked at", response_class=HTMLResponse)
    async def listed(query: Annotated[FindingsQuery, Query()], visit: Reader) -> HTMLResponse:
        principal, position = visit.session.principal, position_in(query.cursor, tuple[int])
        async with db.transaction() as tx:
            showing = await showing_of(tx, known, visit, clock)
            shown, counts, _ = await findings.listed(
                tx,
                known,
                principal,
                state=query.state,
                rule=query.rule,
                unit=query.unit,
                after=position[0] if position else None,
                limit=ROWS_SHOWN,
            )
            choices = await usecases.choices(tx, known, principal)
        cursor = next_cursor(shown.rows, ROWS_SHOWN, lambda row: (row.id,))
        table = FindingsTable(query.state, query.rule, query.unit, shown, counts, cursor)
        return pages.PAGES.answer(pages.findings_html(visit.frame, showing, table, choices), form=True)

    @router.get(PATH + "/findings.{kind}", summary="The same as a sheet", response_class=Response)
    async def sheet(kind: Kind, query: Annotated[FindingsQuery, Query()], visit: Reader) -> Response:
        """All rows that the filters leave, at most `DOWNLOADED_MAX`."""
        async with db.transaction() as tx:
            shown, counts, wording = await findings.listed(
                tx,
                known,
                visit.session.principal,
                state=query.state,
                rule=query.rule,
                unit=query.unit,
                limit=DOWNLOADED_MAX,
            )
        told = Findings(rows=list(shown.rows), counts=dict(counts), next_cursor=None)  # type: ignore[arg-type]  # states
        return await file_answer("findings", kind, answers.pages_of(told, wording)[0])

    return router
