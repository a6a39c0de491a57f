"""HTTP of certificate: claiming and verifying for anybody; looking up, revoking and reissuing for the office."""

from fastapi import APIRouter

from services.certificate.api.claiming import add_claim_routes
from services.certificate.api.files import add_file_routes
from services.certificate.api.office import add_office_routes
from services.certificate.api.retention import Retention
from services.certificate.api.verifying import add_verification_routes, add_verify_page_routes
from services.certificate.files import Drawings
from services.certificate.keys import Keys
from services.certificate.links import Links
from shared.clock import Clock
from shared.contracts.campaign import CampaignRules
from shared.database import Database
from shared.definitions import Definitions
from shared.service.guarded_route import GuardedRoute


def build_api(
    db: Database,
    clock: Clock,
    definitions: Definitions[CampaignRules],
    keys: Keys,
    links: Links,
    drawings: Drawings,
    *,
    specimen: bool,
) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    retention = Retention(db, definitions)
    add_claim_routes(router, db, clock, keys, links, retention, specimen)
    add_verification_routes(router, db, definitions, keys, links, drawings, specimen)
    add_verify_page_routes(router, db, definitions, keys, retention, specimen)
    add_file_routes(router, db, definitions, keys, links, drawings)
    add_office_routes(router, db, clock, definitions, keys, drawings)
    return router
