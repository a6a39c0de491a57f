"""HTTP of findings: what is to be looked at, the unit's explanation, and the office's closing it (DESIGN §5.2)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from services.reporting.findings import answers, usecases
from services.reporting.findings.answers import FindingRow, Findings
from services.reporting.findings.domain import Rule, State
from services.reporting.findings.store import Kept
from services.reporting.obligations.usecases import Known
from shared.clock import Clock
from shared.contracts.base import Id
from shared.database import Database, Transaction
from shared.paging import LIMIT_MAX, Cursor, Limit, next_cursor, position_in
from shared.service.guarded_route import GuardedRoute
from shared.service.sheets import SHEETS, in_kind_asked
from shared.service.tokens import ROLES, Principal, requires

FINDINGS = "/v1/campaigns/{campaign_id}/findings"

Reader = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]
Explainer = Annotated[Principal, Depends(requires("admin", "office", "liaison", subtrees=True))]
Closer = Annotated[Principal, Depends(requires("admin", "office", subtrees=True))]
FindingId = Annotated[int, Path(ge=1, lt=2**63)]
Said = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ExplainRequest(_Body):
    text: Said


class CloseRequest(_Body):
    reason: Said


class FindingsQuery(_Body):
    """An unknown parameter is an error: a mistyped filter must not answer with everything."""

    state: State | None = None
    unit: Id | None = None
    rule: Rule | None = None
    limit: Limit = LIMIT_MAX
    cursor: Cursor = None


def build_api(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, tags=["findings"])
    _reading(router, db, known)
    _changing(router, db, known, clock)
    return router


def _reading(router: APIRouter, db: Database, known: Known) -> None:
    @router.get(FINDINGS, summary="差异待核: what is to be looked at", response_model=Findings, responses=SHEETS)
    async def findings(
        campaign_id: Id, query: Annotated[FindingsQuery, Query()], principal: Reader, request: Request
    ) -> Any:
        """`unit`: with all below it. As a sheet, for `Accept` with its type: the same page of rows with Chinese headings."""
        position = position_in(query.cursor, tuple[int])
        async with db.transaction() as tx:
            filters = await usecases.filters_of(tx, known, principal, campaign_id, query.unit, query.rule)
            rows, counts = await usecases.findings(
                tx, filters, state=query.state, after=position[0] if position else None, limit=query.limit
            )
            wording = await usecases.wording(tx, known, principal, campaign_id)
        answer = Findings(
            rows=[answers.row_of(row, wording) for row in rows],
            counts=counts,  # type: ignore[arg-type]  # its keys are states
            next_cursor=next_cursor(rows, query.limit, lambda row: (row.id,)),
        )
        return await in_kind_asked(request, answer, lambda answer: answers.pages_of(answer, wording))


def _changing(router: APIRouter, db: Database, known: Known, clock: Clock) -> None:
    async def changed(
        campaign_id: str, principal: Principal, change: Callable[[Transaction], Awaitable[Kept]]
    ) -> FindingRow:
        async def work(tx: Transaction) -> FindingRow:
            kept = await change(tx)
            return answers.row_of(kept, await usecases.wording(tx, known, principal, campaign_id))

        return await db.in_transaction(work)

    @router.post(FINDINGS + "/{finding_id}/explain", summary="Say how it came about")
    async def explain(campaign_id: Id, finding_id: FindingId, body: ExplainRequest, principal: Explainer) -> FindingRow:
        return await changed(
            campaign_id,
            principal,
            lambda tx: usecases.explain(tx, known, principal, campaign_id, finding_id, body.text, clock.now()),
        )

    @router.post(FINDINGS + "/{finding_id}/close", summary="The office has looked at it")
    async def close(campaign_id: Id, finding_id: FindingId, body: CloseRequest, principal: Closer) -> FindingRow:
        return await changed(
            campaign_id,
            principal,
            lambda tx: usecases.close(tx, known, principal, campaign_id, finding_id, body.reason, clock.now()),
        )
