"""A session of somebody of the office: what its cookie says, signed by reporting and checked by every service (DESIGN §5.5).

Times are wall time, whatever a simulated clock says, as for tokens.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from starlette.responses import Response

from shared.service.tokens import ROLES, Principal

COOKIE = "__Host-fanzha"  # the prefix: a browser takes it only with Secure, for this host and all of its paths
AUDIENCE = "fanzha-session"
IDLE = timedelta(hours=2)  # without a page asked for
LONGEST = timedelta(hours=12)  # a working day
RENEW_AFTER = timedelta(minutes=10)
SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """`secret` stands in the cookie and nowhere else; tables and events have its hash."""

    secret: str
    person_id: UUID
    generation: int
    principal: Principal
    signed_at: datetime
    ends_at: datetime

    @property
    def hash(self) -> bytes:
        return hash_of(self.secret)

    @property
    def form_token(self) -> str:
        return form_token(self.secret)


def new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def form_token(secret: str) -> str:
    """What a form on our page sends along: only who can read the page knows it. The cookie itself no page can read."""
    return hashlib.sha256(b"fanzha form " + secret.encode()).hexdigest()


class SessionSigner:
    """`private_key`: Ed25519, raw, base64; of reporting alone."""

    def __init__(self, private_key: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private_key))

    def sign(self, session: Session) -> str:
        """The cookie's value. It expires when nobody has asked for a page for `IDLE`, at the latest when the session ends."""
        claims = {
            "aud": AUDIENCE,
            "sub": session.principal.subject,
            "role": session.principal.role,
            "campaign": session.principal.campaign,
            "unit": session.principal.unit,
            "sid": session.secret,
            "person": str(session.person_id),
            "generation": session.generation,
            "iat": session.signed_at,
            "exp": min(session.signed_at + IDLE, session.ends_at),
            "end": int(session.ends_at.timestamp()),
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA")


class SessionVerifier:
    """`public_key`: Ed25519, raw, base64. Without one nobody is signed in."""

    def __init__(self, public_key: str | None) -> None:
        self._key = None if public_key is None else Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))

    def verify(self, cookie: str | None) -> Session | None:
        """None for no cookie, and for one that has expired or that we have not signed."""
        if self._key is None or not cookie:
            return None
        needed = ["sub", "role", "campaign", "sid", "person", "generation", "iat", "exp", "end"]
        try:
            claims = jwt.decode(cookie, self._key, algorithms=["EdDSA"], audience=AUDIENCE, options={"require": needed})
        except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError, RecursionError):
            return None
        if claims["role"] not in ROLES:
            return None  # of a newer release
        principal = Principal(claims["sub"], claims["role"], claims["campaign"], claims.get("unit"))
        signed_at, ends_at = (datetime.fromtimestamp(claims[name], UTC) for name in ("iat", "end"))
        return Session(claims["sid"], UUID(claims["person"]), claims["generation"], principal, signed_at, ends_at)


def set_cookie(response: Response, name: str, value: str) -> None:
    """No script reads it, no other site's form sends it, and the browser forgets it when it is closed."""
    response.set_cookie(name, value, path="/", secure=True, httponly=True, samesite="lax")


def clear_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
