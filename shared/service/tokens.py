"""Who may do what: EdDSA JWTs minted by `fanzha token create` with the deployment's key (DESIGN §5)."""

import base64
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from shared.service.problems import Problem

Role = Literal["admin", "office", "auditor", "liaison"]
ROLES: tuple[Role, ...] = get_args(Role)
ALL_CAMPAIGNS = "*"
CLAIM_MAX_CHARS = 200

_bearer = HTTPBearer(auto_error=False, description="from `fanzha token create`")


def wall_now() -> datetime:
    """The time by which tokens and sessions expire, whatever a simulated clock says."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Principal:
    """The bearer of a valid token. `unit` None means the whole tree, else that unit's subtree."""

    subject: str
    role: Role
    campaign: str
    unit: str | None


def create_token(
    private_key: str, *, subject: str, role: Role, campaign: str, unit: str | None, valid_for: timedelta
) -> str:
    """A signed token. `private_key`: Ed25519, raw, base64."""
    now = wall_now()
    claims = {"sub": subject, "role": role, "campaign": campaign, "unit": unit, "iat": now, "exp": now + valid_for}
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
    return jwt.encode(claims, key, algorithm="EdDSA")


class TokenVerifier:
    """`public_key`: Ed25519, raw, base64."""

    def __init__(self, public_key: str) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))

    def verify(self, token: str) -> Principal:
        """Raises a 401 problem unless the token is signed with our key and its claims are of the right types."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key, algorithms=["EdDSA"], options={"require": ["sub", "role", "campaign", "exp"]}
            )
        except jwt.ExpiredSignatureError as error:
            raise Problem(401, "token-expired", "令牌已过期，请重新签发") from error
        except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _invalid() from error  # PyJWT lets some through: `exp` as a list, or infinite
        role, unit = claims["role"], claims.get("unit")
        if role not in ROLES:
            raise _invalid("角色不认识")
        if not (_is_text(claims["sub"]) and _is_text(claims["campaign"]) and (unit is None or _is_text(unit))):
            raise _invalid("sub、campaign、unit 应为短文字")
        if isinstance(claims["exp"], str | bool):  # which PyJWT reads as numbers
            raise _invalid("exp 应为数字")
        return Principal(claims["sub"], role, claims["campaign"], unit)


def _is_text(claim: object) -> bool:
    """Whether the claim is a text without control characters and lone surrogates, which Postgres does not take (`sub` is
    stored)."""
    return (
        isinstance(claim, str)
        and len(claim) <= CLAIM_MAX_CHARS
        and not any(unicodedata.category(char) in ("Cc", "Cs") for char in claim)
    )


def _invalid(detail: str | None = None) -> Problem:
    return Problem(401, "token-invalid", "令牌无效", detail)


@dataclass(frozen=True)
class Gate:
    """A FastAPI dependency that gives the principal. `GuardedRoute` asks it before the body is read."""

    roles: tuple[Role, ...]
    subtrees: bool

    async def __call__(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Principal:
        return self.admit(request)

    def admit(self, request: Request) -> Principal:
        """Raises 401 and 403 problems. Checks the token once per request."""
        admitted: dict[Gate, Principal] = request.scope.setdefault("admitted", {})
        if self not in admitted:
            admitted[self] = self._check(request)
        return admitted[self]

    def _check(self, request: Request) -> Principal:
        scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "token-missing", "需要令牌", "请在请求头写 Authorization: Bearer 令牌")
        verifier: TokenVerifier = request.app.state.token_verifier
        principal = verifier.verify(token.strip())
        if principal.role not in self.roles:
            needed = f"需要的角色：{'、'.join(self.roles)}"
            raise Problem(403, "role-not-allowed", "该令牌的角色无权执行此操作", needed)
        campaign_id = request.path_params.get("campaign_id")
        if campaign_id is not None and principal.campaign not in (ALL_CAMPAIGNS, campaign_id):
            raise Problem(403, "other-campaign", "该令牌不适用于此活动")
        if principal.unit is not None and not self.subtrees:
            raise Problem(403, "unit-scoped", "该令牌只适用于一个单位的数据", "这里需要不限单位的令牌")
        return principal


def requires(*roles: Role, subtrees: bool = False) -> Gate:
    """A dependency that gives the principal. It lets in who has one of `roles` and a token for the campaign in the path.

    Tokens of a unit are let in only with `subtrees=True`, for routes that show nothing outside of the principal's unit.
    """
    return Gate(roles, subtrees)
