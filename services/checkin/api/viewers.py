"""Viewers: what counts for one and why, links to their own pages, and these pages."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse

from services.checkin import links, pages, usecases
from services.checkin.api.parameters import VIEWER_IDS_MAX, VIEWER_IDS_MAX_BYTES, Office, PathId, Reader
from services.checkin.campaigns import Catalogue
from services.checkin.certificates import CertificateState
from services.checkin.domain import LessonState, Reason
from services.checkin.refusals import NO_SUCH_CAMPAIGN, NO_SUCH_VIEWER
from services.checkin.settings import Settings
from shared.clock import Clock
from shared.contracts.base import Id, Mode
from shared.database import Database
from shared.service.refusals import Refused

LINKS_PER_PAGE = 5_000


class LessonAnswer(BaseModel):
    """One lesson of one viewer."""

    lesson_date: date
    title: str
    state: LessonState
    reason: Reason | None = Field(description="why a check-in of this lesson does not count")
    final: bool = Field(description="nothing that the platform still sends changes it: credited, or sealed")
    earn_until: datetime | None = Field(description="until when a check-in would still be credited")
    modes: list[Mode] = Field(description="the modes the viewer checked in in, credited or not")


class UncountedAnswer(BaseModel):
    """An event of the viewer that was refused, or kept without credit."""

    verdict: str
    reason: str
    type: str | None
    occurred_at: datetime | None
    received_at: datetime


class ViewerAnswer(BaseModel):
    """What counts for a viewer, why, and what is still possible."""

    campaign_id: str
    viewer_id: str
    unit_code: str
    unit_name: str | None
    group: str
    enrolled_at: datetime | None
    credited_days: int
    required_days: int
    reachable_days: int = Field(
        description="credited days if nothing is missed from now on, and what may still be on its way arrives"
    )
    can_complete: bool
    certificate: CertificateState | None = Field(description="null: not claimed, as far as is known")
    lessons: list[LessonAnswer]
    uncounted: list[UncountedAnswer]


class LinksRequest(BaseModel):
    """Which viewers to make links for: the listed ones; or, page by page, those of a unit and of all units below it; or, where
    neither is given, those of the whole campaign."""

    model_config = ConfigDict(extra="forbid")

    viewer_ids: Annotated[list[Id], Field(min_length=1, max_length=VIEWER_IDS_MAX)] | None = None
    unit: Id | None = None
    cursor: Id | None = Field(default=None, description="`next_cursor` of the page before")


class LinkRow(BaseModel):
    viewer_id: str
    unit_code: str | None = Field(description="null in the answer to a list")
    url: str = Field(description="opens the viewer's own page for whoever has it: hand it to that viewer only")


class LinkPage(BaseModel):
    rows: list[LinkRow]
    next_cursor: str | None


def add_viewer_routes(router: APIRouter, settings: Settings, db: Database, clock: Clock, catalogue: Catalogue) -> None:
    @router.get(
        "/v1/campaigns/{campaign_id}/viewers/{viewer_id}",
        tags=["office"],
        summary="What counts for a viewer, and why",
        response_model=ViewerAnswer,
    )
    async def get_viewer(campaign_id: PathId, viewer_id: PathId, principal: Reader) -> ViewerAnswer:
        async with db.transaction() as tx:
            report = await usecases.viewer_report(tx, catalogue, campaign_id, viewer_id, clock.now())
        return viewer_answer(report)

    @router.post(
        "/v1/campaigns/{campaign_id}/viewers/{viewer_id}/link",
        tags=["office"],
        summary="A link to the viewer's own page",
    )
    async def link(campaign_id: PathId, viewer_id: PathId, principal: Office) -> dict[str, str]:
        return {"url": link_to(campaign_id, viewer_id)}

    @router.post(
        "/v1/campaigns/{campaign_id}/viewer-links",
        tags=["office"],
        summary="Links to many viewers' own pages",
        max_body_size=VIEWER_IDS_MAX_BYTES,
    )
    async def links_of_many(campaign_id: PathId, body: LinksRequest, principal: Office) -> LinkPage:
        """The platform gives each viewer their own link. Listed viewers need not be known yet."""
        if body.viewer_ids is not None:
            ids = [(viewer_id, None) for viewer_id in body.viewer_ids]
            return LinkPage(rows=_link_rows(campaign_id, ids), next_cursor=None)
        async with db.transaction() as tx:
            page = await usecases.unit_viewers(
                tx, catalogue, campaign_id, body.unit, body.cursor or "", LINKS_PER_PAGE, clock.now()
            )
        rows = _link_rows(campaign_id, [(report.viewer.viewer_id, report.viewer.unit_code) for report in page])
        return LinkPage(rows=rows, next_cursor=rows[-1].viewer_id if len(rows) == LINKS_PER_PAGE else None)

    def _link_rows(campaign_id: str, viewers: Iterable[tuple[str, str | None]]) -> list[LinkRow]:
        return [LinkRow(viewer_id=viewer, unit_code=unit, url=link_to(campaign_id, viewer)) for viewer, unit in viewers]

    def link_to(campaign_id: str, viewer_id: str) -> str:
        return links.link_to(settings.public_url, settings.link_key, campaign_id, viewer_id)

    @router.get("/me/{token}", tags=["viewer"], summary="The viewer's own page", response_class=HTMLResponse)
    async def me(token: Annotated[str, Path(max_length=1000)]) -> HTMLResponse:
        if (linked := links.linked_by(token, settings.link_key)) is None:
            return pages.PAGES.answer(pages.unknown_link(), 404)
        async with db.transaction() as tx:
            try:
                report = await usecases.viewer_report(tx, catalogue, *linked, clock.now())
            except Refused as refused:
                if refused.name not in (NO_SUCH_CAMPAIGN, NO_SUCH_VIEWER):
                    raise
                return pages.PAGES.answer(pages.nothing_yet(), 404)
        return pages.PAGES.answer(pages.viewer(report, clock.now(), settings.claim_page_url))


def viewer_answer(report: usecases.ViewerReport) -> ViewerAnswer:
    campaign, viewer = report.campaign, report.viewer
    unit = campaign.definition.unit_by_code.get(viewer.unit_code)
    return ViewerAnswer(
        campaign_id=campaign.id,
        viewer_id=viewer.viewer_id,
        unit_code=viewer.unit_code,
        unit_name=unit.name if unit else None,
        group=viewer.group_code,
        enrolled_at=viewer.enrolled_at,
        credited_days=report.credited_days,
        required_days=campaign.course.required_days,
        reachable_days=report.reachable_days,
        can_complete=campaign.course.is_completed_with(report.reachable_days),
        certificate=report.certificate,
        lessons=[
            LessonAnswer(
                lesson_date=campaign.course.lesson_dates[view.lesson],
                title=campaign.definition.lessons[view.lesson].title,
                state=view.state,
                reason=view.reason,
                final=view.final,
                earn_until=view.earn_until,
                modes=[mode for mode in ("live", "replay") if viewer.lessons.has(view.lesson, mode)],
            )
            for view in report.lessons
        ],
        uncounted=[UncountedAnswer.model_validate(dict(row)) for row in report.uncounted],
    )
