import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, FastAPI

from shared.service import problems
from shared.service.problems import Problem
from shared.service.tokens import Principal, TokenVerifier, create_token, requires

KEY = Ed25519PrivateKey.generate()
PRIVATE = base64.b64encode(KEY.private_bytes_raw()).decode()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
CLAIMS = {"sub": "li", "role": "office", "campaign": "jinshan-2024", "exp": 4102444800}
VERIFIER = TokenVerifier(PUBLIC)


def token(**changes: Any) -> str:
    settings: dict[str, Any] = {"subject": "li", "role": "office", "campaign": "jinshan-2024", "unit": "140902"}
    return create_token(PRIVATE, **(settings | {"valid_for": timedelta(minutes=5)} | changes))


def problem_of(token: str) -> str:
    with pytest.raises(Problem) as caught:
        VERIFIER.verify(token)
    assert caught.value.status_code == 401
    return str(caught.value.body["type"]).removeprefix("/problems/")


def test_a_token_says_who_may_do_what_where() -> None:
    assert VERIFIER.verify(token()) == Principal("li", "office", "jinshan-2024", "140902")
    assert VERIFIER.verify(token(unit=None)).unit is None


def test_an_expired_token_is_told_apart() -> None:
    assert problem_of(token(valid_for=timedelta(seconds=-1))) == "token-expired"


def test_a_token_of_another_deployment_is_invalid() -> None:
    other = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
    assert problem_of(
        create_token(other, subject="x", role="admin", campaign="*", unit=None, valid_for=timedelta(1))
    ) == ("token-invalid")


def test_an_altered_token_is_invalid() -> None:
    head, _, signature = token().split(".")
    claims = base64.urlsafe_b64encode(json.dumps(CLAIMS | {"role": "admin"}).encode()).decode().rstrip("=")
    assert problem_of(f"{head}.{claims}.{signature}") == "token-invalid"


@pytest.mark.parametrize("missing", ["sub", "role", "campaign", "exp"])
def test_every_claim_is_needed(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    assert problem_of(jwt.encode(claims, KEY, algorithm="EdDSA")) == "token-invalid"


def test_an_unknown_role_is_refused() -> None:
    assert problem_of(jwt.encode(CLAIMS | {"role": "root"}, KEY, algorithm="EdDSA")) == "token-invalid"


@pytest.mark.parametrize("secret", [PUBLIC, base64.b64decode(PUBLIC), ""], ids=["public key", "its bytes", "none"])
def test_only_eddsa_counts(secret: str | bytes) -> None:
    """The two classics: `none`, and HMAC with the public key as its secret."""
    algorithm = "HS256" if secret else "none"
    assert problem_of(jwt.encode(CLAIMS, secret, algorithm=algorithm)) == "token-invalid"


@pytest.mark.parametrize("nonsense", ["", "a.b.c", "a", "é.é.é", "." * 3])
def test_nonsense_is_invalid(nonsense: str) -> None:
    assert problem_of(nonsense) == "token-invalid"


# ---- as a dependency -------------------------------------------------------------------------------------------------


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    app.state.token_verifier = VERIFIER
    problems.install(app)

    @app.get("/v1/campaigns/{campaign_id}/x")
    async def x(principal: Principal = Depends(requires("admin", "office", subtrees=True))) -> str:
        return principal.subject

    @app.get("/v1/campaigns/{campaign_id}/whole")
    async def whole(principal: Principal = Depends(requires("admin", "office"))) -> str:
        return principal.subject

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


async def answer(
    client: httpx.AsyncClient, authorization: str | None, campaign: str = "jinshan-2024", path: str = "x"
) -> tuple[int, str]:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await client.get(f"/v1/campaigns/{campaign}/{path}", headers=headers)
    body = response.json()
    return response.status_code, body["type"].removeprefix("/problems/") if isinstance(body, dict) else body


async def test_role_and_campaign_of_the_path_are_checked(client: httpx.AsyncClient) -> None:
    assert await answer(client, f"Bearer {token()}") == (200, "li")
    assert await answer(client, f"bearer  {token(campaign='*')}") == (200, "li")
    assert await answer(client, f"Bearer {token()}", "other-2025") == (403, "other-campaign")
    assert await answer(client, f"Bearer {token(role='liaison')}") == (403, "role-not-allowed")


async def test_a_units_token_is_for_routes_that_keep_to_the_unit(client: httpx.AsyncClient) -> None:
    assert await answer(client, f"Bearer {token()}", path="whole") == (403, "unit-scoped")
    assert await answer(client, f"Bearer {token(unit='')}", path="whole") == (403, "unit-scoped")
    assert await answer(client, f"Bearer {token(unit=None)}", path="whole") == (200, "li")


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic bGk6bGk="])
async def test_without_a_token_the_answer_says_what_to_send(
    client: httpx.AsyncClient, authorization: str | None
) -> None:
    assert await answer(client, authorization) == (401, "token-missing")
