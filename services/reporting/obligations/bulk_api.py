"""HTTP of reports in a workbook: the template to fill in, and its upload for all units of a subtree (DESIGN §5.2)."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, UploadFile
from fastapi import Form as FormPart
from fastapi.responses import Response
from pydantic import BaseModel, Field
from xlsxwriter.utility import xl_rowcol_to_cell  # type: ignore[import-untyped]

from services.reporting.obligations import answers, bulk, uploads
from services.reporting.obligations.answers import Receipt
from services.reporting.obligations.api import CAMPAIGN, PathId, PathPeriod, Reader, Reason, Reporter
from services.reporting.obligations.bulk import Asked, Taken, UploadWrong
from services.reporting.obligations.uploads import LIMITS, Upload
from services.reporting.obligations.usecases import Known, Question, Sender
from shared.clock import Clock
from shared.contracts.base import Id
from shared.database import Database, Transaction
from shared.service.guarded_route import GuardedRoute
from shared.service.problems import ERRORS_TOLD_MAX, Problem
from shared.service.refusals import Refused
from shared.service.sheets import kind_asked
from shared.sheets import XLSX_TYPE, FileFault

UPLOAD_MAX_BYTES: Final = LIMITS.file_max_bytes + 64 * 1024  # with what a form puts around a file
READ_AT_ONCE_MAX: Final = 1  # workbooks: a child takes up to 256 MiB, the service has 512


class UnitReceipt(Receipt):
    unit_code: str


class Uploaded(BaseModel):
    submitted: int = Field(description="units of which a new version was kept; `rows` has their receipts")
    unchanged: int = Field(description="units that had reported the same before: nothing was kept")
    rows: list[UnitReceipt]


def build_bulk_api(db: Database, known: Known, clock: Clock) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    reading = asyncio.Semaphore(READ_AT_ONCE_MAX)

    @router.get(
        CAMPAIGN + "/forms/{form}/{period}/template.xlsx",
        tags=["reports"],
        summary="The form as a workbook to fill in, with a row for each unit that owes it",
        response_class=Response,
        responses={200: {"content": {XLSX_TYPE: {}}}},
    )
    async def template(
        campaign_id: PathId, form: PathId, period: PathPeriod, principal: Reader, unit: Id | None = None
    ) -> Response:
        """`unit`: only that one and those below it."""
        async with db.transaction() as tx:
            asked = await bulk.asked(tx, known, principal, Question(campaign_id, unit, form, period), clock.now())
        content = await asyncio.to_thread(bulk.template, asked)
        return _workbook(content, 200, f"{form}-{period}.xlsx")

    @router.post(
        CAMPAIGN + "/reports/{form}/{period}/upload",
        tags=["reports"],
        summary="Send the reports of many units in one workbook: all of them or none",
        max_body_size=UPLOAD_MAX_BYTES,
        form_limits={"max_fields": 1, "max_files": 1},
        response_model=Uploaded,
        responses={422: {"content": {XLSX_TYPE: {}}, "description": "with `Accept` of this type: the file, marked"}},
    )
    async def upload(
        campaign_id: PathId,
        form: PathId,
        period: PathPeriod,
        file: UploadFile,
        principal: Reporter,
        request: Request,
        reason: Annotated[
            Reason | None, FormPart(description="why reports are corrected, or running totals fell")
        ] = None,
    ) -> Any:
        """The template, filled in (XLSX; CSV where the form has no tables). What says the same as a unit's last report is left
        alone. A refused file comes back, for `Accept` with the type of XLSX, with a column 错误原因 and the cells marked."""
        question = Question(campaign_id, None, form, period)
        async with db.transaction() as tx:
            asked = await bulk.asked(tx, known, principal, question, clock.now())
        content = await file.read(LIMITS.file_max_bytes + 1)
        async with reading:
            read = await asyncio.to_thread(_read, content, file.filename or "", asked)

        async def work(tx: Transaction) -> Taken:
            sender = Sender.of(principal)
            return await bulk.submit_all(tx, known, sender, asked, read, reason, clock.now())

        try:
            taken = await db.in_transaction(work)
        except UploadWrong as wrong:
            if kind_asked(request.headers.get("accept", "")) != XLSX_TYPE:
                raise _problem(wrong) from None
            marked = await asyncio.to_thread(uploads.returned, wrong.upload, wrong.faults)
            return _workbook(marked, 422, f"{form}-{period}-errors.xlsx")
        rows = [
            UnitReceipt(unit_code=unit, **answers.receipt_of(report).model_dump()) for unit, report in taken.reports
        ]
        return Uploaded(submitted=len(rows), unchanged=len(taken.unchanged), rows=rows)

    return router


def _read(content: bytes, name: str, asked: Asked) -> Upload:
    """What the file says. Of its name only the ending counts. Refused as `file-unreadable`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix.lower()[:5]}"
        path.write_bytes(content)
        try:
            return uploads.read(path, asked.form, asked.units)
        except FileFault as fault:
            raise Refused("file-unreadable", str(fault).replace(path.name, "文件")) from None


def _workbook(content: bytes, status: int, name: str) -> Response:
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
        "vary": "accept",
        "x-content-type-options": "nosniff",
    }
    return Response(content, status, headers, XLSX_TYPE)


def _problem(wrong: UploadWrong) -> Problem:
    """Each fault with its cell, `填报!C3`."""
    errors = [
        {"field": f"{cell.sheet}!{xl_rowcol_to_cell(cell.row - 1, cell.column or 0)}", "message": text}
        for cell, text in wrong.faults[:ERRORS_TOLD_MAX]
    ]
    return Problem(422, "upload-wrong", f"文件有 {len(wrong.faults)} 处要改正，一行也没有收", errors=errors)
