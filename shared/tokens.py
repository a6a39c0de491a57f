"""Who may do what: EdDSA JWTs minted by `fanzha token create` with the deployment's key (DESIGN §5)."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.problems import Problem

Role = Literal["admin", "office", "auditor", "liaison"]
ROLES: tuple[Role, ...] = get_args(Role)
ALL_CAMPAIGNS = "*"

_bearer = HTTPBearer(auto_error=False, description="from `fanzha token create`")


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
    """A signed token. `private_key`: Ed25519, raw, base64. Expiry is wall time, whatever a simulated clock says."""
    now = datetime.now(UTC)
    claims = {"sub": subject, "role": role, "campaign": campaign, "unit": unit, "iat": now, "exp": now + valid_for}
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
    return jwt.encode(claims, key, algorithm="EdDSA")


class TokenVerifier:
    """`public_key`: Ed25519, raw, base64."""

    def __init__(self, public_key: str) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))

    def verify(self, token: str) -> Principal:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key, algorithms=["EdDSA"], options={"require": ["sub", "role", "campaign", "exp"]}
            )
        except jwt.ExpiredSignatureError as error:
            raise Problem(401, "token-expired", "令牌已过期，请重新签发") from error
        except jwt.InvalidTokenError as error:
            raise Problem(401, "token-invalid", "令牌无效") from error
        if claims["role"] not in ROLES:
            raise Problem(401, "token-invalid", "令牌无效", "unknown role")
        return Principal(str(claims["sub"]), claims["role"], str(claims["campaign"]), claims.get("unit"))


def requires(*roles: Role) -> Callable[..., Awaitable[Principal]]:
    """A FastAPI dependency: the principal, who has one of `roles` and whose token is for the path's campaign."""

    async def principal(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Principal:
        if credentials is None or not credentials.credentials:
            raise Problem(401, "token-missing", "需要令牌", "send Authorization: Bearer <token>")
        verifier: TokenVerifier = request.app.state.token_verifier
        found = verifier.verify(credentials.credentials.strip())
        if found.role not in roles:
            raise Problem(403, "role-not-allowed", "该令牌的角色无权执行此操作", f"needs one of: {', '.join(roles)}")
        campaign_id = request.path_params.get("campaign_id")
        if campaign_id is not None and found.campaign not in (ALL_CAMPAIGNS, campaign_id):
            raise Problem(403, "other-campaign", "该令牌不适用于此活动")
        return found

    return principal
