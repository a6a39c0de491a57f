"""What a browser carries: the cookie of a session, and, where nobody is signed in, a secret from which form tokens are made."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.reporting.people.keys import PeopleKeys
from shared.service.sessions import COOKIE, Session, new_secret, set_cookie

FORM_COOKIE = "__Host-fanzha-form"
FIRST_PAGE = "/account"
FORM_FIELDS_MAX = 20


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def form_secret(request: Request) -> str:
    return request.cookies.get(FORM_COOKIE) or new_secret()


def with_form_cookie(response: Response, secret: str) -> Response:
    set_cookie(response, FORM_COOKIE, secret)
    return response


def session_of_cookie(request: Request) -> Session | None:
    """The session that this browser had before; None without a valid cookie."""
    session: Session | None = request.app.state.session_verifier.verify(request.cookies.get(COOKIE))
    return session


def with_session(response: Response, keys: PeopleKeys, session: Session) -> Response:
    set_cookie(response, COOKIE, keys.signer.sign(session))
    response.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


def signed_in_answer(keys: PeopleKeys, session: Session, to: str) -> Response:
    return with_session(RedirectResponse(to, 303, {"cache-control": "no-store"}), keys, session)
