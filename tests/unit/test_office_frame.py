"""The frame around the office's pages: its menu leads to pages that exist, and lists only pages that the role may see."""

from collections.abc import Sequence

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from checks.contracts import build_service
from shared.bus.topology import SERVICES
from shared.pages import MENU, Frame, OfficePages
from shared.service.guarded_route import GuardedRoute
from shared.service.page_gate import ROLE_NAMES, PageGate
from shared.service.tokens import ROLES


def pages(routes: Sequence[BaseRoute]) -> dict[str, tuple[str, ...]]:
    """Path of each page that needs a sign-in → the roles that may see it."""
    roles_by_page: dict[str, tuple[str, ...]] = {}
    for context in iter_route_contexts(routes):
        route = context.original_route
        if isinstance(route, GuardedRoute) and "GET" in (route.methods or ()):
            for gate in route.gates:
                if isinstance(gate, PageGate):
                    roles_by_page[route.path] = gate.roles
    return roles_by_page


def test_the_menu_leads_to_pages_that_exist_and_shows_them_to_whom_they_let_in() -> None:
    existing = {path: roles for name in SERVICES for path, roles in pages(routes_of(name)).items()}
    for item in MENU:
        assert set(item.roles) <= set(existing[item.path]), item


def routes_of(service: str) -> list[BaseRoute]:
    return list(build_service(service).routes)


@pytest.mark.parametrize("role", ROLES)
def test_the_frame_says_who_is_signed_in_and_escapes_it(role: str) -> None:
    assert role in ROLE_NAMES
    frame = Frame("<b>", role, "反诈办", "jinshan-2024", None, "/account", "0" * 64)
    html = OfficePages().html("office.html", frame=frame)
    assert "<b>" not in html
    assert "&lt;b&gt; <small>反诈办 · jinshan-2024</small>" in html
    shown = [item.path for item in MENU if f'href="{item.path}"' in html]
    assert shown == [item.path for item in MENU if role in item.roles]


def test_a_browser_may_name_the_origin_of_its_forms_to_us_alone() -> None:
    """With `no-referrer` a browser would send `Origin: null`, and every form would be refused."""
    headers = OfficePages().headers(form=True)
    assert headers["referrer-policy"] == "same-origin"
    assert "form-action 'self'" in headers["content-security-policy"]
    assert "script" not in headers["content-security-policy"]
