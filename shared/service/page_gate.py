"""Who may see a page of the office, and whose form is taken: cookie, role, exact Origin, the form's token (DESIGN §5.5)."""

import re
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from shared.pages import Frame
from shared.people import sessions
from shared.service.problems import Problem
from shared.service.sessions import COOKIE, RENEW_AFTER, Session, SessionVerifier, clear_cookie
from shared.service.tokens import Role, wall_now

SIGN_IN, RENEW = "/sign-in", "/sign-in/renew"
FORM_FIELDS_MAX = 20
RETURN_TO = re.compile(r"(?!.*\.\.)/(?:account|desk|campaigns|certificates|messages)(?:[/?][A-Za-z0-9._:/?=&%+-]*)?")
ROLE_NAMES: dict[Role, str] = {"admin": "管理员", "office": "反诈办", "auditor": "只读", "liaison": "联络员"}


@dataclass(frozen=True)
class FormLimits:
    """What a page's form may have. The route says the same to FastAPI in `form_limits`: whoever reads the form first decides."""

    fields: int = FORM_FIELDS_MAX
    files: int = 0


ORDINARY = FormLimits()


@dataclass(frozen=True)
class Visit:
    """Somebody signed in, on one page."""

    session: Session
    path: str

    @property
    def frame(self) -> Frame:
        principal = self.session.principal
        return Frame(
            who=principal.subject,
            role=principal.role,
            role_name=ROLE_NAMES[principal.role],
            campaign=principal.campaign,
            unit=principal.unit,
            path=self.path,
            form_token=self.session.form_token,
        )


@dataclass(frozen=True)
class PageGate:
    """A FastAPI dependency that gives the visit. `GuardedRoute` asks `admit` before the body is read.

    Whoever is not signed in is sent to the page to sign in on, and comes back from there."""

    roles: tuple[Role, ...]
    subtrees: bool
    form: FormLimits = ORDINARY

    async def __call__(self, request: Request) -> Visit:
        session = self.admit(request)
        if request.method != "GET":
            await check_form_token(request, session.form_token, self.form)
        async with request.app.state.service.db.transaction() as tx:
            over = await sessions.is_over(tx, session.hash, session.person_id, session.generation)
        if over:
            raise _sent_to(SIGN_IN, request, sign_out=True)
        return Visit(session, request.url.path)

    def admit(self, request: Request) -> Session:
        """Raises a 303 problem to the page to sign in on, or to have an ageing cookie signed anew; and 403 problems."""
        if request.method != "GET":
            check_origin(request)
        verifier: SessionVerifier = request.app.state.session_verifier
        session = verifier.verify(request.cookies.get(COOKIE))
        if session is None:
            raise _sent_to(SIGN_IN, request)
        if request.method == "GET" and wall_now() - session.signed_at > RENEW_AFTER:
            raise _sent_to(RENEW, request)
        if session.principal.role not in self.roles:
            raise Problem(
                403,
                "role-not-allowed",
                "您的角色不能使用这个页面",
                f"您登录的角色是{ROLE_NAMES[session.principal.role]}",
            )
        if session.principal.unit is not None and not self.subtrees:
            raise Problem(403, "unit-scoped", "您只负责一个单位，不能使用这个页面")
        return session


def signed_in(*roles: Role, subtrees: bool = False, form: FormLimits = ORDINARY) -> PageGate:
    """A dependency that gives the `Visit` of somebody with one of `roles`. People of one unit are let in only with
    `subtrees=True`, for pages that show and change nothing outside of it."""
    return PageGate(roles, subtrees, form)


@dataclass(frozen=True)
class OwnForms:
    """A dependency for forms that need no session: the Origin is checked before the body is read."""

    async def __call__(self, request: Request) -> None:
        self.admit(request)

    def admit(self, request: Request) -> None:
        check_origin(request)


def check_origin(request: Request) -> None:
    """Raises a 403 problem unless our own page sends this form: scheme, host and port."""
    if request.headers.get("origin") != f"{request.url.scheme}://{request.headers.get('host')}":
        raise Problem(403, "other-origin", "这个表单不是从本系统的页面提交的", "请重新打开页面，再填一次")


async def check_form_token(request: Request, expected: str, limits: FormLimits = ORDINARY) -> None:
    """Raises a 403 problem unless the form carries the token that our page gave it (its field `form_token`)."""
    form = await request.form(max_files=limits.files, max_fields=limits.fields)
    given = form.get("form_token")
    if not isinstance(given, str) or not compare_digest(given.encode(), expected.encode()):
        raise Problem(403, "form-expired", "这个页面已经过时，没有做任何改动", "请重新打开页面，再填一次")


def return_to(typed: str, otherwise: str) -> str:
    """The page to go on to: one of ours, or `otherwise`. An address of elsewhere is never followed."""
    return typed if RETURN_TO.fullmatch(typed) else otherwise


def _sent_to(where: str, request: Request, *, sign_out: bool = False) -> Problem:
    problem = Problem(303, "sign-in", "请先登录")
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    comes_back = f"?to={quote(path, safe='/')}" if request.method == "GET" else ""
    problem.headers = {"Location": where + comes_back}
    if sign_out:
        forgotten = Response()
        clear_cookie(forgotten)
        problem.headers["Set-Cookie"] = forgotten.headers["set-cookie"]
    return problem
