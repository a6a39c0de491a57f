"""HTTP of checkin: the live platform's posts, the office's campaigns and viewers, the viewer's own page."""

from fastapi import APIRouter

from services.checkin.api.campaigns import add_campaign_routes
from services.checkin.api.office import add_decision_routes
from services.checkin.api.unit_viewers import add_unit_viewer_routes
from services.checkin.api.viewers import add_viewer_routes
from services.checkin.api.webhook import WEBHOOK_PATHS, Intake, add_event_routes, build_webhook
from services.checkin.campaigns import Catalogue
from services.checkin.settings import Settings
from shared.clock import Clock
from shared.database import Database
from shared.service.guarded_route import GuardedRoute

__all__ = ["WEBHOOK_PATHS", "Intake", "build_api", "build_webhook"]


def build_api(settings: Settings, db: Database, clock: Clock, intake: Intake, catalogue: Catalogue) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    add_event_routes(router, intake)
    add_campaign_routes(router, db, clock, catalogue)
    add_decision_routes(router, db, clock, catalogue)
    add_viewer_routes(router, settings, db, clock, catalogue)
    add_unit_viewer_routes(router, db, clock, catalogue)
    return router
