"""What notification is told from outside, besides what every service is."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    sealing_private_key: str = Field(
        description="opens what is sealed for `notification`: X25519, raw, base64", repr=False
    )
    contact_keys: dict[str, str] = Field(
        description="id → AES-256 key (base64); the last encrypts, all decrypt", min_length=1, repr=False
    )
    lookup_key: str = Field(description="finds a phone again and names notifications: 32 bytes, base64", repr=False)
    file_channel_dir: Path = Field(description="where the `file` channel writes its messages")
