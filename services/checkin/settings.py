"""Settings of checkin (shared ones: shared/settings.py)."""

from pydantic import Field

from services.checkin.live_platform import Source
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    webhook_sources: dict[str, Source] = Field(
        description='who may post: {"standard": {"verifier": …, "secrets": […]}}'
    )
    sealing_public_keys: dict[str, str] = Field(
        description="X25519 public keys (base64) of the services that may read names and phones: certificate, notification"
    )
    link_key: str = Field(
        min_length=32,
        description="signs the links to viewers' own pages, and keys the digests of refused events",
        repr=False,
    )
    claim_page_url: str | None = Field(
        default=None, description="where certificates are claimed; viewers' own pages lead there once they may"
    )
