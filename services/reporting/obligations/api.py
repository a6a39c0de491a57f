"""HTTP of obligations: what units owe, their reports, and what the office decides about them (DESIGN §5.2)."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.reporting.obligations import answers, sheets, usecases
from services.reporting.obligations.answers import (
    ObligationAnswer,
    ObligationRow,
    Obligations,
    Rates,
    Receipt,
    ReceiptCheck,
)
from services.reporting.obligations.domain import Obligation, ObligationKey, State
from services.reporting.obligations.store import Position
from services.reporting.obligations.usecases import Known, Question, Sender, Submission
from shared.clock import Clock
from shared.contracts.base import ID_PATTERN, Id
from shared.contracts.campaign_parts import Slug
from shared.contracts.reporting import Period
from shared.database import Database, Transaction
from shared.paging import LIMIT_MAX, Cursor, Limit, next_cursor, position_in
from shared.service.guarded_route import GuardedRoute
from shared.service.sheets import SHEETS, in_kind_asked
from shared.service.tokens import ROLES, Principal, requires

REPORT_MAX_BYTES = 2 * 1024 * 1024  # a table of 2,000 villages with thirty columns

PathId = Annotated[str, Path(pattern=ID_PATTERN)]
PathPeriod = Annotated[Period, Path()]
Reader = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]
Reporter = Annotated[Principal, Depends(requires("admin", "office", "liaison", subtrees=True))]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")
]
By = Literal["unit", "subtree", "county", "city", "form", "period"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReportRequest(_Body):
    submission_id: UUID = Field(description="made by the sender, once for each report: a repeat gets the same receipt")
    based_on_version: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="the version that was open while this one was written; null for a first one"
    )
    values: dict[str, Any]
    reasons: dict[Slug, Reason] = Field(default={}, description="field → why its running total is below the last one")
    reason: Reason | None = Field(default=None, description="why the office corrects what the unit has reported")


class ReturnRequest(_Body):
    reason: Reason
    due_at: AwareDatetime
    empty: bool = Field(
        default=False, description="it counts as no report at all, and the next one decides whether it was on time"
    )


class ExcuseRequest(_Body):
    reason: Reason
    owed_again: bool = Field(default=False, description="take the excuse back")


class ApproveRequest(_Body):
    version: Annotated[int, Field(ge=1)]


class ReopenRequest(_Body):
    reason: Reason
    until: AwareDatetime


class VerifyRequest(_Body):
    number: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class ObligationsQuery(_Body):
    """An unknown parameter is an error: a mistyped filter must not answer with everything."""

    state: State | None = None
    unit: Id | None = Field(default=None, description="with all below it")
    form: Slug | None = None
    period: Period | None = None
    limit: Limit = LIMIT_MAX
    cursor: Cursor = None


class RatesQuery(_Body):
    by: By = Field(description="county and city: rolled up; subtree: each unit with all below it")
    unit: Id | None = Field(default=None, description="with all below it")
    form: Slug | None = None
    period: Period | None = None


def build_api(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    _reports(router, db, known, clock)
    _decisions(router, db, known, clock)
    _questions(router, db, known, clock)
    _receipts(router, db)
    return router


# ---- reports ---------------------------------------------------------------------------------------------------------

CAMPAIGN = "/v1/campaigns/{campaign_id}"
REPORT = CAMPAIGN + "/units/{unit_code}/reports/{form}/{period}"


async def _key(campaign_id: PathId, form: PathId, period: PathPeriod, unit_code: PathId) -> ObligationKey:
    return ObligationKey(campaign_id, form, period, unit_code)


Key = Annotated[ObligationKey, Depends(_key)]


async def _in_reach(tx: Transaction, known: Known, principal: Principal, key: ObligationKey) -> None:
    """Refuses a unit outside of what the principal may see as one that does not exist."""
    await usecases.filters_of(tx, known, principal, Question(key.campaign_id, unit=key.unit_code))


def _reports(router: APIRouter, db: Database, known: Known, clock: Clock) -> None:
    @router.post(REPORT, tags=["reports"], summary="Send a report", max_body_size=REPORT_MAX_BYTES)
    async def submit(key: Key, body: ReportRequest, principal: Reporter) -> Receipt:
        submission = Submission(body.submission_id, body.values, body.based_on_version, dict(body.reasons), body.reason)

        async def work(tx: Transaction) -> Receipt:
            await _in_reach(tx, known, principal, key)
            report = await usecases.submit(tx, known, Sender.of(principal), key, submission, clock.now())
            return answers.receipt_of(report)

        return await db.in_transaction(work)

    @router.get(REPORT, tags=["reports"], summary="An obligation with all versions of its report")
    async def report(key: Key, principal: Reader) -> ObligationAnswer:
        async with db.transaction() as tx:
            await _in_reach(tx, known, principal, key)
            owed, versions, changes = await usecases.history_of(tx, known, key)
        return answers.obligation_of(owed, versions, changes, clock.now())


# ---- decisions -------------------------------------------------------------------------------------------------------


def _decisions(router: APIRouter, db: Database, known: Known, clock: Clock) -> None:
    async def decide(principal: Principal, key: ObligationKey, decision: Any) -> ObligationRow:
        async def work(tx: Transaction) -> Obligation:
            await _in_reach(tx, known, principal, key)
            obligation: Obligation = await decision(tx)
            return obligation

        return answers.row_of(await db.in_transaction(work), clock.now())

    @router.post(REPORT + "/return", tags=["reports"], summary="Send a report back with a reason and a new deadline")
    async def send_back(key: Key, body: ReturnRequest, principal: Reporter) -> ObligationRow:
        return await decide(
            principal,
            key,
            lambda tx: usecases.send_back(
                tx, known, principal, key, reason=body.reason, due_at=body.due_at, empty=body.empty, now=clock.now()
            ),
        )

    @router.post(REPORT + "/excuse", tags=["reports"], summary="Let a unit off a report (免报), or take that back")
    async def excuse(key: Key, body: ExcuseRequest, principal: Reporter) -> ObligationRow:
        return await decide(
            principal,
            key,
            lambda tx: usecases.excuse(
                tx, known, principal, key, reason=body.reason, owed_again=body.owed_again, now=clock.now()
            ),
        )

    @router.post(REPORT + "/approve", tags=["reports"], summary="Approve a report; it changes no state")
    async def approve(key: Key, body: ApproveRequest, principal: Reporter) -> ObligationRow:
        return await decide(
            principal,
            key,
            lambda tx: usecases.approve(tx, known, principal, key, version=body.version, now=clock.now()),
        )

    @router.post(REPORT + "/reopen", tags=["reports"], summary="Take reports again, until a new time")
    async def reopen(key: Key, body: ReopenRequest, principal: Reporter) -> ObligationRow:
        return await decide(
            principal,
            key,
            lambda tx: usecases.reopen(
                tx, known, principal, key, reason=body.reason, until=body.until, now=clock.now()
            ),
        )


# ---- questions -------------------------------------------------------------------------------------------------------


def _questions(router: APIRouter, db: Database, known: Known, clock: Clock) -> None:
    @router.get(
        CAMPAIGN + "/obligations",
        tags=["reports"],
        summary="What units owe, by due time",
        response_model=Obligations,
        responses=SHEETS,
    )
    async def obligations(
        campaign_id: Id, query: Annotated[ObligationsQuery, Query()], principal: Reader, request: Request
    ) -> Any:
        """As a sheet, for `Accept` with its type: the same page of rows with Chinese headings."""
        position = position_in(query.cursor, Position)
        now = clock.now()
        async with db.transaction() as tx:
            rows, counts = await usecases.obligations(
                tx,
                known,
                principal,
                Question(campaign_id, query.unit, query.form, query.period),
                state=query.state,
                now=now,
                after=position,
                limit=query.limit,
            )
            names, zone = (
                await usecases.names_of(tx, known, campaign_id),
                await usecases.zone_of(tx, known, campaign_id),
            )
        answer = Obligations(
            rows=[answers.named_row_of(row, now, names) for row in rows],
            counts=counts,  # type: ignore[arg-type]  # its keys are states
            next_cursor=next_cursor(
                rows, query.limit, lambda row: Position(row.due_at, row.form, row.period, row.unit_code)
            ),
        )
        return await in_kind_asked(request, answer, lambda answer: sheets.obligation_pages(answer, names, zone))

    @router.get(
        CAMPAIGN + "/rates",
        tags=["reports"],
        summary="Reporting and on-time rates",
        response_model=Rates,
        responses=SHEETS,
    )
    async def rates(campaign_id: Id, query: Annotated[RatesQuery, Query()], principal: Reader, request: Request) -> Any:
        now = clock.now()
        async with db.transaction() as tx:
            question = Question(campaign_id, query.unit, query.form, query.period)
            rows, whole = await usecases.rates(tx, known, principal, question, by=query.by, now=now)
            zone = await usecases.zone_of(tx, known, campaign_id)
        answer = Rates(
            as_of=now.astimezone(zone),
            rows=[answers.rate_of(*row) for row in rows],
            sum=answers.rate_of("sum", "合计", whole),
        )
        return await in_kind_asked(request, answer, lambda answer: sheets.rate_pages(answer, query.by))


# ---- receipts --------------------------------------------------------------------------------------------------------


def _receipts(router: APIRouter, db: Database) -> None:
    @router.post("/v1/receipts/verify", tags=["reports"], summary="Whether a receipt is genuine; no token is needed")
    async def verify(body: VerifyRequest) -> ReceiptCheck:
        """Says for what and when, but none of the values. With `sha256` only a receipt with that digest is genuine."""
        async with db.transaction() as tx:
            known, newest = await usecases.report_of_receipt(tx, body.number)
        if known is not None and body.sha256 is not None and known[1].sha256.hex() != body.sha256:
            known = None
        return answers.check_of(known, newest)
