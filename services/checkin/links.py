"""The link to a viewer's own page. Whoever has it sees the page; it holds until the deployment's link key changes."""

from typing import Any, NamedTuple

import jwt

ALGORITHM = "HS256"


class Linked(NamedTuple):
    campaign_id: str
    viewer_id: str


def link_to(public_url: str, link_key: str, campaign_id: str, viewer_id: str) -> str:
    token = jwt.encode({"c": campaign_id, "v": viewer_id}, link_key, algorithm=ALGORITHM)
    return f"{public_url}/me/{token}"


def linked_by(token: str, link_key: str) -> Linked | None:
    """Whose page the link's last part opens; None for one that is not ours."""
    try:
        claims: dict[str, Any] = jwt.decode(token, link_key, algorithms=[ALGORITHM])
        return Linked(str(claims["c"]), str(claims["v"]))
    except (jwt.InvalidTokenError, KeyError):
        return None
